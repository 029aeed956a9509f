"""Who is admitted, who makes way, and how long a connection may take."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from twisted_pypi.config import load
from twisted_pypi.events import Crowded, TurnedAway
from twisted_pypi.service import connection_limit
from twisted_pypi.web.admission import (
    FRESH,
    INTERVAL,
    OWN_DESCRIPTORS,
    Admission,
    client_of,
    connections_for,
)
from twisted_pypi.web.crowded import CrowdedResource
from twisted_pypi.web.patience import LINGER, REQUEST_TIMEOUT, UNREAD_TIMEOUT
from twisted_pypi.web.resource import ProxyResource
from twisted_pypi.web.site import KEEP_ALIVE, CacheSite
from unit.web_doubles import Web, parse

GET = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


class Connection:
    def __init__(self) -> None:
        self.dismissed = False

    def dismiss(self) -> None:
        self.dismissed = True


class Hall:
    """Admission and connections by name."""

    def __init__(self, total: int = 3, per_client: int = 0) -> None:
        self.clock = Clock()
        self.events: list[object] = []
        self.admission = Admission(
            self.events.append, self.clock, total, per_client, is_exempt=lambda host: host == "10.0.0.1"
        )

    def enter(self, host: str = "192.0.2.1") -> tuple[Connection, bool]:
        connection = Connection()
        return connection, self.admission.enter(connection, host)

    def busy(self, host: str = "192.0.2.1") -> Connection:
        connection, seated = self.enter(host)
        assert seated
        self.admission.busy(connection)
        return connection

    def idle(self, host: str = "192.0.2.1") -> Connection:
        connection = self.busy(host)
        self.admission.idle(connection)
        return connection

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, TurnedAway)]


def test_who_has_idled_longest_makes_way() -> None:
    hall = Hall()
    first, second, third = hall.idle(), hall.idle(), hall.idle()
    hall.admission.busy(first)
    hall.admission.idle(first)
    for victim in (second, third, first):
        assert not victim.dismissed
        assert hall.enter()[1]
        assert victim.dismissed
        hall.clock.advance(0.1)
    assert hall.admission.seated == 3
    assert hall.reasons() == ["idle"] * 3


def test_who_is_answered_never_does_and_who_comes_then_stands() -> None:
    hall = Hall()
    busy = [hall.busy() for _ in range(3)]
    assert not hall.enter()[1]
    assert not any(connection.dismissed for connection in busy)
    assert hall.reasons() == ["total"]
    hall.admission.leave(busy[0])
    assert hall.enter()[1]


def test_a_newcomer_has_time_to_ask() -> None:
    hall = Hall(total=1)
    fresh, _ = hall.enter()
    hall.clock.advance(FRESH - 0.1)
    assert not hall.enter()[1]
    hall.clock.advance(0.1)
    assert hall.enter()[1]
    assert fresh.dismissed


def test_of_settled_and_kept_ones_the_older_makes_way() -> None:
    hall = Hall(total=2)
    fresh, _ = hall.enter()
    hall.clock.advance(1)
    kept = hall.idle()
    hall.clock.advance(FRESH)
    hall.enter()
    assert (fresh.dismissed, kept.dismissed) == (True, False)


def test_those_who_stand_are_bounded_and_the_latest_stays() -> None:
    hall = Hall()
    for _ in range(3):
        hall.busy()
    standing = [hall.enter()[0] for _ in range(hall.admission.room + 2)]
    assert [connection.dismissed for connection in standing] == [True] * 2 + [False] * hall.admission.room


def test_a_client_has_a_limit_of_its_own_and_makes_way_for_itself_only() -> None:
    hall = Hall(total=100, per_client=2)
    other, first, second = hall.idle("192.0.2.9"), hall.idle(), hall.idle()
    assert hall.enter()[1]
    assert (first.dismissed, second.dismissed, other.dismissed) == (True, False, False)
    hall.admission.busy(second)
    assert not hall.enter()[1]
    assert hall.enter("192.0.2.9")[1]
    assert hall.reasons() == ["idle", "client"]


@pytest.mark.parametrize("host", ["", "10.0.0.1"])
def test_proxies_and_the_unix_socket_have_no_limit_of_their_own(host: str) -> None:
    hall = Hall(total=5, per_client=1)
    assert [hall.enter(host)[1] for _ in range(6)] == [True] * 5 + [False]


def test_a_client() -> None:
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert client_of("2001:db8::1") == client_of("2001:db8:0:0:ffff::2") != client_of("2001:db8:0:1::1")
    assert client_of("fe80::1%eth0") == client_of("fe80::2%eth0")


def test_the_log_has_one_line_in_a_minute_and_metrics_every_event() -> None:
    hall = Hall(total=1)
    hall.busy()
    for _ in range(30):
        hall.enter()
        hall.clock.advance(INTERVAL / 20)
    told = [event.counts for event in hall.events if isinstance(event, Crowded)]
    # There is room for eight to stand; of the twenty-one until then, thirteen had to go for the next.
    assert [line.split(" ")[0] for line in told] == ["1", "13"]
    assert "closed without an answer" in told[1]
    assert hall.reasons().count("total") == 30


def test_what_the_descriptors_allow() -> None:
    assert connections_for(64, 32) >= 8
    assert connections_for(1024, 32) == (1024 - OWN_DESCRIPTORS - 128) // 2
    assert connections_for(1024, 32, 160) == (1024 - OWN_DESCRIPTORS - 160 - 128) // 2
    settings = load({"cache-dir": "/cache"}, {}).settings
    allowed = [connection_limit(settings, count) for count in range(64, 70_000, 64)]
    assert all(one <= next_ for one, next_ in pairwise(allowed))
    assert allowed[-1] == 8192


def test_the_limit_is_what_was_asked_for_or_what_the_descriptors_allow() -> None:
    settings = load({"cache-dir": "/cache"}, {}).settings
    assert connection_limit(settings, 1024) == connections_for(1024, settings.max_fetches, 128 + 32)
    assert connection_limit(settings, 4096) == connections_for(4096, settings.max_fetches, 256 + 64)
    assert connection_limit(evolve(settings, max_connections=5), 4096) == 5
    logged: list[dict[str, object]] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        assert connection_limit(evolve(settings, max_connections=5000), 4096) == 5000
    finally:
        globalLogPublisher.removeObserver(logged.append)
    assert [event["wanted"] for event in logged] == [5000]


@given(st.lists(st.tuples(st.sampled_from("eebildf"), st.integers(0, 5)), max_size=80))
def test_the_limits_hold_and_nothing_is_left(steps: list[tuple[str, int]]) -> None:
    hall = Hall(total=4, per_client=2)
    open_: list[Connection] = []
    working: set[Connection] = set()
    for step, which in steps:
        if step == "e":
            open_.append(hall.enter(f"192.0.2.{which}")[0])
        elif step == "f":
            hall.clock.advance(which)
        elif open_:
            connection = open_[which % len(open_)]
            if step == "b":
                hall.admission.busy(connection)
                working.add(connection)
            elif step == "i" and connection in working:
                hall.admission.idle(connection)
                working.discard(connection)
            elif step in "ld":
                hall.admission.leave(connection)
                open_.remove(connection)
                working.discard(connection)
        gone = [connection for connection in open_ if connection.dismissed]
        seated_workers = [connection for connection in gone if connection in working]
        # Only those who stand are dismissed while they are answered.
        assert len(seated_workers) <= hall.reasons().count("standing")
        open_ = [connection for connection in open_ if not connection.dismissed]
        working -= set(gone)
        assert hall.admission.seated <= 4
        assert len(open_) <= 4 + hall.admission.room
    for connection in open_:
        hall.admission.leave(connection)
    assert hall.admission.seated == 0
    assert not any((hall.admission._clients, hall.admission._fresh, hall.admission._kept, hall.admission._standing))


class Crowd(Web):
    """A site with limits."""

    def __init__(self, total: int, per_client: int = 0, **services: object) -> None:
        super().__init__(**services)
        resource = self.site.resource
        assert isinstance(resource, ProxyResource)
        admission = Admission(self.events.append, self.clock, total, per_client)
        crowded = CrowdedResource(resource._services)
        self.site = CacheSite(resource, self.clock, self.events.append, admission=admission, crowded=crowded)


class TestConnections:
    def test_an_idle_connection_makes_way(self) -> None:
        web = Crowd(1)
        first = web.raw(GET)
        assert parse(first.value()).status == 200
        assert parse(web.raw(GET).value()).status == 200
        assert first.disconnecting

    def test_when_all_are_busy_one_more_gets_a_calm_refusal(self) -> None:
        web = Crowd(1)
        web.pages.hot, web.pages.waiting = False, Deferred()
        busy = web.raw(GET)
        web.pages.hot = True
        refused = web.raw(GET)
        answer = parse(refused.value())
        assert (answer.status, answer["retry-after"], answer["connection"]) == (503, "2", "close")
        assert refused.disconnecting
        health = web.raw(HEALTH)
        assert parse(health.value()).body == b"ok\n"
        assert health.disconnecting
        web.pages.waiting.callback(None)
        assert parse(busy.value()).status == 200
        assert not busy.disconnecting

    def test_the_limit_of_one_client_leaves_others_alone(self) -> None:
        web = Crowd(100, 1)
        web.pages.hot, web.pages.waiting = False, Deferred()
        web.raw(GET)
        web.pages.hot = True
        assert parse(web.raw(GET).value()).status == 503
        assert parse(web.raw(GET, IPv4Address("TCP", "192.0.2.8", 1)).value()).status == 200
        assert parse(web.raw(GET, UNIXAddress(b"")).value()).status == 200

    def test_a_request_that_comes_byte_by_byte_is_cut_in_the_end(self) -> None:
        web = Crowd(5)
        transport = web.connect()
        for _ in range(int(REQUEST_TIMEOUT) - 1):
            transport.protocol.dataReceived(b"G")
            web.clock.advance(1)
        assert not transport.disconnecting
        web.clock.advance(1)
        transport.protocol.dataReceived(b"E")
        web.clock.advance(1)
        assert transport.disconnecting
        assert parse(transport.value()).status == 408
        assert [event.reason for event in web.events if isinstance(event, TurnedAway)] == ["slow"]

    def test_so_is_one_whose_body_does(self) -> None:
        web = Crowd(5)
        transport = web.raw(b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(int(REQUEST_TIMEOUT)):
            transport.protocol.dataReceived(b"x")
            web.clock.advance(1)
        assert transport.disconnecting

    def test_the_time_of_a_request_begins_with_its_first_byte(self) -> None:
        web = Crowd(5)
        transport = web.raw(GET)
        web.clock.advance(KEEP_ALIVE - 1)
        transport.protocol.dataReceived(GET[:5])
        web.clock.advance(REQUEST_TIMEOUT - 1)
        transport.protocol.dataReceived(GET[5:])
        assert parse(parse(transport.value()).rest).status == 200
        web.clock.advance(KEEP_ALIVE - 1)
        assert not transport.disconnecting
        web.clock.advance(1)
        assert transport.disconnecting
        assert not parse(parse(transport.value()).rest).rest

    def test_a_request_that_is_answered_has_no_time_limit_here(self) -> None:
        web = Crowd(5)
        web.pages.hot, web.pages.waiting = False, Deferred()
        transport = web.raw(GET + GET[:5])
        web.clock.advance(1)
        assert web.site.busy == 1
        web.pages.waiting.callback(None)
        assert not transport.disconnecting
        web.clock.advance(REQUEST_TIMEOUT)
        assert parse(parse(transport.value()).rest).status == 408

    def test_a_client_that_takes_nothing_gets_no_further_answers(self) -> None:
        web = Crowd(5)
        transport = web.connect()
        transport.protocol.pauseProducing()  # as a transport does whose buffer is full
        transport.protocol.dataReceived(GET * 100)
        assert transport.value().count(b"HTTP/1.1 200") == 1
        transport.protocol.resumeProducing()
        assert transport.value().count(b"HTTP/1.1 200") == 100
        web.clock.advance(UNREAD_TIMEOUT / 10)
        assert not transport.disconnecting

    def test_and_is_not_waited_for_without_end(self) -> None:
        web = Crowd(5)
        transport = web.connect()
        transport.protocol.pauseProducing()
        transport.protocol.dataReceived(GET * 2)
        web.clock.advance(UNREAD_TIMEOUT - 1)
        assert not transport.disconnecting
        web.clock.advance(1)
        assert transport.disconnecting
        assert transport.value().count(b"HTTP/1.1 200") == 1

    def test_nothing_is_left_of_a_connection_that_broke(self) -> None:
        for data in (b"", b"GET /", GET, GET + b"GET", b"GET /" + b"x" * 40_000):
            web = Crowd(5)
            transport = web.raw(data)
            transport.end()
            assert not web.clock.getDelayedCalls(), data[:60]
            assert web.site.admission.seated == 0

    def test_what_does_not_close_is_aborted(self) -> None:
        web = Crowd(5)
        transport = web.connect()
        transport.loseConnection = lambda: None  # as TLS does while the client says nothing
        web.clock.advance(KEEP_ALIVE)
        assert not transport.aborted
        web.clock.advance(LINGER)
        assert transport.aborted
        transport.end()
        assert web.site.admission.seated == 0
        assert not web.clock.getDelayedCalls()
