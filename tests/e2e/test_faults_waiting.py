"""Who waits for a file on its way: comes first, comes late, leaves, wants a piece; and what then breaks."""

from __future__ import annotations

import http.client
import resource
from contextlib import ExitStack

import pytest

from e2e.clients import Download, ask
from e2e.daemon import Daemon
from e2e.faults import Fault, disconnect, hang, reply, reset, short_body
from e2e.malformed import wire
from e2e.ordeal import HELD_BACK, metrics
from e2e.packages import blob
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

Broken = (http.client.HTTPException, ConnectionError)


def rest(client: Download) -> tuple[bytes, bool]:
    """What still comes, and whether that was all."""
    data = b""
    try:
        while piece := client.read(1 << 16):
            data += piece
    except Broken:
        return data, False
    return data, client.complete


def test_who_came_first_leaves_and_the_joiners_go_on(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate(file.path, after=MB)
    with ExitStack() as stack:
        with Download(daemon, path) as first:
            first.read(1000)
            late = [stack.enter_context(Download(daemon, path)) for _ in range(3)]
        beginnings = [client.read(1000) for client in late]
        gate.release()
        assert [begin + rest(client)[0] for begin, client in zip(beginnings, late, strict=True)] == [file.data] * 3
    assert upstream.count(file.path, "GET") == 1


def test_all_leave_and_the_transfer_completes(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate(file.path, after=MB)
    with ExitStack() as stack:
        for client in [stack.enter_context(Download(daemon, path)) for _ in range(3)]:
            client.read(1000)
    wait_for("all have left", lambda: metrics(daemon).get('pypicache_aborted_total{kind="file"}') == 3)
    gate.release()
    wait_for("the file is stored", lambda: daemon.stored(file.name))
    wait_for("it is a hit", lambda: ask(daemon, path).state == "HIT")
    assert upstream.count(file.path, "GET") == 1


def test_nobody_gets_the_last_piece_of_what_never_comes_whole(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.gate(file.path, after=2 * MB)
    with ExitStack() as stack:
        clients = [stack.enter_context(Download(daemon, path)) for _ in range(3)]
        beginnings = [client.read(MB) for client in clients]
        with upstream.down():
            ends = [rest(client) for client in clients]
            assert ask(daemon, path).status == 503
    for begin, (end, complete) in zip(beginnings, ends, strict=True):
        assert file.data.startswith(begin + end)
        assert not complete
        assert len(begin + end) <= 2 * MB - HELD_BACK
    assert daemon.stored(file.name) == []
    upstream.heal()
    assert ask(daemon, path).body == file.data
    assert upstream.seen(file.path, "GET")[-1].headers["range"] == f"bytes={2 * MB}-"


def test_the_last_piece_of_a_wrong_file_is_never_sent(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    wrong = file.data[:-1] + bytes([file.data[-1] ^ 1])
    upstream.fault(file.path, reply(200, {}, wrong), times=1)
    with Download(daemon, path) as client:
        data, complete = rest(client)
    assert not complete
    assert file.data.startswith(data)
    assert len(data) <= len(file.data) - HELD_BACK


@pytest.mark.parametrize("cured", [True, False], ids=["resumed", "for good"])
def test_a_range_reader_joins_a_transfer_that_then_breaks(cured: bool, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.gate(file.path, after=2 * MB, times=1)
    with (
        Download(daemon, path) as whole,
        Download(daemon, path, {"Range": f"bytes=1000-{MB}"}) as behind,
        Download(daemon, path, {"Range": f"bytes={MB}-"}) as beyond,
    ):
        begin = whole.read(MB)
        assert rest(behind) == (file.data[1000 : MB + 1], True)
        if not cured:
            upstream.fault(file.path, reply(403))
        upstream.hang_up()
        outcomes = [begin + rest(whole)[0], rest(beyond)[0]]
    if cured:
        assert outcomes == [file.data, file.data[MB:]]
    else:
        assert all(len(data) < 2 * MB for data in outcomes)
        assert file.data[MB:].startswith(outcomes[1])


def test_a_disk_that_is_full_from_the_start_while_others_wait(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate(file.path, after=0)
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4096, hard))
    with ExitStack() as stack:
        clients = [stack.enter_context(Download(daemon, path)) for _ in range(3)]
        gate.release()
        pieces = [b""] * 3
        while any(more := [client.read(1 << 16) for client in clients]):
            pieces = [have + new for have, new in zip(pieces, more, strict=True)]
    assert pieces == [file.data] * 3
    assert upstream.count(file.path, "GET") == 1
    assert daemon.stored(file.name) == []
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name))


def test_a_burst_of_5xx_opens_the_breaker_and_files_are_tried_all_the_same(upstream: Upstream, daemon: Daemon) -> None:
    files = [blob(f"data{number}", MB) for number in range(5)]
    upstream.project("data", files)
    paths = [f"/packages{file.path.removeprefix('/packages')}" for file in files]
    path_of = dict(zip(paths, files, strict=True))
    upstream.fault("/packages/", reply(502))
    for path in paths:
        answer = ask(daemon, path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    origin = upstream.files_url.rstrip("/")
    assert metrics(daemon)[f'pypicache_breaker_open{{origin="{origin}"}}'] == 1
    assert daemon.log.count(f"{origin} is taken for down") == 1
    upstream.heal()
    for path, file in path_of.items():
        assert ask(daemon, path).body == file.data
    assert metrics(daemon)[f'pypicache_breaker_open{{origin="{origin}"}}'] == 0


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (reply(403), 503),
        (reply(404), 404),
        (reply(405), 503),
        (reply(500), 503),
        (reply(304), 503),
        (reset(), 503),
        (disconnect(), 503),
        (wire(lambda response: b"!!!\r\n\r\n"), 503),
        (short_body(0), 200),
    ],
    ids=["403", "404", "405", "500", "304", "reset", "closed", "garbage", "without a body"],
)
def test_head_of_what_is_not_stored_and_of_unknown_size(
    fault: Fault, status: int, upstream: Upstream, daemon: Daemon
) -> None:
    file = publish(upstream, MB)
    upstream.project("data", [file]).extra["files"] = [{**upstream.catalogue.file_json(file), "size": None}]
    path = path_at(daemon)
    upstream.fault(file.path, fault)
    answer = ask(daemon, path, "HEAD")
    assert (answer.status, answer.body) == (status, b"")
    assert status != 200 or answer.headers["content-length"] == str(MB)
    assert upstream.count(file.path, "GET") == 0
    upstream.heal()
    assert ask(daemon, path, "HEAD").headers["content-length"] == str(MB)
    assert ask(daemon, path).body == file.data


def test_head_of_what_upstream_calls_a_page_for_browsers_tells_no_length(upstream: Upstream, daemon: Daemon) -> None:
    """Some servers send wheels so; only a GET shows, by the digest, whether it is a login page."""
    file = publish(upstream, MB)
    upstream.project("data", [file]).extra["files"] = [{**upstream.catalogue.file_json(file), "size": None}]
    path = path_at(daemon)
    upstream.fault(file.path, reply(200, {"Content-Type": "text/html"}, b"log in"))
    head = ask(daemon, path, "HEAD")
    assert (head.status, "content-length" in head.headers) == (200, False)
    assert ask(daemon, path).status == 503


def test_head_of_known_size_asks_nobody(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault(file.path, hang())
    answer = ask(daemon, path, "HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(MB))
    assert upstream.count(file.path) == 0
