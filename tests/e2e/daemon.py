"""The real daemon, as its user starts it: `twistd -n --pidfile= pypicache …` from the environment's bin directory."""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from attrs import define, evolve, field

import twisted_pypi
from e2e.waiting import DEADLINE, wait_for

BIN = Path(sys.executable).parent
TWISTD = str(BIN / "twistd")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LISTENING = re.compile(r"listening on (https?://(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)/)")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment without anybody's configuration, in which the package that the tests import is the one that runs.

    The package's own place is on the path, so that a checkout without installation works too.
    """
    place = str(Path(twisted_pypi.__file__).parent.parent)
    return {
        "PATH": f"{BIN}{os.pathsep}{os.defpath}",
        "HOME": str(home),
        "PYTHONPATH": place,
        "LC_ALL": "C.UTF-8",
        **more,
    }


@define(eq=False)
class Daemon:
    """One daemon in `directory` (working directory, home, cache and log). Used as a context manager."""

    directory: Path
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    prefix: str = ""
    descriptors: tuple[int, ...] = ()
    scheme: str = "http"
    _log_start: int = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def cache(self) -> Path:
        """Its cache directory, unless the arguments name another."""
        return self.directory / "cache"

    @property
    def log_path(self) -> Path:
        """Everything that it wrote to stdout and stderr, of all runs."""
        return self.directory / "log"

    @property
    def log(self) -> str:
        """The whole log so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base URL, without trailing slash."""
        return f"{self.scheme}://{self.address}{self.prefix}"

    @property
    def index_url(self) -> str:
        """What a client is configured with."""
        return f"{self.url}/simple/"

    @property
    def pid(self) -> int:
        """The process id. Raises `AssertionError` when it isn't running."""
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        """The command line."""
        options = ["--port", "0", "--cache-dir", str(self.cache), "--min-free", "0", *self.arguments]
        return [TWISTD, "-n", "--pidfile=", "pypicache", *options]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process and wait for nothing."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=clean_environment(self.directory, **self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.descriptors,
            )
        return self.process

    def start(self) -> None:
        """Start and wait until it says where it listens. Raises `AssertionError` with its log when it ends instead."""
        process = self.spawn()

        def listening() -> re.Match[str] | None:
            text = self.log_path.read_bytes()[self._log_start :].decode(errors="replace")
            found = LISTENING.search(text)
            assert found or process.poll() is None, f"ended with status {process.returncode}:\n{text}"
            return found

        found = wait_for("the daemon says where it listens", listening)
        assert found is not None
        self.port, self.scheme = int(found[2]), found[1].partition(":")[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this very process."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self.process is not None
        return self.process.wait(DEADLINE)

    def stop(self) -> int:
        """End it as systemd does; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it as a power cut does. Idempotent."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)

    def restart(self, *arguments: str) -> None:
        """Stop it and start it again on the same directory, with further arguments."""
        assert self.stop() == 0
        self.arguments += arguments
        self.start()

    def memory(self, name: str = "VmRSS") -> int:
        """Resident memory in bytes: now ("VmRSS"), or the most it ever was ("VmHWM")."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) << 10

    def wait_for_log(self, pattern: str) -> str:
        """The first match of a regular expression in the log, once it is there."""
        found = wait_for(f"{pattern!r} in the log", lambda: re.search(pattern, self.log))
        assert found is not None
        return found[0]

    def expire(self, name: str, query: str = "") -> None:
        """Purge a project: its page is stale from now on. Raises `HTTPError` when that is refused."""
        url = f"{self.url}/cache/{name}{query}"
        with DIRECT.open(urllib.request.Request(url, method="DELETE"), timeout=DEADLINE) as answer:
            answer.read()

    def at(self, prefix: str) -> Daemon:
        """The same daemon, as a client sees it below a prefix."""
        return evolve(self, prefix=prefix)

    def stored(self, name: str) -> list[Path]:
        """Files of that name (a pattern) in the cache directory: copies at rest, not in the making.

        `os.walk` takes it calmly when the daemon removes a folder meanwhile, as eviction does.
        """
        walked = os.walk(self.cache)
        return [Path(folder, found) for folder, _, names in walked for found in fnmatch.filter(names, name)]

    def stored_size(self, name: str) -> int:
        """The bytes of those files together."""
        total = 0
        for path in self.stored(name):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


Start = Callable[..., Daemon]
"""The fixture `start`: further arguments, `name=` of the directory, environment variables."""
