"""Real products as upstreams: devpi-server, proxpi and nginx. What is not there is skipped, aloud.

They are looked for in the directory `E2E_TOOLS`, then where the shell looks.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import succeeded
from e2e.daemon import DIRECT, clean_environment
from e2e.packages import File
from e2e.waiting import DEADLINE, wait_for

PASSWORD = "root-of-devpi"
BOUNDARY = "----e2e"


def tool(name: str) -> str:
    """The program's path; without it the test is skipped."""
    places = os.pathsep.join([os.environ.get("E2E_TOOLS", os.devnull), os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed (E2E_TOOLS may name its directory): not tested against the real one")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def running(directory: Path, url: str, *command: str, **environment: str) -> Iterator[str]:
    """The server while it runs, once it answers at `url`, which is given back."""
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=clean_environment(directory, **environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, log.read_text(errors="replace")
            try:
                with DIRECT.open(url, timeout=DEADLINE):
                    return True
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False

        wait_for(f"{command[0]} answers", answers, 3 * DEADLINE)
        yield url
    finally:
        process.kill()  # it has nothing to save, and devpi takes its time
        process.wait(DEADLINE)


@contextmanager
def nginx(directory: Path, root: Path) -> Iterator[str]:
    """nginx with the files below `root`, and listings of its folders; its base URL."""
    program, port = tool("nginx"), free_port()
    config = directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log; events {{}}\n"
        f"http {{ {temporary} access_log off; types {{ text/html html; }} default_type application/octet-stream;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; autoindex on; }} }}\n"
    )
    with running(directory, f"http://127.0.0.1:{port}/", program, "-p", str(directory), "-c", str(config)) as url:
        yield url


@contextmanager
def proxpi(directory: Path, index_url: str) -> Iterator[str]:
    """proxpi in front of an index; its index URL."""
    program, port = tool("flask"), free_port()
    # Flask may well be there without it.
    imported = subprocess.run(
        [Path(program).with_name("python3"), "-c", "import proxpi"], capture_output=True, check=False
    )
    if imported.returncode:
        pytest.skip("proxpi is not installed beside flask (E2E_TOOLS may name its directory): not tested against it")
    command = (program, "--app", "proxpi.server", "run", "--port", str(port))
    environment = {"PROXPI_INDEX_URL": index_url, "PROXPI_CACHE_DIR": str(directory / "cache")}
    with running(directory, f"http://127.0.0.1:{port}/health", *command, **environment):
        yield f"http://127.0.0.1:{port}/index/"


@contextmanager
def devpi(directory: Path, mirrored: str) -> Iterator[str]:
    """devpi-server with two indexes, "root/mirror" of the index at `mirrored`, and "root/dev", empty; its base URL."""
    init, program, port = tool("devpi-init"), tool("devpi-server"), free_port()
    data = ("--serverdir", str(directory / "data"))
    made = (init, *data, "--no-root-pypi", "--root-passwd", PASSWORD)
    succeeded(subprocess.run(made, env=clean_environment(directory), capture_output=True, text=True, check=False))
    base = f"http://127.0.0.1:{port}"
    with running(directory, f"{base}/+api", program, *data, "--host", "127.0.0.1", "--port", str(port)):
        login = _call("POST", f"{base}/+login", {"user": "root", "password": PASSWORD})
        pair = b64encode(f"root:{login['result']['password']}".encode()).decode()
        mirror = {"type": "mirror", "mirror_url": mirrored, "volatile": True}
        _call("PUT", f"{base}/root/mirror", mirror, **{"X-Devpi-Auth": pair})
        _call("PUT", f"{base}/root/dev", {"type": "stage", "bases": [], "volatile": True}, **{"X-Devpi-Auth": pair})
        yield base


def upload(base: str, project: str, version: str, file: File) -> None:
    """Have a wheel in "root/dev", as twine does it."""
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "name": project,
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "metadata_version": "2.1",
        "md5_digest": md5(file.data).hexdigest(),
    }
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{text}\r\n'
        for key, text in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="content"; filename="{file.name}"\r\n\r\n'
    body = "".join([*parts, head]).encode() + file.data + f"\r\n--{BOUNDARY}--\r\n".encode()
    login = b64encode(f"root:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Authorization": f"Basic {login}"}
    _open(urllib.request.Request(f"{base}/root/dev/", body, headers, method="POST"))


def _call(method: str, url: str, document: dict[str, Any], **headers: str) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    answer = _open(urllib.request.Request(url, json.dumps(document).encode(), headers, method=method))
    return json.loads(answer)


def _open(request: urllib.request.Request) -> bytes:
    with DIRECT.open(request, timeout=DEADLINE) as response:
        data: bytes = response.read()
        return data


@contextmanager
def verdaccio(directory: Path) -> Iterator[tuple[str, str]]:
    """verdaccio, without an upstream of its own, for whoever has logged in; its URL, and a token."""
    program, port = tool("verdaccio"), free_port()
    (directory / "config.yaml").write_text(
        f"storage: {directory}/storage\n"
        f"auth: {{htpasswd: {{file: {directory}/htpasswd}}}}\n"
        "uplinks: {}\n"
        "packages: {'@*/*': {access: $authenticated, publish: $authenticated},"
        " '**': {access: $authenticated, publish: $authenticated}}\n"
    )
    command = (program, "--config", str(directory / "config.yaml"), "--listen", f"127.0.0.1:{port}")
    with running(directory, f"http://127.0.0.1:{port}/-/ping", *command, PATH=os.environ.get("PATH", os.defpath)):
        base = f"http://127.0.0.1:{port}/"
        user = {"name": "me", "password": PASSWORD, "type": "user", "roles": []}
        yield base, str(_call("PUT", f"{base}-/user/org.couchdb.user:me", user)["token"])
