"""Transfers that break go on where they were; a small piece of a large file starts none."""

from __future__ import annotations

import http.client
import resource
from pathlib import Path

import pytest

from e2e.clients import Download, Installer, ask
from e2e.daemon import DIRECT, Daemon, Start
from e2e.faults import Fault, reply, reset, short_body
from e2e.packages import File, wheel
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

Broken = (http.client.HTTPException, ConnectionError)


def first_positions(upstream: Upstream, file: File) -> list[int]:
    """Where each request for the file wanted to begin."""
    ranges = [request.headers.get("range", "bytes=0-") for request in upstream.seen(file.path, "GET")]
    return [int(text.removeprefix("bytes=").removesuffix("-")) for text in ranges]


def partials(daemon: Daemon) -> list[Path]:
    """The partial files, without their notes."""
    return [path for path in (daemon.cache / "tmp").iterdir() if path.suffix != ".json"]


@pytest.mark.parametrize("fault", [reset(MB), short_body(MB)], ids=["reset", "short"])
def test_a_transfer_that_breaks_resumes(fault: Fault, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.fault("/packages/", fault, times=1)
    assert ask(daemon, path).body == file.data
    _, second = upstream.seen(file.path, "GET")
    assert second.headers["range"].startswith("bytes=")
    assert second.headers["if-range"]


def test_a_line_that_breaks_every_5_mb_is_not_noticed_by_pip_and_uv(
    upstream: Upstream, start: Start, installer: Installer
) -> None:
    file = wheel("large", size=22 * MB)
    upstream.project("large", [file])
    upstream.fault(file.path, short_body(5 * MB))
    for tool in ("pip", "uv"):
        daemon = start(name=tool)
        before = upstream.count(file.path, "GET")
        getattr(installer, tool)(daemon, tool, "large")
        assert installer.installed(tool) == {"large": "1.0"}
        assert upstream.count(file.path, "GET") - before >= 5
        positions = first_positions(upstream, file)[-4:]
        assert positions == sorted(positions)
        assert positions[0] >= 4 * MB


def test_a_server_without_ranges_sends_it_all_again(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.fault("/packages/", reply(200, {}, file.data))
    upstream.fault("/packages/", short_body(MB), times=1)
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name))


def test_a_file_that_changes_in_between_is_never_spliced(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.fault("/packages/", reply(200, {"ETag": '"other"'}, bytes(len(file.data))), times=1)
    upstream.fault("/packages/", short_body(MB), times=1)
    with pytest.raises(Broken):
        ask(daemon, path)
    assert daemon.stored(file.name) == []
    assert ask(daemon, path).body == file.data
    assert first_positions(upstream, file)[-1] == 0


def test_a_wrong_piece_is_not_taken(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    said = {"Content-Range": f"bytes {MB - 1}-{3 * MB - 1}/{3 * MB}"}
    upstream.fault("/packages/", reply(206, said, file.data[MB - 1 :]), times=1)
    upstream.fault("/packages/", short_body(MB), times=1)
    assert ask(daemon, path).body == file.data
    assert upstream.count(file.path, "GET") == 3


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


def test_a_transfer_resumes_after_a_crash(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 40 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=30 * MB)
    with Download(daemon, path) as client:
        wait_for("30 MB came", lambda: sum(each.stat().st_size for each in partials(daemon)) >= 30 * MB)
        client.read(MB)
        daemon.kill()
    gate.release()
    upstream.heal()
    daemon.start()
    assert ask(daemon, path).body == file.data
    first, last = first_positions(upstream, file)
    assert (first, 30 * MB + len(file.data) - last < 1.1 * len(file.data)) == (0, True)
    wait_for("the file is stored", lambda: daemon.stored(file.name))
    wait_for("nothing is left over", lambda: not list((daemon.cache / "tmp").iterdir()))


def test_what_broke_off_for_good_goes_on_with_the_next_client(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path = path_at(daemon)
    upstream.fault("/packages/", reply(403))
    upstream.fault("/packages/", short_body(2 * MB), times=1)
    with pytest.raises(Broken):
        ask(daemon, path)
    upstream.heal()
    assert ask(daemon, path).body == file.data
    assert first_positions(upstream, file)[-1] >= MB


def test_a_disk_that_is_full_in_mid_download_is_not_noticed(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 24 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=2 * MB)
    with Download(daemon, path) as one, Download(daemon, path) as two:
        began = one.read(MB), two.read(MB)
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (5 * MB, hard))
        gate.release()
        rest = [b"", b""]
        while any(pieces := [client.read(256 << 10) for client in (one, two)]):
            rest = [got + piece for got, piece in zip(rest, pieces, strict=True)]
    assert [begin + got for begin, got in zip(began, rest, strict=True)] == [file.data, file.data]
    assert upstream.count(file.path, "GET") == 1
    assert daemon.stored(file.name) == []
    wait_for("the space is given back", lambda: not partials(daemon))
    with DIRECT.open(f"{daemon.url}/metrics") as answer:
        assert b"pypicache_store_trouble_total 1.0\n" in answer.read()
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (hard, hard))
    upstream.heal()
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name))


def test_a_small_range_of_a_large_missing_file_is_passed_through(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 9 * MB)
    answer = ask(daemon, path_at(daemon), Range="bytes=-1000")
    assert (answer.status, answer.state, answer.body) == (206, "BYPASS", file.data[-1000:])
    assert daemon.stored(file.name) == []
    assert [request.headers.get("range") is not None for request in upstream.seen(file.path, "GET")] == [True]
