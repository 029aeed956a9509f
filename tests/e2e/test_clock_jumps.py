"""The machine's time is set by a day while the daemon runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import twisted_pypi
from e2e.clients import ask
from e2e.daemon import Daemon, Start
from e2e.faults import trickle
from e2e.packages import wheel
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

SHIFTED = """
import os, time
place, real = os.path.dirname(__file__), time.time
def shifted():
    exists = os.path.exists
    return real() + 86400 * (exists(place + "/forward") - exists(place + "/back"))
time.time = shifted
"""
PAGE = "/simple/data/"


@pytest.fixture
def shift(tmp_path: Path) -> Path:
    """A directory in which a file "back" or "forward" sets the daemon's time of day."""
    directory = tmp_path / "shift"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(SHIFTED)
    return directory


@pytest.fixture
def daemon(start: Start, shift: Path) -> Daemon:
    place = Path(twisted_pypi.__file__).parent.parent
    return start("--read-timeout", "3", PYTHONPATH=f"{shift}:{place}")


@pytest.mark.parametrize("jump", ["back", "forward"])
def test_time_is_set(upstream: Upstream, daemon: Daemon, shift: Path, jump: str) -> None:
    upstream.project("other", [wheel("other")])
    file = publish(upstream, 4 * MB)
    path = path_at(daemon)
    wait_for("it is a hit", lambda: ask(daemon, PAGE).state == "HIT")
    date = ask(daemon, PAGE).headers["date"]
    hanging = upstream.gate("/simple/other/")
    upstream.fault("/packages/", trickle(64 << 10, 0.05))
    with ThreadPoolExecutor() as pool:
        refused, whole = pool.submit(ask, daemon, "/simple/other/"), pool.submit(ask, daemon, path)
        wait_for("both are under way", lambda: hanging.arrived.is_set() and upstream.count("/packages/"))
        (shift / jump).touch()
        assert ask(daemon, PAGE).state == "REVALIDATED"
        assert [ask(daemon, PAGE).state for _ in range(3)] == ["HIT"] * 3
        assert whole.result().body == file.data
        assert refused.result().status == 503, "time-outs end what hangs"
    assert upstream.count("/packages/") == 1, "no transfer was broken off"
    assert ask(daemon, PAGE).headers["date"][:11] != date[:11]
    upstream.heal()
    assert ask(daemon, "/simple/other/").status == 200
