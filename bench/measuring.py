"""A daemon under measurement, and an index before it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field

from bench import ROOT
from e2e.clients import links
from e2e.daemon import Daemon


@define(eq=False)
class Probed(Daemon):
    """A daemon whose reactor is watched."""

    @property
    def _pauses(self) -> Path:
        return self.directory / "pauses"

    def command(self) -> list[str]:
        """The harness's command, by way of the probe."""
        return [sys.executable, "-m", "bench.probe", str(self._pauses), *Daemon.command(self)[1:]]

    def forget_pauses(self) -> int:
        """From where on pauses count."""
        return self._pauses.stat().st_size

    def longest_pause(self, since: int) -> tuple[float, float]:
        """The longest since then: of the clock, and of this process's own work (milliseconds)."""
        lines = self._pauses.read_text()[since:].splitlines()
        pauses = [tuple(map(float, line.split())) for line in lines] or [(0.0, 0.0)]
        return max(pause[0] for pause in pauses), max(pause[1] for pause in pauses)


def cpu_of(daemon: Daemon) -> float:
    """Seconds of CPU that the daemon has used so far."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@define(eq=False)
class Connection:
    """A client's kept connection that reads and discards."""

    daemon: Daemon
    _socket: socket.socket = field(init=False)
    _buffer: bytearray = field(factory=lambda: bytearray(1 << 18), init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.daemon.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path: str, *lines: str) -> tuple[int, int, dict[str, str]]:
        """Status, bytes of the body and headers (names in lower case)."""
        request = "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {self.daemon.address}", *lines, "", ""))
        self._socket.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._some()
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        size = len(body)
        while size < int(headers.get("content-length", 0)):
            size += len(self._some())
        return int(status.split()[1]), size, headers

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _some(self) -> memoryview:
        size = self._socket.recv_into(self._buffer)
        if not size:
            raise ConnectionError("the daemon closed the connection")
        return memoryview(self._buffer)[:size]


@contextmanager
def index(files: int, megabytes: int, certificate: str = "") -> Iterator[str]:
    """The URL of an index in a process of its own (see `bench.upstream`)."""
    command = [sys.executable, "-m", "bench.upstream", str(files), str(megabytes), *filter(None, [certificate])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def certificate_in(directory: Path) -> Path:
    """A certificate for localhost, its key in the same file."""
    both, key = directory / "both.pem", directory / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), *names]
    made = subprocess.run(make, capture_output=True, check=True)
    both.write_bytes(key.read_bytes() + made.stdout)
    return both


def path_of(daemon: Daemon, project: str) -> str:
    """The path of the project's one file."""
    (path,) = links(daemon, project).values()
    return path


def commit() -> str:
    """The checkout's commit, "+" behind it when something is changed."""
    git = ["git", "-C", str(ROOT)]
    name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return (name.stdout.strip() or "unknown") + ("+" if changed.stdout.strip() else "")


def load(path: str) -> dict[str, float]:
    """The figures in a file that an earlier run wrote."""
    figures: dict[str, float] = json.loads(Path(path).read_text())["figures"]
    return figures
