"""The access log of the real daemon: as JSON, and rotated while it is written."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from contextlib import closing
from threading import Thread

import pytest

from e2e.clients import ask
from e2e.daemon import LISTENING, Daemon, Start, clean_environment
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

PAGE = "/simple/app/"
ROTATIONS = 6


def test_as_json(upstream: Upstream, start: Start) -> None:
    upstream.project("app", [wheel("app")])
    daemon = start("--access-log", "access.log", "--access-log-format", "json")
    path = daemon.directory / "access.log"
    ask(daemon, f"{PAGE}?secret=1", User_Agent='a"\\\xff')
    ask(daemon, PAGE)
    ask(daemon, "/healthz")
    wait_for("three lines", lambda: path.exists() and path.read_bytes().count(b"\n") == 3)
    text = path.read_text("ascii")
    assert "secret" not in text
    assert all(line.isprintable() for line in text.splitlines())
    miss, hit, health = map(json.loads, text.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", miss["time"])
    assert (miss["cache"], miss["target"], miss["agent"]) == ("MISS", PAGE, 'a"\\\xff')
    assert miss["upstream_seconds"] > 0
    assert (hit["cache"], hit["upstream_seconds"], hit["kind"], hit["mount"]) == ("HIT", None, "page", "/")
    assert (health["cache"], health["status"], health["bytes"]) == (None, 200, 3)


class Load:
    """Asks over and over, on one connection; each request has its number in its target."""

    def __init__(self, daemon: Daemon) -> None:
        self.port = daemon.port
        self.asked = 0
        self.over = False
        self.thread = Thread(target=self._run)

    def __enter__(self) -> Load:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()

    def _run(self) -> None:
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)) as connection:
            answers = connection.makefile("rb")
            while not self.over:
                connection.sendall(b"GET /nothing/%d HTTP/1.1\r\nHost: h\r\n\r\n" % self.asked)
                while (line := answers.readline()) != b"\r\n":
                    assert line
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
                self.asked += 1


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_rotation_under_load_loses_no_line(start: Start, number: signal.Signals, more: tuple[str, ...]) -> None:
    daemon = start("--access-log", "access.log", *more)
    path = daemon.directory / "access.log"
    with Load(daemon) as load:
        for rotation in range(ROTATIONS):
            wait_for("lines", lambda: path.exists() and path.stat().st_size > 0)
            path.rename(path.with_suffix(f".{rotation}"))
            daemon.signal(number)
    assert daemon.stop() == 0
    files = [*(path.with_suffix(f".{rotation}") for rotation in range(ROTATIONS)), path]
    lines = "".join(file.read_text() for file in files).splitlines()
    assert [line.split('"')[1] for line in lines] == [f"GET /nothing/{asked} HTTP/1.1" for asked in range(load.asked)]


def test_a_log_that_cannot_be_opened_anew_goes_on_where_it_was(start: Start) -> None:
    daemon = start("--access-log", "access.log")
    path = daemon.directory / "access.log"
    moved = path.rename(path.with_suffix(".1"))
    path.mkdir()
    daemon.signal(signal.SIGUSR1)
    daemon.wait_for_log(r"access log .* can't be opened anew, it goes on where it was: .*Is a directory")
    ask(daemon, PAGE)
    wait_for("the line", lambda: PAGE in moved.read_text())
    path.rmdir()
    daemon.signal(signal.SIGUSR1)
    wait_for("a new file", path.exists)


def test_a_log_that_nobody_reads_holds_up_nobody(start: Start) -> None:
    daemon = start("--access-log", "none", "--log-level", "debug")
    assert daemon.stop() == 0
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as log:
        process = subprocess.Popen(
            daemon.command(),
            cwd=daemon.directory,
            env=clean_environment(daemon.directory),
            stdin=subprocess.DEVNULL,
            stdout=writer,
        )
        os.close(writer)
        daemon.process = process
        while not (found := LISTENING.search(log.readline().decode())):
            pass
        daemon.port = int(found[2])
        # More lines than a pipe holds, none of which is read.
        for number in range(600):
            assert ask(daemon, f"/simple/{'x' * 200}{number}/").status in (404, 503)
        daemon.signal(signal.SIGTERM)
        rest = log.read()
        assert process.wait(DEADLINE) == 0
    assert rest.count(b"\n") > 600
    assert b"[pypicache#info] stopped\n" in rest
