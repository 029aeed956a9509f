"""What is in the cache is never more than about a second away, whatever the upstream does."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable
from functools import partial

import pytest
from attrs import evolve

from e2e.clients import Reply, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import Fault, hang, reply
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

PAGE = "/simple/app/"
SLOW = {"hang": hang, "hang in the body": partial(hang, after=10)}
"""Faults under the timeouts that a user has; `test_faults_pages` has all of them, and why a client is refused."""


def page(daemon: Daemon, path: str = PAGE) -> Reply:
    return ask(daemon, path, Accept=JSON_TYPE)


@pytest.fixture
def primed(upstream: Upstream, daemon: Daemon) -> Reply:
    """The page as it is in the cache, expired."""
    upstream.project("app", [wheel("app")])
    assert page(daemon).state == "MISS"
    fresh = page(daemon)
    assert fresh.state == "HIT"
    daemon.expire("app")
    return fresh


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_an_expired_page_is_served_when_upstream_hangs(
    fault: Callable[[], Fault], primed: Reply, upstream: Upstream, daemon: Daemon
) -> None:
    upstream.release("app", wheel("app", "2.0"))
    upstream.fault("/simple/", fault())
    answer = page(daemon)
    assert (answer.status, answer.state, answer.body) == (200, "STALE", primed.body)
    assert "max-age=0" in answer.headers["cache-control"]
    upstream.heal()
    wait_for("upstream is believed again", lambda: page(daemon).headers["x-pypi-last-serial"] == "2")


def test_an_expired_page_is_served_when_upstream_is_gone(primed: Reply, upstream: Upstream, daemon: Daemon) -> None:
    with upstream.down():
        assert [page(daemon).state for _ in range(5)] == ["STALE"] * 5
    wait_for("upstream is believed again", lambda: page(daemon).state in ("REVALIDATED", "EXPIRED", "HIT"))
    assert page(daemon).body == primed.body


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_without_a_copy_a_hanging_upstream_is_a_503_and_is_not_remembered(
    fault: Callable[[], Fault], upstream: Upstream, daemon: Daemon
) -> None:
    upstream.project("app", [wheel("app")])
    upstream.fault("/simple/", fault())
    begun = time.monotonic()
    answer = page(daemon)
    assert answer.status == 503
    assert time.monotonic() - begun < 14, "a first byte or a 503 within 12 s"
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    upstream.heal()
    assert page(daemon).status == 200


def test_a_refused_connection_without_a_copy_says_what_is_wrong(upstream: Upstream, daemon: Daemon) -> None:
    upstream.refuse()
    answer = page(daemon)
    assert answer.status == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert "refused" in answer.reason
    assert answer.headers["content-type"] == "application/problem+json"
    assert "refused" in answer.json()["detail"]
    assert answer.state == "MISS"
    assert 'pypicache; fwd=miss; detail="connection refused' in answer.headers["cache-status"]
    daemon.wait_for_log(r'"GET /simple/app/ HTTP/1.1" \S+ 503 \d+ MISS \d+\.\d+ ')


def test_a_slow_upstream_costs_the_stale_wait_once(upstream: Upstream, start: Start) -> None:
    daemon = start("--stale-wait", "0.5")
    upstream.project("app", [wheel("app")])
    page(daemon)
    upstream.release("app", wheel("app", "2.0"))
    daemon.expire("app")
    gate, begun = upstream.gate("/simple/"), time.monotonic()
    first = page(daemon)
    assert 0.4 < time.monotonic() - begun < 8
    second = page(daemon)
    assert (first.state, second.state) == ("STALE", "UPDATING")
    gate.release()
    wait_for("the late answer has refreshed the page", lambda: page(daemon).state == "HIT")
    assert "app-2.0-py3-none-any.whl" in links(daemon, "app")
    assert upstream.count(PAGE) == 2


def test_fresh_expired_and_revalidated(primed: Reply, upstream: Upstream, daemon: Daemon) -> None:
    assert page(daemon).state == "REVALIDATED"
    assert page(daemon).state == "HIT"
    upstream.release("app", wheel("app", "2.0"))
    daemon.expire("app")
    newer = page(daemon)
    assert newer.state == "EXPIRED"
    assert newer.headers["x-pypi-last-serial"] == "2"
    assert newer.body != primed.body


def test_an_older_page_does_not_replace_a_newer_one(upstream: Upstream, daemon: Daemon) -> None:
    upstream.project("app", [wheel("app")])
    old = upstream.catalogue.projects["app"]
    upstream.release("app", wheel("app", "2.0"))
    page(daemon)
    upstream.catalogue.projects["app"] = evolve(old)
    daemon.expire("app")
    assert page(daemon).headers["x-pypi-last-serial"] == "2"


def test_a_real_404_wins_over_a_copy(primed: Reply, upstream: Upstream, daemon: Daemon) -> None:
    upstream.withdraw("app")
    assert page(daemon).status == 404
    asked = upstream.count(PAGE)
    assert page(daemon).status == 404
    assert upstream.count(PAGE) == asked, "a 404 is remembered"


def test_an_unknown_project(upstream: Upstream, daemon: Daemon) -> None:
    answer = page(daemon, "/simple/unheard-of/")
    assert answer.status == 404
    assert "max-age=" in answer.headers["cache-control"]
    assert "retry-after" not in answer.headers
    assert (answer.state, page(daemon, "/simple/unheard-of/").state) == ("MISS", "HIT")
    assert "fwd=miss; fwd-status=404" in answer.headers["cache-status"]


def test_offline_pages_list_what_is_held_and_upstream_is_left_alone(upstream: Upstream, daemon: Daemon) -> None:
    first, second = wheel("app", "1.0"), wheel("app", "2.0")
    upstream.project("app", [first, second])
    assert ask(daemon, links(daemon, "app")[first.name]).body == first.data
    wanted = links(daemon, "app")[second.name]
    daemon.restart("--offline")
    asked = upstream.count()
    held = links(daemon, "app")
    assert list(held) == [first.name]
    assert ask(daemon, held[first.name]).body == first.data
    for missing in (ask(daemon, wanted), page(daemon, "/simple/other/")):
        assert missing.status == 503
        assert "retry-after" not in missing.headers
    assert upstream.count() == asked


def test_a_decompression_bomb_is_refused_in_little_memory(upstream: Upstream, daemon: Daemon) -> None:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as bomb:
        for _ in range(200):
            bomb.write(bytes(1 << 20))
    headers = {"Content-Type": JSON_TYPE, "Content-Encoding": "gzip"}
    upstream.fault("/simple/", reply(200, headers, packed.getvalue()))
    assert page(daemon).status == 503
    assert daemon.memory("VmHWM") < 200 << 20


def test_unknown_keys_pass_through(upstream: Upstream, daemon: Daemon) -> None:
    upstream.project("app", [wheel("app")], **{"x-future": {"deep": [1, None]}})
    document = json.loads(page(daemon).body)
    assert document["x-future"] == {"deep": [1, None]}
    assert "data-dist-info-metadata" not in document["files"][0]
    assert document["files"][0]["core-metadata"]["sha256"]
