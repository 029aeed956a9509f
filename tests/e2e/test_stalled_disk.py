"""A disk that hangs: what is in memory is served, the rest is refused in time, and all goes on when the disk does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import twisted_pypi
from e2e.clients import ask
from e2e.daemon import Start
from e2e.packages import wheel
from e2e.stalling import HANGING
from e2e.upstream import Upstream
from e2e.waiting import wait_for

WAITING = 12


def test_a_stalled_disk(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "stall"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(HANGING)
    daemon = start(PYTHONPATH=f"{directory}:{Path(twisted_pypi.__file__).parent.parent}")
    upstream.project("warm", [wheel("warm")])
    cold = [f"/simple/cold-{number}/" for number in range(WAITING)]
    for number in range(WAITING):
        upstream.project(f"cold-{number}")
    wait_for("it is a hit", lambda: ask(daemon, "/simple/warm/").state == "HIT")
    stall = directory / "stall"
    stall.touch()
    with ThreadPoolExecutor(WAITING) as pool:
        refused = [pool.submit(ask, daemon, path) for path in cold]
        wait_for("the daemon says that it isn't ready", lambda: ask(daemon, "/readyz").status == 503)
        assert b"disk" in ask(daemon, "/readyz").body
        assert ask(daemon, "/simple/warm/").state == "HIT"
        assert ask(daemon, "/healthz").status == 200
        assert {answer.result().status for answer in refused} == {503}
        assert ask(daemon, "/simple/warm/").state == "HIT"
    stall.unlink()
    wait_for("it is ready again", lambda: ask(daemon, "/readyz").status == 200)
    assert [ask(daemon, path).status for path in cold] == [200] * WAITING
    assert daemon.log.count("come to nothing") <= 1
