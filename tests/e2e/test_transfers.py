"""Files: one upstream transfer however many clients, verified while it passes."""

from __future__ import annotations

import http.client

import pytest

from e2e.clients import Download, ask
from e2e.daemon import Daemon, Start
from e2e.faults import corrupt, no_length, redirect
from e2e.single import MB, check_twenty_share_one_transfer, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

Broken = (http.client.HTTPException, ConnectionError)


def test_twenty_clients_share_one_growing_transfer(upstream: Upstream, daemon: Daemon) -> None:
    check_twenty_share_one_transfer(upstream, daemon)


def test_a_client_that_leaves_stops_nothing(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=MB)
    with Download(daemon, path) as client:
        client.read(1000)
    gate.release()
    wait_for("the file is stored", lambda: daemon.stored(file.name))
    again = ask(daemon, path)
    assert (again.state, again.body) == ("HIT", file.data)
    assert upstream.count(file.path, "GET") == 1


def test_a_slow_client_holds_nobody_back_and_costs_no_memory(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 96 * MB)
    path, before = path_at(daemon), daemon.memory("VmHWM")
    with Download(daemon, path) as slow:
        assert ask(daemon, path).body == file.data
        assert daemon.memory("VmHWM") - before < 64 * MB
        assert slow.read() == file.data
    assert upstream.count(file.path, "GET") == 1


def test_a_wrong_digest_is_a_broken_transfer_and_is_not_stored(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault("/packages/", corrupt(), times=1)
    with pytest.raises(Broken):
        ask(daemon, path)
    assert daemon.stored(file.name) == []
    assert ask(daemon, path).body == file.data
    assert upstream.count(file.path, "GET") == 2


def test_a_body_without_length_is_checked_all_the_same(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault("/packages/", no_length(), times=1)
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name))


def test_a_redirect_is_followed_and_not_shown(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault(file.path, redirect(f"{file.path}?signature=secret"), times=1)
    answer = ask(daemon, path)
    assert (answer.status, answer.body) == (200, file.data)
    assert "secret" not in daemon.log


@pytest.mark.parametrize("html_only", [False, True], ids=["size from the page", "size from upstream"])
def test_a_head_costs_no_download(html_only: bool, upstream: Upstream, daemon: Daemon) -> None:
    upstream.catalogue.html_only = html_only
    file = publish(upstream, MB)
    answer = ask(daemon, path_at(daemon), "HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(MB), b"")
    assert upstream.count(file.path, "GET") == 0


@pytest.mark.parametrize(
    ("wanted", "first", "last"), [("bytes=0-9", 0, 9), ("bytes=-5", MB - 5, MB - 1), ("bytes=100-", 100, MB - 1)]
)
@pytest.mark.parametrize("warm", [True, False], ids=["hit", "miss"])
def test_ranges(warm: bool, wanted: str, first: int, last: int, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    if warm:
        ask(daemon, path)
    answer = ask(daemon, path, Range=wanted)
    assert (answer.status, answer.body) == (206, file.data[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{MB}"


def test_ranges_that_are_not_to_be_had(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    etag = ask(daemon, path).headers["etag"]
    beyond = ask(daemon, path, Range=f"bytes={MB}-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, f"bytes */{MB}")
    assert ask(daemon, path, Range="bytes=0-1,5-6").body == file.data
    assert ask(daemon, path, Range="bytes=0-1", If_Range='"other"').body == file.data
    assert ask(daemon, path, Range="bytes=0-1", If_Range=etag).body == file.data[:2]
    assert ask(daemon, path, If_None_Match=etag).status == 304


def test_a_copy_that_was_changed_on_disk_is_never_served(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    ask(daemon, path)
    wait_for("the file is recorded", lambda: ask(daemon, path).state == "HIT")
    (copy,) = daemon.stored(file.name)
    copy.chmod(0o600)
    with copy.open("r+b") as body:
        body.write(b"damage")
    assert ask(daemon, path).body == file.data


@pytest.mark.parametrize("option", [("--cache-size", "0"), ("--max-file-size", "512K")], ids=["no store", "too large"])
def test_what_is_not_stored_is_streamed(option: tuple[str, str], upstream: Upstream, start: Start) -> None:
    daemon = start(*option)
    file = publish(upstream, MB)
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    assert ask(daemon, path).body == file.data
    assert daemon.stored(file.name) == []
