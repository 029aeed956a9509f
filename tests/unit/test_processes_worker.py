"""A worker and the owner, each with its clients' real sockets, joined in memory."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from twisted_pypi.answers import PageAnswer, Seal, Still
from twisted_pypi.events import ReactorLagged, Served, TurnedAway, WorkersUsed
from twisted_pypi.processes.owner import House
from twisted_pypi.processes.usage import used
from twisted_pypi.processes.worker import PATIENCE, REPORT, Worker
from twisted_pypi.web.deadlines import RECENT
from twisted_pypi.web.lag import EVERY
from twisted_pypi.web.patience import UNREAD_TIMEOUT
from twisted_pypi.web.site import KEEP_ALIVE
from unit.process_doubles import Pair
from unit.socket_doubles import TURNS, Client, SocketReactor, connect
from unit.test_config import settings
from unit.web_doubles import Pages, Web

HEAD = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n"
SETTINGS = settings()


@define(eq=False)
class Reactor(SocketReactor):
    """Keeps what is to be connected and listened with."""

    connectors: list[object] = field(factory=list)
    factories: list[object] = field(factory=list)

    def connectUNIX(self, path: str, factory: object) -> None:  # noqa: N802
        self.connectors.append(factory)

    def adoptStreamPort(self, descriptor: int, family: int, factory: object) -> None:  # noqa: N802
        assert family == socket.AF_UNIX
        self.factories.append(factory)

    def seconds(self) -> float:
        return float(self.clock.seconds())


class SealedPages(Pages):
    """Pages made of a file, as the store's are."""

    path: Path
    sealed: bool = True

    def ready(self, route: object, asker: object) -> PageAnswer | None:
        page = self.page()

        def seal() -> Seal | None:
            if not self.sealed:
                return None
            state = os.stat(self.path)
            return Seal(str(self.path), state.st_ino, state.st_mtime_ns, state.st_size)

        return PageAnswer(page, self.provenance, still=Still(lambda: self.page() is page, seal))


