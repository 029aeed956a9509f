"""Transfers that break go on where they were; a small piece of a large file starts none."""

from __future__ import annotations

import pytest

from e2e.clients import Download, ask
from e2e.daemon import Daemon, Start
from e2e.faults import Fault, reset, short_body
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream


@pytest.mark.parametrize("fault", [reset(MB), short_body(MB)], ids=["reset", "short"])
def test_a_transfer_that_breaks_resumes(fault: Fault, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.fault("/packages/", fault, times=1)
    assert ask(daemon, path).body == file.data
    _, second = upstream.seen(file.path, "GET")
    assert second.headers["range"].startswith("bytes=")
    assert second.headers["if-range"]


def test_a_transfer_resumes_after_a_restart(upstream: Upstream, start: Start) -> None:
    daemon = start("--grace", "0")
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=2 * MB)
    with Download(daemon, path) as client:
        client.read(MB)
        daemon.restart()
    gate.release()
    upstream.heal()
    assert ask(daemon, path).body == file.data
    last = upstream.seen(file.path, "GET")[-1]
    assert int(last.headers["range"].removeprefix("bytes=").removesuffix("-")) >= MB


def test_a_small_range_of_a_large_missing_file_is_passed_through(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 9 * MB)
    answer = ask(daemon, path_at(daemon), Range="bytes=-1000")
    assert (answer.status, answer.state, answer.body) == (206, "BYPASS", file.data[-1000:])
    assert daemon.stored(file.name) == []
    assert [request.headers.get("range") is not None for request in upstream.seen(file.path, "GET")] == [True]
