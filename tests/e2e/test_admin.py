"""Purge, health, figures, access."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from e2e.clients import ask, links
from e2e.daemon import Daemon, Start
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

PAGE = "/simple/app/"
FILE = wheel("app")


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("app", [FILE])


def test_a_purge_expires_the_page_and_keeps_it_for_a_stale_answer(upstream: Upstream, daemon: Daemon) -> None:
    ask(daemon, PAGE)
    assert ask(daemon, "/cache/app", "DELETE").status in (200, 202, 204)
    with upstream.down():
        assert ask(daemon, PAGE).state == "STALE"


def test_a_purge_of_the_project_list(upstream: Upstream, daemon: Daemon) -> None:
    ask(daemon, "/simple/")
    daemon.expire("list")
    assert ask(daemon, "/simple/").state == "REVALIDATED"


def test_a_purge_of_a_project_list_that_nobody_asked_for(daemon: Daemon) -> None:
    answer = ask(daemon, "/cache/list", method="DELETE")
    assert (answer.status, answer.json()["data"]["purged"]) == (200, 0)


def test_a_purge_with_files_deletes_them(upstream: Upstream, daemon: Daemon) -> None:
    (path,) = links(daemon, "app").values()
    ask(daemon, path)
    wait_for("the file is stored", lambda: daemon.stored(FILE.name))
    daemon.expire("app", "?files=1")
    assert daemon.stored(FILE.name) == []
    assert ask(daemon, path).body == FILE.data


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Host": "mirror.example"}],
    ids=["origin", "fetch site", "host"],
)
def test_a_purge_that_a_web_page_could_have_caused(headers: dict[str, str], upstream: Upstream, daemon: Daemon) -> None:
    ask(daemon, PAGE)
    assert ask(daemon, "/cache/app", "DELETE", **headers).status in (401, 403)
    assert ask(daemon, PAGE).state == "HIT"


def test_a_purge_with_a_token(start: Start) -> None:
    daemon = start(PYPICACHE_ADMIN_TOKEN="open-sesame")
    ask(daemon, PAGE)
    assert ask(daemon, "/cache/app", "DELETE").status in (401, 403)
    assert ask(daemon, "/cache/app", "DELETE", Authorization="Bearer wrong").status in (401, 403)
    assert ask(daemon, "/cache/app", "DELETE", Authorization="Bearer open-sesame").status in (200, 202, 204)
    assert "open-sesame" not in daemon.log


def test_health_and_figures(upstream: Upstream, daemon: Daemon) -> None:
    upstream.refuse()
    assert ask(daemon, "/healthz").status == ask(daemon, "/readyz").status == 200
    ask(daemon, PAGE)
    metrics = ask(daemon, "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b"# TYPE pypicache_" in metrics.body
    assert isinstance(ask(daemon, "/+status").json(), dict)


def test_the_front_page_tells_people_what_to_configure(daemon: Daemon) -> None:
    front = ask(daemon, "/")
    assert front.headers["content-type"].startswith("text/html")
    assert daemon.index_url.encode() in front.body


def test_only_allowed_clients_are_served(start: Start) -> None:
    daemon = start("--allow", "192.0.2.0/24")
    assert ask(daemon, PAGE).status == 403
    assert ask(daemon, "/healthz").status == 200


def test_forwarded_addresses_are_believed_of_trusted_proxies_alone(start: Start) -> None:
    distrustful = start("--allow", "192.0.2.0/24", name="distrustful")
    assert ask(distrustful, PAGE, X_Forwarded_For="192.0.2.7").status == 403
    trustful = start("--allow", "192.0.2.0/24", "--trusted-proxy", "127.0.0.1/32", name="trustful")
    assert ask(trustful, PAGE, X_Forwarded_For="192.0.2.7").status == 200
    assert ask(trustful, PAGE, X_Forwarded_For="203.0.113.7").status == 403


def test_the_access_log_says_how_each_answer_came_about(daemon: Daemon) -> None:
    ask(daemon, PAGE)
    ask(daemon, PAGE)
    daemon.wait_for_log(r"GET /simple/app/ HTTP/1\.1.* MISS ")
    daemon.wait_for_log(r"GET /simple/app/ HTTP/1\.1.* HIT ")


def test_an_access_log_that_nobody_reads_holds_up_nobody(start: Start, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        daemon = start("--access-log", str(pipe))
        agent = "x" * 1900
        # More than a pipe holds, and more than goes into one batch of lines.
        for _ in range(600):
            assert ask(daemon, "/healthz", User_Agent=agent).status == 200
        assert daemon.stop() == 0
        assert agent.encode() in os.read(reader, 1 << 16)
    finally:
        os.close(reader)


def test_the_access_log_can_be_rotated(start: Start) -> None:
    daemon = start("--access-log", "access.log")
    path = daemon.directory / "access.log"
    ask(daemon, PAGE)
    wait_for("the first line", lambda: path.exists() and PAGE in path.read_text())
    path.rename(path.with_suffix(".1"))
    daemon.signal(signal.SIGHUP)
    wait_for("a new file", path.exists)
    ask(daemon, "/simple/later/")
    wait_for("the next line", lambda: "/simple/later/" in path.read_text())


def test_what_is_in_the_cache_is_listed_for_administrators(upstream: Upstream, daemon: Daemon) -> None:
    (path,) = links(daemon, "app").values()
    ask(daemon, path)
    wait_for("the file is listed", lambda: ask(daemon, "/cache/?kind=file").json()["entries"])
    document = ask(daemon, "/cache/?q=ap*&sort=-size").json()
    assert document["total"]["names"] == 1
    assert {entry["kind"] for entry in document["entries"]} == {"page", "file"}
    assert {entry["name"] for entry in document["entries"]} == {"app"}
    (page,) = ask(daemon, "/cache/?kind=page").json()["entries"]
    assert 0 < page["fresh_for"] <= 300
    assert ask(daemon, "/cache/?by=name").json()["names"][0]["files"] == 1
    assert ask(daemon, "/cache/", Host="mirror.example").status == 403
