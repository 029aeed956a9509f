"""One fault of the files' origin, from the first client to the cure: the story that every row of a table goes through.

Three clients ask at once for a file that nobody asked for before, and meet the fault together; the fault is cured, and
the next client is served; the fault is back, and whoever asks for what is stored doesn't notice.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from attrs import define, field, frozen

from e2e.clients import Reply, ask, links
from e2e.daemon import DIRECT, Daemon
from e2e.faults import Exchange, Fault
from e2e.packages import File, blob
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

SIZE = 200_000
HELD_BACK = 16 << 10
HERD = 3
COUNTERS = (
    'pypicache_upstream_failures_total{kind="file"}',
    "pypicache_integrity_failures_total",
    "pypicache_transfer_breaks_total",
    "pypicache_store_trouble_total",
)


@frozen
class Row:
    """A fault and what follows from it.

    `faults` are met by one upstream request each, the last by all further ones; none: connections are refused. `page`
    changes what the project's page says of the file. `status` 0: the clients see a broken transfer. `fetches`: upstream
    requests for all the clients together. `lines`: how often (value) a pattern (key) is in the log, with the file's URL
    behind it. `counts`: what is added to the metrics. `resumes`: what had come is kept, the next client's request goes
    on there.
    """

    name: str
    faults: tuple[Fault, ...] = ()
    status: int = 200
    reason: str = ""
    retry_after: str | None = None
    fetches: int = 1
    lines: dict[str, int] = field(factory=dict)
    counts: dict[str, float] = field(factory=dict)
    resumes: bool = False
    page: Callable[[dict[str, Any]], dict[str, Any]] = lambda entry: entry

    @property
    def project(self) -> str:
        """The name of a project of its own."""
        return re.sub(r"\W+", "-", self.name).strip("-").lower()


@frozen
class Outcome:
    """What one client has: a reply, or None and so many bytes of a transfer that broke."""

    reply: Reply | None
    received: int = 0


def undergo(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    """The whole story."""
    file = publish(upstream, row)
    path = links(daemon, row.project)[file.name]
    before = metrics(daemon)
    outcomes = herd(upstream, daemon, file, path, row.faults)
    for outcome in outcomes:
        check(row, file, outcome)
    assert upstream.count(file.path, "GET") == row.fetches, outcomes
    wait_for("the transfer is over", lambda: metrics(daemon)["pypicache_transfers_running"] == 0)
    check_told(row, file, daemon, before)
    check_cured(row, upstream, daemon, file, path)
    check_unnoticed(row, upstream, daemon, file, path)


def publish(upstream: Upstream, row: Row) -> File:
    """A project with one file."""
    file = blob(row.project, SIZE)
    project = upstream.project(row.project, [file])
    project.extra["files"] = [row.page(upstream.catalogue.file_json(file))]
    return file


def check(row: Row, file: File, outcome: Outcome) -> None:
    """A client has what the row says, and never a whole file that is wrong."""
    reply = outcome.reply
    if row.status == 0:
        assert reply is None, f"got {reply}"
        assert outcome.received <= SIZE - HELD_BACK
        return
    assert reply is not None, f"broke after {outcome.received} bytes"
    assert (reply.status, reply.state) == (row.status, "MISS"), reply.reason
    assert reply.headers["cache-status"].startswith("pypicache; fwd=miss")
    if row.status == 200:
        assert (reply.body, reply.headers["etag"]) == (file.data, f'"sha256:{file.sha256}"')
        assert "content-encoding" not in reply.headers
    else:
        assert row.reason in reply.reason
        assert reply.headers.get("retry-after") == row.retry_after


def check_told(row: Row, file: File, daemon: Daemon, before: dict[str, float]) -> None:
    """The operator sees in log and metrics what happened, as often as it did."""
    for pattern, times in row.lines.items():
        lines = [line for line in daemon.log.splitlines() if re.search(f"{pattern}.*: .*{re.escape(file.path)}", line)]
        assert len(lines) == times, "\n".join(lines)
    after = metrics(daemon)
    names = {*COUNTERS, *row.counts}
    added = {name: after.get(name, 0) - before.get(name, 0) for name in names}
    assert {name: value for name, value in added.items() if value} == row.counts


def check_cured(row: Row, upstream: Upstream, daemon: Daemon, file: File, path: str) -> None:
    """Nothing wrong was kept; the next client is served, with as few bytes as possible."""
    if row.status != 200:
        assert daemon.stored(file.name) == []
    upstream.heal()
    fetched = upstream.count(file.path, "GET")
    reply = ask(daemon, path)
    assert (reply.status, reply.body) == (200, file.data)
    if row.status != 200:
        (request,) = upstream.seen(file.path, "GET")[fetched:]
        assert ("range" in request.headers) == row.resumes


def check_unnoticed(row: Row, upstream: Upstream, daemon: Daemon, file: File, path: str) -> None:
    """What is stored is a hit, whatever upstream does."""
    wait_for("the file is stored", lambda: ask(daemon, path, "HEAD").state == "HIT")
    assert [copy.read_bytes() for copy in daemon.stored(file.name)] == [file.data]
    fetched = upstream.count(file.path)
    with upstream_in_trouble(upstream, file, row.faults):
        reply = ask(daemon, path)
    assert (reply.status, reply.state, reply.body) == (200, "HIT", file.data)
    assert upstream.count(file.path) == fetched


class Client:
    """A request that was sent; its outcome is read later."""

    def __init__(self, daemon: Daemon, path: str, method: str = "GET", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE)
        self._connection.request(method, path, headers={name.replace("_", "-"): headers[name] for name in headers})

    def outcome(self) -> Outcome:
        """Read to the end, and take a broken transfer for an outcome."""
        try:
            response = self._connection.getresponse()
            received = {name.lower(): text for name, text in response.getheaders()}
            return Outcome(Reply(response.status, response.reason, received, response.read()))
        except http.client.IncompleteRead as error:
            return Outcome(None, len(error.partial))
        except (http.client.HTTPException, ConnectionError):
            return Outcome(None)
        finally:
            self._connection.close()


@define
class Turnstile:
    """Holds requests to upstream until it is opened; `arrived` is set when the first has come."""

    arrived: threading.Event = field(factory=threading.Event)
    _opened: Future[None] = field(factory=Future)

    def before(self, fault: Fault) -> Fault:
        """The fault, once this is open."""

        async def act(exchange: Exchange) -> None:
            self.arrived.set()
            await asyncio.shield(asyncio.wrap_future(self._opened))
            await fault(exchange)

        return act

    def open(self) -> None:
        """Let all go on."""
        self._opened.set_result(None)


@contextmanager
def upstream_in_trouble(upstream: Upstream, file: File, faults: tuple[Fault, ...]) -> Iterator[None]:
    """One fault for each request for the file, the last for all further ones; none: upstream refuses connections."""
    if not faults:
        with upstream.down():
            yield
        return
    for number, fault in reversed(list(enumerate(faults, 1))):
        upstream.fault(file.path, fault, None if number == len(faults) else 1)
    yield
    upstream.heal()


def herd(
    upstream: Upstream, daemon: Daemon, file: File, path: str, faults: tuple[Fault, ...], size: int = HERD
) -> list[Outcome]:
    """What so many clients get who meet the faults together: upstream waits until all have come."""
    turnstile = Turnstile()
    faults = (turnstile.before(faults[0]), *(faults[1:] or faults)) if faults else ()
    with upstream_in_trouble(upstream, file, faults):
        clients = [Client(daemon, path) for _ in range(size)]
        if faults:
            arrive(daemon, path, turnstile)
        turnstile.open()
        return [client.outcome() for client in clients]


def arrive(daemon: Daemon, path: str, turnstile: Turnstile) -> None:
    """Wait until all who asked before wait for the same transfer: a HEAD goes the same way, behind them."""
    wait_for("upstream is asked", turnstile.arrived.is_set)
    for _ in range(3):
        assert ask(daemon, path, "HEAD").status == 200


def metrics(daemon: Daemon) -> dict[str, float]:
    """All samples, with their labels."""
    with DIRECT.open(urllib.request.Request(f"{daemon.url}/metrics"), timeout=DEADLINE) as answer:
        lines = [line.decode() for line in answer if not line.startswith(b"#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
