"""Faults of `.metadata` that a page announces (PEP 658), with and without the wheel that holds it in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import field, frozen

from e2e.clients import ask, resolve
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon
from e2e.faults import Fault, corrupt, hang, redirect, reply, reset, short_body
from e2e.malformed import gzipped, headed, wire
from e2e.ordeal import HERD, Client, metrics
from e2e.packages import File, wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

FAILURES = 'pypicache_upstream_failures_total{kind="file"}'
WRONG, BREAKS = "pypicache_integrity_failures_total", "pypicache_transfer_breaks_total"
LOGIN = reply(200, {"Content-Type": "text/html"}, b"<html><form>log in</form></html>")


@frozen
class Row:
    """What is wrong, why the clients get a 503, what is counted, and whether the page goes on announcing."""

    name: str
    fault: Fault
    reason: str
    counts: dict[str, float] = field(factory=lambda: {FAILURES: 1.0})
    announced: bool = False
    fetches: int = 1


WRONG_BODY = {WRONG: 1.0}
ROWS = [
    Row("missing", reply(404), "announced, but upstream does not have it"),
    Row("gone", reply(410), "announced, but upstream does not have it"),
    Row("forbidden", reply(403), "answered 403"),
    Row("error", reply(500), "answered 500"),
    Row("bogus 304", reply(304), "answered 304"),
    Row("garbage", wire(lambda response: b"!!!\r\n\r\n"), "the answer is not proper HTTP"),
    Row("garbage length", headed("Content-Length: x"), "the answer is not proper HTTP"),
    Row("endless redirect", redirect("?again"), "more than 5 redirects", fetches=6),
    Row("wrong", corrupt(), "not what was announced", WRONG_BODY),
    Row("encoded", gzipped(), "not what was announced", WRONG_BODY),
    Row("login page", LOGIN, "not what was announced", WRONG_BODY),
    Row("hang", hang(), "no answer within 5 s", announced=True),
    Row("reset", reset(), "connection reset", announced=True, fetches=2),
    Row("short", short_body(5), "connection broke", {BREAKS: 3.0}, fetches=4),
]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One for all rows: each has a project of its own."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all rows."""
    where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url)
    with Daemon(tmp_path_factory.mktemp("metadata") / "daemon", (*where, "--read-timeout", "5")) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(upstream: Upstream) -> Iterator[None]:
    """Nothing of a row that failed is left to the next."""
    yield
    upstream.heal()


def publish(upstream: Upstream, kind: str, row: Row, digest: bool = True) -> File:
    """A project with one wheel, whose `.metadata` is announced and comes with the fault."""
    file = wheel(f"{kind}-{row.name.replace(' ', '-')}", size=1000)
    entry = upstream.catalogue.file_json(file)
    project = upstream.project(name_of(file), [file])
    project.extra["files"] = [entry if digest else {**entry, "core-metadata": True}]
    upstream.fault(f"{file.path}.metadata", row.fault)
    return file


def name_of(file: File) -> str:
    """The project of a wheel."""
    return file.name.partition("-1.0")[0].replace("_", "-")


def entry_of(daemon: Daemon, file: File) -> dict[str, Any]:
    """What the daemon's page says of the file."""
    (entry,) = ask(daemon, f"/simple/{name_of(file)}/", Accept=JSON_TYPE).json()["files"]
    return entry  # type: ignore[no-any-return]


def stored_wheel(daemon: Daemon, file: File) -> str:
    """The path of the wheel, which is in the cache now."""
    path = resolve(entry_of(daemon, file)["url"])
    assert ask(daemon, path).body == file.data
    wait_for("the wheel is stored", lambda: ask(daemon, path).state == "HIT")
    return path


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_without_the_wheel(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, "alone", row)
    path = f"{resolve(entry_of(daemon, file)['url'])}.metadata"
    before = metrics(daemon)
    reply = ask(daemon, path)
    assert (reply.status, reply.state, reply.headers["retry-after"]) == (503, "MISS", "2")
    assert row.reason in reply.reason
    assert upstream.count(f"{file.path}.metadata") == row.fetches
    wait_for("the transfer is over", lambda: metrics(daemon)["pypicache_transfers_running"] == 0)
    after = metrics(daemon)
    assert {name: after.get(name, 0) - before.get(name, 0) for name in row.counts} == row.counts
    wait_for("the page is right", lambda: ("core-metadata" in entry_of(daemon, file)) == row.announced)
    upstream.heal()
    daemon.expire(name_of(file))
    assert "core-metadata" in entry_of(daemon, file)
    assert ask(daemon, path).body == file.metadata


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_with_the_wheel_upstream_is_not_needed(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, "beside", row)
    path = f"{stored_wheel(daemon, file)}.metadata"
    for client in [Client(daemon, path) for _ in range(HERD)]:
        reply = client.outcome().reply
        assert reply is not None
        assert (reply.status, reply.body) == (200, file.metadata)
    assert upstream.count(f"{file.path}.metadata") == 0
    wait_for("it is stored", lambda: ask(daemon, path).state == "HIT")
    assert "core-metadata" in entry_of(daemon, file)


UNCHECKED = [row for row in ROWS if row.name not in ("wrong", "encoded")]


@pytest.mark.parametrize("row", UNCHECKED, ids=lambda row: row.name)
def test_with_the_wheel_and_no_digest(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, "unchecked", row, digest=False)
    path = f"{stored_wheel(daemon, file)}.metadata"
    reply = ask(daemon, path)
    assert (reply.status, reply.body) == (200, file.metadata)
    assert upstream.count(f"{file.path}.metadata") == row.fetches
    assert "core-metadata" in entry_of(daemon, file)
