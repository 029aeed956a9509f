"""Clients: pip and uv, fenced so that they can reach nothing but loopback, and plain HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, field, frozen

from e2e.daemon import BIN, Daemon
from e2e.waiting import DEADLINE

CLOSED = "http://127.0.0.1:9"
"""A proxy that refuses: where a client would go that doesn't ask the daemon."""


@frozen
class Reply:
    """An HTTP response. Header names are in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def state(self) -> str | None:
        """`X-Pypi-Cache`."""
        return self.headers.get("x-pypi-cache")

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def ask(daemon: Daemon, path: str, method: str = "GET", timeout: float = DEADLINE, **headers: str) -> Reply:
    """One request on a connection of its own; `_` in header names is `-`. `IncompleteRead`: the body broke."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=timeout)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        received = {name.lower(): text for name, text in response.getheaders()}
        return Reply(response.status, response.reason, received, response.read())
    finally:
        connection.close()


def links(daemon: Daemon, project: str) -> dict[str, str]:
    """The files of a project's page: name -> absolute path at the daemon."""
    page = ask(daemon, f"/simple/{project}/", Accept="application/vnd.pypi.simple.v1+json").json()
    return {file["filename"]: resolve(file["url"]) for file in page["files"]}


def resolve(link: str) -> str:
    """A page's relative link as an absolute path, the page lying at /simple/NAME/."""
    return "/" + link.removeprefix("../../").partition("#")[0]


def exchange(daemon: Daemon, data: bytes) -> bytes:
    """Send exactly these bytes; everything that comes back until the daemon closes the connection, as it must."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: receive(connection), b""))


def receive(connection: socket.socket, size: int = 65536) -> bytes:
    """The next bytes; a reset counts as the end."""
    try:
        return connection.recv(size)
    except ConnectionResetError:
        return b""


@define
class Download:
    """A download that is read in steps, or not at all. Its head is there when it has been made."""

    daemon: Daemon
    path: str
    headers: dict[str, str] = field(factory=dict)
    _connection: http.client.HTTPConnection = field(init=False)
    _response: http.client.HTTPResponse = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=DEADLINE)
        self._connection.request("GET", self.path, headers=self.headers)
        self._response = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def read(self, size: int | None = None) -> bytes:
        """The next `size` bytes, or the rest."""
        return self._response.read(size)

    @property
    def complete(self) -> bool:
        """Whether all has been read that was announced."""
        return not self._response.length


def status_of(answer: bytes) -> int:
    """The status of a raw response."""
    return int(answer.split(b" ", 2)[1])


@frozen
class Installer:
    """pip and uv in `directory`, without configuration, cache, or a way out."""

    directory: Path

    def environment(self) -> dict[str, str]:
        """The fence."""
        proxies = {name: CLOSED for each in ("http_proxy", "https_proxy", "all_proxy") for name in (each, each.upper())}
        return {
            "PATH": f"{BIN}{os.pathsep}{os.defpath}",
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_INPUT": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "UV_NO_CONFIG": "1",
            "UV_NO_CACHE": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            **proxies,
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside the fence. Its status is the caller's to judge."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return run_fenced(command, self.directory, self.environment())

    def pip(self, daemon: Daemon, target: str, *arguments: str) -> str:
        """`pip install --target`; its output. Raises `AssertionError` with it when pip fails."""
        where = ("--target", str(self.directory / target), "--index-url", daemon.index_url)
        return succeeded(self.run(sys.executable, "-m", "pip", "install", "--no-compile", *where, *arguments))

    def uv(self, daemon: Daemon, target: str, *arguments: str) -> str:
        """`uv pip install --target`, likewise."""
        where = ("--target", str(self.directory / target), "--python", sys.executable)
        return succeeded(
            self.run(str(BIN / "uv"), "pip", "install", *where, "--index-url", daemon.index_url, *arguments)
        )

    def uv_compile(self, daemon: Daemon, requirements: str, *arguments: str) -> str:
        """`uv pip compile` of the given requirements; the lock text."""
        (self.directory / "requirements.in").write_text(requirements)
        tool = (str(BIN / "uv"), "pip", "compile", "requirements.in", "--python", sys.executable)
        return succeeded(self.run(*tool, "--index-url", daemon.index_url, *arguments))

    def installed(self, target: str) -> dict[str, str]:
        """What is installed in `target`: project -> version."""
        found = (
            path.name.removesuffix(".dist-info").split("-") for path in (self.directory / target).glob("*.dist-info")
        )
        return dict(found)  # type: ignore[arg-type]


def run_fenced(
    command: Sequence[str], directory: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command in `directory` with this environment alone, and no input. Its status is the caller's to judge."""
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE,
        check=False,
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that must have worked."""
    assert done.returncode == 0, f"{' '.join(done.args)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
