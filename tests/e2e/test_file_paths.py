"""What may be fetched under /files/, and ranges on files that are missing, growing and at rest."""

from __future__ import annotations

import threading

import pytest

from e2e.clients import Download, Reply, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import redirect, reply
from e2e.packages import File, blob
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for


def elsewhere(upstream: Upstream, other: Upstream) -> File:
    """A project "data" at `upstream` whose file lies at `other`."""
    file = blob("data", MB)
    other.project("data", [file])
    upstream.project("data").extra["files"] = [other.catalogue.file_json(file)]
    return file


def test_a_page_may_name_files_elsewhere(upstream: Upstream, other_upstream: Upstream, start: Start) -> None:
    file = elsewhere(upstream, other_upstream)
    daemon = start("--index-url", upstream.index_url)
    path = f"/files/{other_upstream.files_url.replace('://', ':').rstrip('/')}{file.path}"
    assert ask(daemon, path).status == 403
    assert "--file-host" in ask(daemon, path).reason
    assert other_upstream.requests == []


def test_an_index_that_is_not_bound_names_what_it_likes(
    upstream: Upstream, other_upstream: Upstream, start: Start
) -> None:
    file = elsewhere(other_upstream, upstream)
    # An extra index is bound to nothing.
    daemon = start("--extra-index-url", other_upstream.index_url)
    (path,) = links(daemon, "data").values()
    assert ask(daemon, path).body == file.data
    assert ask(daemon, f"{path}x").status in (403, 404)
    for cache in (daemon.cache / "pages").rglob("*.page"):
        cache.unlink()
    for body in daemon.stored(file.name):
        body.unlink()
    daemon.restart()
    other_upstream.refuse()
    assert ask(daemon, path).body == file.data


def test_a_file_host_is_open(upstream: Upstream, other_upstream: Upstream, start: Start) -> None:
    file = elsewhere(upstream, other_upstream)
    host = other_upstream.files_url.removeprefix("http://").rstrip("/")
    daemon = start("--file-host", host)
    (path,) = links(daemon, "data").values()
    assert path.startswith("/files/http:")
    assert ask(daemon, path).body == file.data


@pytest.mark.parametrize("path", ["/files/", "/files/http:", "/files/http:/x", "/files/..%2f/x", "/files/ftp:h/x"])
def test_paths_that_are_none(path: str, upstream: Upstream, daemon: Daemon) -> None:
    assert ask(daemon, path).status in (400, 403, 404)
    assert upstream.requests == []


def test_redirects_of_a_file(upstream: Upstream, other_upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    other_upstream.project("data", [file])
    path = path_at(daemon)
    upstream.fault(file.path, redirect(f"{other_upstream.files_url}{file.path[1:]}?X-Secret=hunter2"), times=1)
    answer = ask(daemon, path)
    assert (answer.status, answer.body) == (200, file.data)
    assert "hunter2" not in repr(answer.headers) + daemon.log
    assert daemon.stored(file.name) or wait_for("stored", lambda: daemon.stored(file.name))


def test_redirects_without_end(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, MB)
    path = path_at(daemon)
    upstream.fault(file.path, redirect(file.path))
    assert ask(daemon, path).status == 503
    assert upstream.count(file.path) <= 7


def test_ranges_of_a_growing_file(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 12 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=4 * MB)
    late: list[Reply] = []
    with Download(daemon, path) as whole:
        assert whole.read(MB) == file.data[:MB]
        early = ask(daemon, path, Range=f"bytes=1000-{2 * MB}")
        assert (early.status, early.body) == (206, file.data[1000 : 2 * MB + 1])
        beyond = threading.Thread(target=lambda: late.append(ask(daemon, path, Range=f"bytes={10 * MB}-")))
        beyond.start()
        assert ask(daemon, path, Range=f"bytes={12 * MB}-").status == 416
        assert ask(daemon, path, "HEAD").headers["content-length"] == str(12 * MB)
        with Download(daemon, path) as leaving:
            leaving.read(10)
        gate.release()
        assert whole.read() == file.data[MB:]
        beyond.join()
    assert [(each.status, each.body == file.data[10 * MB :]) for each in late] == [(206, True)]
    assert upstream.count(file.path, "GET") == 1


def test_a_small_range_joins_what_runs(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 12 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=4 * MB)
    with Download(daemon, path) as whole:
        whole.read(1)
        assert ask(daemon, path, Range="bytes=100-199").body == file.data[100:200]
        assert upstream.count(file.path, "GET") == 1
        gate.release()


def test_the_end_of_a_large_file_is_not_waited_for(upstream: Upstream, daemon: Daemon) -> None:
    """pip's fast-deps and uv read a wheel's end; a slow transfer of it must not hold them up for minutes."""
    file = publish(upstream, 12 * MB)
    path = path_at(daemon)
    gate = upstream.gate("/packages/", after=4 * MB, times=1)
    with Download(daemon, path) as whole:
        whole.read(1)
        answer = ask(daemon, path, Range="bytes=-1000", timeout=10)
        assert answer.body == file.data[-1000:]
        gate.release()


def test_a_tiny_cache_drops_the_least_recently_used(upstream: Upstream, start: Start) -> None:
    daemon = start("--cache-size", "4M")
    files = [blob(f"data{number}", MB) for number in range(12)]
    upstream.project("data", files)
    paths = links(daemon, "data")
    gate_path = paths[files[0].name]
    ask(daemon, gate_path)
    with Download(daemon, gate_path) as slow:
        slow.read(10)
        for _ in range(2):
            for file in files[1:]:
                assert ask(daemon, paths[file.name]).body == file.data
        assert slow.read() == files[0].data[10:]

    wait_for("within the limit", lambda: daemon.stored_size("data*") <= 4 * MB, 20)
    wait_for("what is asked for stays", lambda: ask(daemon, paths[files[-1].name]).state == "HIT", 20)


def test_the_project_page_is_right_after_everything_was_dropped(upstream: Upstream, start: Start) -> None:
    daemon = start("--cache-size", "0")
    file = publish(upstream, MB)
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    upstream.fault("/simple/", reply(503))
    assert ask(daemon, "/simple/data/", Accept=JSON_TYPE).status == 200
    assert ask(daemon, path).body == file.data
    assert ask(daemon, path, Range="bytes=5-9").body == file.data[5:10]
