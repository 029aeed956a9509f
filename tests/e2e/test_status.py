"""`/+status` and the page for people: statistics across restarts, what is private, a catalogue that was lost."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import Download, ask, links
from e2e.daemon import Daemon, Start
from e2e.faults import reply
from e2e.packages import File, wheel
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

FILE = wheel("app")
TOKEN = "open-sesame"


def status(daemon: Daemon, **headers: str) -> dict[str, Any]:
    """The figures of now."""
    return ask(daemon, "/+status", **headers).json()


def used(daemon: Daemon) -> None:
    """A page is asked for three times, and its file twice."""
    for _ in range(3):
        ask(daemon, "/simple/app/")
    (path,) = links(daemon, "app").values()
    for _ in range(2):
        ask(daemon, path)
    wait_for("the file is stored", lambda: daemon.stored(FILE.name))


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("app", [FILE])


def hits(daemon: Daemon) -> int:
    return int(status(daemon)["totals"]["ever"]["hits"])


def test_statistics_go_on_after_a_restart(daemon: Daemon) -> None:
    used(daemon)
    before = status(daemon)["totals"]["ever"]
    assert (before["hits"], before["misses"]) == (4, 2)
    assert before["sent_bytes"] - before["upstream_bytes"] == before["saved_bytes"] > len(FILE.data)
    daemon.restart()
    assert status(daemon)["totals"]["ever"] == before
    ask(daemon, "/simple/app/")
    wait_for("it is counted", lambda: hits(daemon) == 5)
    assert status(daemon)["most_used"] == [{"name": "app", "requests": 7}]
    assert "foreign" not in daemon.log


@pytest.mark.parametrize("workers", ["2"])
def test_what_workers_answer_counts(daemon: Daemon) -> None:
    ask(daemon, "/simple/app/")
    for _ in range(30):
        ask(daemon, "/simple/app/")
    wait_for("all are counted", lambda: hits(daemon) == 30)
    assert daemon.stop() == 0
    daemon.start()
    assert hits(daemon) == 30


def test_a_broken_file_of_statistics_is_told_and_replaced(daemon: Daemon) -> None:
    used(daemon)
    assert daemon.stop() == 0
    (daemon.cache / "statistics.json").write_bytes(b"\0" * 100)
    daemon.start()
    daemon.wait_for_log("statistics begin anew")
    assert hits(daemon) == 0
    daemon.restart()
    assert daemon.log.count("statistics begin anew") == 1


def test_the_health_of_upstreams(upstream: Upstream, start: Start) -> None:
    daemon = start("--index-ttl", "0", "--stale-wait", "5s")
    ask(daemon, "/simple/app/")
    (index, files) = status(daemon)["upstreams"]
    assert (index["state"], files["state"]) == ("up", "unknown")
    upstream.fault("/simple/", reply(503))
    for _ in range(6):
        ask(daemon, "/simple/app/")
    index = wait_for(
        "it is down", lambda: next((row for row in status(daemon)["upstreams"] if row["state"] == "down"), None)
    )
    assert (index["role"], index["state"], index["last_error"]) == ("index", "down", "answered 503")


def test_a_transfer_under_way(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, 4 * MB)
    gate = upstream.gate("/packages/", after=2 * MB)
    with Download(daemon, path_at(daemon)) as download:
        download.read(MB)
        (transfer,) = wait_for("it is under way", lambda: status(daemon)["transfers"])
        assert (transfer["file"], transfer["size_bytes"], transfer["clients"]) == (file.name, 4 * MB, 1)
        assert MB < transfer["bytes"] <= 2 * MB
        assert f">{file.name}</span>".encode() in ask(daemon, "/").body
        gate.release()
        download.read()
    wait_for("it is over", lambda: not status(daemon)["transfers"])


def test_a_catalogue_that_was_lost_is_told_of(daemon: Daemon) -> None:
    """Each adopted file takes a few turns: seconds for all of them, in which a look finds it at that."""
    for number in range(3000):
        path = daemon.cache / "files" / "files.example" / f"p{number}-1.0.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    used(daemon)
    assert daemon.stop() == 0
    (daemon.cache / "catalogue.sqlite").unlink()
    daemon.start()
    assert "is being rebuilt" in ask(daemon, "/").body.decode()
    wait_for("it is made again", lambda: status(daemon)["catalogue"] == "ready")
    assert "is being rebuilt" not in ask(daemon, "/").body.decode()
    wait_for("there are packages", lambda: status(daemon)["largest"])


@pytest.fixture
def secretive(start: Start, upstream: Upstream, other_upstream: Upstream) -> Daemon:
    """A daemon before a private and a public index, with a token; the private project is in use."""
    other_upstream.project("hush", [wheel("hush", "7.7")])
    private = other_upstream.index_url.replace("//", "//me:secret@")
    daemon = start("--extra-index-url", private, PYPICACHE_ADMIN_TOKEN=TOKEN)
    used(daemon)
    (path,) = links(daemon, "hush").values()
    ask(daemon, path)
    wait_for("the file is stored", lambda: daemon.stored("hush-7.7-py3-none-any.whl"))
    other_upstream.fault("/simple/", reply(503))
    ask(daemon, "/simple/hushed/")
    return daemon


@pytest.mark.parametrize("path", ["/", "/+status", "/?q=hush", "/?q=*", "/?q=us"])
def test_nobody_hears_of_a_private_project(path: str, secretive: Daemon, other_upstream: Upstream) -> None:
    seen = ask(secretive, path).body.decode().replace('value="hush"', "").replace("“hush”", "")
    assert "hush" not in seen
    assert other_upstream.host not in seen
    assert "app" in seen
    told = ask(secretive, path, X_Admin_Token=TOKEN).body.decode()
    assert "hush" in told
    assert "secret" not in told
    assert TOKEN not in told


def test_a_private_index_is_known_to_be_down(secretive: Daemon) -> None:
    anybody, admin = status(secretive), status(secretive, Authorization=f"Bearer {TOKEN}")
    assert (anybody["admin"], admin["admin"]) == (False, True)
    assert anybody["upstreams"][0] | {"last_error_seconds_ago": 0, "last_answer_seconds_ago": 0} == {
        **admin["upstreams"][0],
        "index": "private",
        "origin": None,
        "last_error": None,
        "last_error_seconds_ago": 0,
        "last_answer_seconds_ago": 0,
    }
    assert admin["upstreams"][0]["last_error"] == "answered 503"


def test_the_page_for_a_hostile_index(upstream: Upstream, daemon: Daemon) -> None:
    """What an index names shows as what it is: text."""
    file = File("%3Cimg%20src=x%20onerror=alert(1)%3E-1.0.tar.gz", bytes(MB))
    upstream.project("evil", [file])
    gate = upstream.gate("/packages/", after=MB // 2)
    (path,) = links(daemon, "evil").values()
    with Download(daemon, path):
        page = wait_for("it is shown", lambda: shown if "onerror" in (shown := ask(daemon, "/").body.decode()) else "")
        gate.release()
    assert "&lt;img src=x onerror=alert(1)&gt;-1.0.tar.gz" in page
    assert "<img" not in page


def test_a_reload_changes_what_is_shown(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    config = tmp_path / "pypicache.toml"
    config.write_text("")
    daemon = start("--config", str(config))
    assert status(daemon)["admin"]
    config.write_text(f'admin-token = "{TOKEN}"\n')
    config.chmod(0o600)
    daemon.signal(signal.SIGHUP)
    wait_for("it is in force", lambda: not status(daemon)["admin"])
    assert status(daemon, X_Admin_Token=TOKEN)["admin"]
    assert re.search(b'type="password"', ask(daemon, "/").body)