class Daemon:
    """Owner and worker, not joined yet."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(b"page")
        self.pages = SealedPages({("html", "identity"): b"<html>"})
        self.pages.path = path
        self.web = Web(pages=self.pages)
        self.web.site.memo = self.web.site.resource.memo
        self.reactor = Reactor(self.web.clock)
        self.worker = Worker(self.reactor, self.web.clock, 100, "path")
        self.worker.start()
        self.house = House(self.reactor, SETTINGS, 3, [])
        self.house.bind(self.web.site)
        self.pair: Pair | None = None

    def join(self) -> None:
        near = self.reactor.connectors.pop().buildProtocol(None)
        self.pair = Pair(near, self.reactor.factories[0].buildProtocol(None))
        self.turn()

    def turn(self, seconds: float = 0.0, times: int = 5) -> None:
        if seconds:
            self.web.clock.advance(seconds)
        for _ in range(times):
            if self.pair is not None:
                self.pair.settle()
            self.reactor.turn()

    def client(self) -> Client:
        return connect(self.worker.factory.buildProtocol(None), self.reactor)

    def ask(self, client: Client, data: bytes = HEAD) -> bytes:
        client.received.clear()
        client.socket.sendall(data)
        for _ in range(100):
            self.turn()
            client.take()
            head, _, body = bytes(client.received).partition(b"\r\n\r\n")
            if client.ended or (b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"):
                break
        return bytes(client.received)

    @property
    def served(self) -> list[Served]:
        """What the owner heard of answers."""
        return [event for event in self.web.events if isinstance(event, Served)]

    @property
    def lent(self) -> bool:
        """Whether the worker would answer by itself."""
        return self.worker.leases._held.get(HEAD) is not None


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path / "page")


@pytest.fixture
def joined(daemon: Daemon) -> Daemon:
    daemon.join()
    return daemon


def warm(daemon: Daemon) -> Client:
    client = daemon.client()
    for _ in range(4):  # kept at the second time, lent at the third
        assert daemon.ask(client).startswith(b"HTTP/1.1 200 ")
    assert daemon.lent
    daemon.worker.report()
    daemon.turn()
    return client


def test_the_owner_answers_and_the_worker_repeats_it(joined: Daemon) -> None:
    client = joined.client()
    first = joined.ask(client)
    warm(joined)
    joined.ask(client)
    reported = len(joined.served)
    assert joined.ask(client) == first
    assert len(joined.served) == reported  # not yet
    joined.turn(REPORT)
    served = joined.served
    assert len(served) == reported + 1
    assert served[-1].client == "127.0.0.1"
    assert {evolve(event, seconds=0.0) for event in served} == {served[-1]}


def test_reports_come_before_what_is_passed_on(joined: Daemon) -> None:
    client = warm(joined)
    joined.ask(client)
    before = len(joined.served)
    joined.ask(client, HEAD.replace(b"/simple", b"/nothing"))
    assert [event.target for event in joined.served[before:]] == ["/simple/six/", "/nothing/six/"]


@pytest.mark.parametrize(
    "data",
    [HEAD[:10], HEAD + HEAD, b"\r\n" + HEAD, HEAD.replace(b"GET", b"PUT")],
    ids=["a part", "two", "an empty line before", "another method"],
)
def test_anything_else_is_the_owners(joined: Daemon, data: bytes) -> None:
    client = warm(joined)
    seated = joined.web.site.admission.seated
    client.socket.sendall(data)
    joined.turn()
    assert joined.web.site.admission.seated == seated + 1
    client.close()


def test_another_second_is_the_owners(joined: Daemon) -> None:
    client = warm(joined)
    before = joined.ask(client)
    joined.turn(1.0)
    after = joined.ask(client)
    assert before.startswith(b"HTTP/1.1 200 ")
    assert before != after  # Date


def test_a_page_that_changed_is_the_owners(joined: Daemon) -> None:
    client = warm(joined)
    joined.pages.path.write_bytes(b"another page")
    joined.pages.bodies["html", "identity"] = b"other"
    joined.pages.renew()
    assert joined.ask(client).endswith(b"other")


def test_what_has_no_seal_is_never_lent(joined: Daemon) -> None:
    joined.pages.sealed = False
    client = joined.client()
    for _ in range(5):
        assert joined.ask(client).startswith(b"HTTP/1.1 200 ")
    assert not joined.lent


def test_other_settings_void_what_was_lent(joined: Daemon) -> None:
    warm(joined)
    joined.house.use(evolve(SETTINGS, max_client_connections=3, grace=1.0))
    joined.turn()
    assert not joined.lent
    assert (joined.worker.admission.per_client, joined.worker.grace) == (3, 1.0)


def test_without_an_owner_a_connection_waits(daemon: Daemon) -> None:
    client = daemon.client()
    client.send(HEAD)
    daemon.turn(PATIENCE - 1)
    daemon.join()
    daemon.turn()
    assert client.take_until(1).startswith(b"HTTP/1.1 200 ")


def test_but_not_for_ever(daemon: Daemon) -> None:
    client = daemon.client()
    client.send(HEAD)
    daemon.turn(PATIENCE)
    answer = client.take_to_end()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 2\r\n" in answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head


def test_no_more_wait_than_there_may_be_connections(daemon: Daemon) -> None:
    daemon.worker.admission.total = 2
    clients = []
    for _ in range(3):
        clients.append(daemon.client())
        clients[-1].send(HEAD)
        daemon.turn()
    assert clients[2].take_to_end().startswith(b"HTTP/1.1 503 ")
    daemon.join()
    daemon.turn()
    assert [client.take_until(1)[:12] for client in clients[:2]] == [b"HTTP/1.1 200"] * 2


def test_what_an_owner_that_died_had_not_taken_goes_to_the_next(joined: Daemon) -> None:
    client = joined.client()
    client.send(HEAD)
    joined.pair.cut()
    joined.pair = None
    joined.turn(1.0)
    joined.join()
    joined.turn()
    assert client.take_until(1).startswith(b"HTTP/1.1 200 ")
    assert sum(isinstance(event, Served) for event in joined.web.events) == 1


def test_an_owner_that_died_lends_nothing_any_more(joined: Daemon) -> None:
    warm(joined)
    joined.pair.cut()
    assert not joined.lent


def test_connections_are_counted_at_both(joined: Daemon) -> None:
    clients = [joined.client() for _ in range(3)]
    joined.turn(REPORT)
    assert joined.web.site.admission.elsewhere == 3
    for client in clients:
        client.close()
    joined.turn(REPORT)
    assert joined.web.site.admission.elsewhere == 0


def test_the_owner_hears_what_workers_take_and_how_late_they_are(joined: Daemon) -> None:
    def told() -> list[WorkersUsed]:
        return [event for event in joined.web.events if isinstance(event, WorkersUsed)]

    joined.worker.usage = lambda: (50 << 20, 2.5)
    joined.worker._happened(ReactorLagged(0.5, worker=True))
    joined.turn(REPORT)
    assert told()[-1] == WorkersUsed(1, 50 << 20, 2.5)
    assert ReactorLagged(0.5, worker=True) in joined.web.events
    joined.worker.usage = lambda: (40 << 20, 3.0)
    joined.turn(REPORT)
    assert told()[-1] == WorkersUsed(1, 40 << 20, 0.5)
    joined.pair.cut()
    assert told()[-1] == WorkersUsed(0, 0, 0.0)


def test_a_worker_samples_how_late_it_is(joined: Daemon) -> None:
    joined.turn(EVERY)
    joined.turn(REPORT)
    assert ReactorLagged(0.001, worker=True) in joined.web.events


def test_this_process_takes_memory_and_time() -> None:
    memory, seconds = used()
    assert 1 << 20 < memory < 1 << 34
    assert seconds > 0


def test_an_idle_connection_is_closed_in_the_end(joined: Daemon) -> None:
    client = joined.client()
    for _ in range(KEEP_ALIVE + 2):
        joined.turn(1.0, times=1)
    client.take_to_end()
    assert joined.worker.admission.seated == 0


@pytest.fixture
def unread(joined: Daemon) -> Client:
    """A connection whose client has an answer lent to the worker that no buffer takes at once."""
    joined.pages.bodies["html", "identity"] = bytes(120_000)
    client = joined.client()
    warm(joined)
    return client


def test_a_client_that_reads_nothing_gets_one_answer_until_it_does(joined: Daemon, unread: Client) -> None:
    client = unread
    size = len(joined.ask(client))
    client.received.clear()
    for _ in range(5):
        client.socket.sendall(HEAD)
        joined.turn()
    assert len(joined.worker._doors) == 1
    assert len(client.received) == 0
    for _ in range(TURNS):
        if len(client.received) >= 5 * size:
            break
        client.take()
        joined.turn(times=1)
    assert client.received.count(b"HTTP/1.1 200 ") == 5
    assert len(client.received) == 5 * size


def test_one_that_never_reads_is_broken_off(joined: Daemon, unread: Client) -> None:
    unread.socket.sendall(HEAD)
    joined.turn()
    assert joined.worker.admission.seated == 1
    for _ in range(UNREAD_TIMEOUT + 2):
        joined.turn(1.0, times=1)
    assert joined.worker.admission.seated == 0


def test_the_end_closes_what_idles_and_tells_the_rest(joined: Daemon) -> None:
    client = warm(joined)
    joined.ask(client)
    before = len(joined.served)
    joined.turn(RECENT / 2)
    late = joined.client()
    joined.turn(RECENT / 2)
    ended = Deferred.fromCoroutine(joined.worker.end())
    joined.turn()
    client.take_to_end()
    assert len(joined.served) == before + 1
    assert not ended.called
    assert joined.pair.wires[joined.pair.near].disconnecting
    joined.pair.cut()
    assert ended.called
    joined.web.site.drain()
    assert b"\r\nConnection: close\r\n" in joined.ask(late)


def test_the_end_waits_for_what_is_passed_on_and_what_comes_back(joined: Daemon) -> None:
    clients = [warm(joined) for _ in range(3)]
    clients[0].socket.sendall(HEAD.replace(b"six", b"other"))  # the owner's
    joined.reactor.turn()
    ended = Deferred.fromCoroutine(joined.worker.end())
    link = joined.pair.wires[joined.pair.near]
    assert not link.disconnecting
    joined.turn()
    assert link.disconnecting
    joined.pair.cut()
    assert ended.called
    clients[0].take()
    clients[0].received.clear()
    for client in clients:
        assert joined.ask(client).startswith(b"HTTP/1.1 200 ")
    assert joined.worker.admission.seated == 0


def test_a_worker_that_ends_is_lent_nothing_more(joined: Daemon) -> None:
    client = warm(joined)
    Deferred.fromCoroutine(joined.worker.end())
    joined.turn()
    sent = joined.pair.wires[joined.pair.far]
    for _ in range(4):
        assert joined.ask(client).startswith(b"HTTP/1.1 200 ")
    joined.house.use(SETTINGS)
    assert sent.value() == b""


def test_a_report_of_many_clients_goes_in_frames_that_are_taken(joined: Daemon) -> None:
    warm(joined)
    served = next(event for event in reversed(joined.web.events) if isinstance(event, Served))
    many = [evolve(served, client=str(number), agent="a" * 4000) for number in range(400)]
    joined.web.events.clear()
    for event in many:
        joined.worker._happened(event)
    joined.worker.report()
    joined.turn()
    assert [event for event in joined.web.events if isinstance(event, Served)] == many


def test_what_happens_while_there_is_no_owner_is_bounded(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twisted_pypi.processes.worker.MOST_EVENTS", 3)
    for number in range(5):
        daemon.worker._happened(TurnedAway(str(number), "idle"))
    daemon.join()
    daemon.worker.report()
    daemon.turn()
    assert [event.client for event in daemon.web.events if isinstance(event, TurnedAway)] == ["0", "1", "2"]
