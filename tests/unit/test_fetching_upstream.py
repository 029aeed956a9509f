"""HttpUpstream on a reactor in memory: what goes over the wire, when, to whom, and what comes of it."""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from twisted_pypi.errors import LedAway, UpstreamFailed
from twisted_pypi.events import BreakerChanged, BytesFetched, Event, FetchDone, FetchFailed
from twisted_pypi.fetching.connecting import MAX_HEAD
from twisted_pypi.fetching.policy import IndexRules
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.upstream import HttpFetched, HttpUpstream, UpstreamSettings
from twisted_pypi.model import FetchRequest
from twisted_pypi.urls import Origin, origin_of

INDEX = "http://index.example/simple/"
FILES = Origin("http", "files.example", 80)
HOSTS = {
    "index.example": ["8.8.8.1"],
    "files.example": ["8.8.8.2"],
    "cdn.example": ["8.8.8.3"],
    "two.example": ["8.8.4.1", "8.8.4.2"],
    "inside.example": ["10.0.0.7"],
    "private.example": ["192.168.0.1"],
    "mixed.example": ["10.0.0.7", "8.8.8.4", "169.254.169.254"],
    "metadata.example": ["169.254.169.254"],
}


@implementer(IHostResolution)
class Resolution:
    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows HOSTS. Those in `silent` are never answered, those in `rebound` otherwise each time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self.rebound: dict[str, list[list[str]]] = {}

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if hostName not in self.silent:
            literal = [hostName] if hostName[0].isdigit() else []
            rebound = self.rebound.get(hostName)
            for address in rebound.pop(0) if rebound else HOSTS.get(hostName, literal):
                resolutionReceiver.addressResolved(IPv4Address("TCP", address, portNumber))
            resolutionReceiver.resolutionComplete()
        return resolution


class Wire(StringTransport):
    """The upstream's end of a connection."""

    def __init__(self, reactor: MemoryReactorClock, host: str, protocol: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 80), lenient=True)
        self.reactor, self.host, self.protocol, self.lost = reactor, host, protocol, False
        protocol.makeConnection(self)

    def answer(self, text: str, body: bytes = b"") -> None:
        self.clear()
        self.protocol.dataReceived(text.replace("\n", "\r\n").encode() + b"\r\n" + body)

    def lose(self, reason: Exception) -> None:
        self.lost = True
        self.protocol.connectionLost(Failure(reason))

    def abortConnection(self) -> None:  # noqa: N802
        # Like a real one, it tells of its end in a later turn.
        if not self.disconnected and not self.lost:
            super().abortConnection()
            self.reactor.callLater(0, self.lose, ConnectionAborted())

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        pass

    @property
    def request(self) -> dict[str, str]:
        """Headers by lower-case name; the request line under ""."""
        lines = self.value().decode("ascii").rstrip("\r\n").split("\r\n")
        return {"": lines[0], **{name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}}


@frozen
class Secret:
    username: str = "me"
    password: str = "hunter2"
    token: str = ""


class UpstreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor, self.names = MemoryReactorClock(), Names()
        self.reactor.nameResolver = self.names
        self.events: list[Event] = []
        rules = {
            "main": IndexRules("main", INDEX, frozenset({FILES}), Secret()),
            "home": IndexRules("home", "http://private.example/simple/"),
            "twin": IndexRules("twin", INDEX, tls=TlsPolicy()),
            "bucket": IndexRules("bucket", INDEX, credential=Secret(), absent_status=frozenset({403})),
        }
        self.upstream = HttpUpstream(self.reactor, UpstreamSettings(max_fetches=2, indexes=rules), self.events.append)

    def fetch(self, url: str = INDEX, index: str = "main", **how: Any) -> Deferred[HttpFetched]:
        return Deferred.fromCoroutine(self.upstream.fetch(FetchRequest(url, index, **how)))

    def dial(self) -> tuple[str, Any]:
        host, _, factory, *_ = self.reactor.tcpClients.pop(0)
        return host, factory

    def wire(self) -> Wire:
        """Let the oldest connection that is wanted come about."""
        host, factory = self.dial()
        return Wire(self.reactor, host, factory.buildProtocol(None))

    def failed(self, fetching: Deferred[HttpFetched]) -> UpstreamFailed:
        return cast(UpstreamFailed, self.failureResultOf(fetching, UpstreamFailed).value)

    def body(self, fetched: HttpFetched) -> bytes:
        parts = []
        while part := self.successResultOf(Deferred.fromCoroutine(fetched.body.read())):
            parts.append(part)
        return b"".join(parts)

    def kinds(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]


OK = 'HTTP/1.1 200 OK\nContent-Length: 4\nETag: "a"\n'
REFUSED = Failure(Refused())


class RequestTests(UpstreamTestCase):
    def test_a_page(self) -> None:
        fetching = self.fetch(accept="text/html", headers={"If-None-Match": '"x"'})
        wire = self.wire()
        assert wire.request == {
            "": "GET /simple/ HTTP/1.1",
            "host": "index.example",
            "user-agent": "pypicache",
            "accept": "text/html",
            "accept-encoding": "gzip",
            "if-none-match": '"x"',
            "authorization": "Basic bWU6aHVudGVyMg==",
        }
        self.reactor.advance(2)
        wire.answer(OK, b"page")
        fetched = self.successResultOf(fetching)
        assert (fetched.status, fetched.url, fetched.seconds) == (200, INDEX, 2.0)
        assert fetched.headers == {"etag": '"a"', "content-length": "4"}
        assert (fetched.body.length, self.body(fetched), fetched.body.delimited) == (4, b"page", True)
        assert self.events == [FetchDone(INDEX, 200, 2.0, False), BytesFetched(4)]

    def test_a_file_is_asked_for_as_it_is_and_gets_no_password(self) -> None:
        self.fetch("http://files.example/x.whl?sig=1", file=True)
        request = self.wire().request
        assert request[""] == "GET /x.whl?sig=1 HTTP/1.1"
        assert request["accept-encoding"] == "identity"
        assert "authorization" not in request

    def test_head_tells_the_length(self) -> None:
        fetching = self.fetch(method="HEAD")
        self.wire().answer("HTTP/1.1 200 OK\nContent-Length: 1234\n")
        fetched = self.successResultOf(fetching)
        assert (fetched.body.length, self.body(fetched)) == (1234, b"")

    def test_statuses_are_handed_on(self) -> None:
        for status in (206, 304, 404, 405, 410):
            fetching = self.fetch()
            wire = self.wire()
            wire.answer(f"HTTP/1.1 {status} Word\nContent-Length: 0\nConnection: close\n")
            assert self.successResultOf(fetching).status == status

    def test_credentials_that_fail_are_told_once_a_minute(self) -> None:
        for status, passed in ((401, 0), (403, 59), (401, 60)):
            self.reactor.advance(passed - self.reactor.seconds())
            fetching = self.fetch()
            wire = self.wire()
            wire.answer(f"HTTP/1.1 {status} No\nContent-Length: 0\nConnection: close\n")
            failure = self.failed(fetching)
            assert failure.status == status
            assert not failure.unreachable
            assert failure.reason == f"answered {status}: it does not take the credentials that are configured"
        told = [cast(FetchFailed, event).repeated for event in self.kinds(FetchFailed)]
        assert told == [False, True, False]

    def test_a_refusal_that_means_absent_or_needs_no_credentials_is_handed_on(self) -> None:
        for status, index in ((403, "bucket"), (401, "twin"), (403, "twin")):
            fetching = self.fetch(index=index)
            self.wire().answer(f"HTTP/1.1 {status} No\nContent-Length: 0\nConnection: close\n")
            assert self.successResultOf(fetching).status == status

    def test_a_connection_of_one_tls_identity_is_not_used_by_another(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"page")
        self.body(self.successResultOf(fetching))
        self.fetch(index="twin")
        assert len(self.reactor.tcpClients) == 1
        self.fetch()
        assert len(self.reactor.tcpClients) == 1

    def test_a_connection_is_used_again_and_closed_when_idle(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"page")
        self.body(self.successResultOf(fetching))
        second = self.fetch()
        assert self.reactor.tcpClients == []
        wire.answer(OK, b"page")
        self.body(self.successResultOf(second))
        self.reactor.advance(61)
        assert wire.disconnected

    def test_other_settings_hold_from_now_on(self) -> None:
        running, kept = self.fetch(), self.fetch()
        wire, idle = self.wire(), self.wire()
        idle.answer(OK, b"page")
        self.body(self.successResultOf(kept))
        rules = {"main": IndexRules("main", "http://two.example/simple/")}
        self.upstream.use(UpstreamSettings(read_timeout=1.0, max_fetches=1, indexes=rules))
        wire.answer(OK, b"page")
        assert self.body(self.successResultOf(running)) == b"page"
        assert "forbidden origin" in self.failed(self.fetch()).reason
        assert "no index is called" in self.failed(self.fetch(index="home")).reason
        fetching = self.fetch("http://two.example/simple/")
        wire = self.wire()
        assert "authorization" not in wire.request
        self.reactor.advance(1)
        assert "no answer within 1 s" in self.failed(fetching).reason

    def test_close(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"page")
        self.body(self.successResultOf(fetching))
        closing = Deferred.fromCoroutine(self.upstream.close())
        self.reactor.advance(0)
        self.successResultOf(closing)
        assert wire.lost

    def test_body_ended_by_the_connection(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer("HTTP/1.1 200 OK\n", b"page")
        wire.lose(ConnectionDone())
        fetched = self.successResultOf(fetching)
        assert (fetched.body.length, self.body(fetched), fetched.body.delimited) == (None, b"page", False)

    def test_short_body(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"pa")
        wire.lose(ConnectionDone())
        body = self.successResultOf(fetching).body
        assert self.successResultOf(Deferred.fromCoroutine(body.read())) == b"pa"
        reading = Deferred.fromCoroutine(body.read())
        assert "broke after 2 bytes" in str(self.failureResultOf(reading, UpstreamFailed).value)

    def test_an_abandoned_body_closes_the_connection(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"pa")
        self.successResultOf(fetching).body.abandon()
        assert wire.disconnected


class FailureTests(UpstreamTestCase):
    def test_5xx_and_429(self) -> None:
        for status, unreachable in ((503, True), (429, False)):
            fetching = self.fetch()
            self.wire().answer(f"HTTP/1.1 {status} No\nRetry-After: 7\nContent-Length: 0\nConnection: close\n")
            failure = self.failed(fetching)
            assert (failure.reason, failure.url) == (f"answered {status}", INDEX)
            assert (failure.status, failure.retry_after, failure.unreachable) == (status, 7, unreachable)
        assert self.kinds(FetchFailed)[0] == FetchFailed(INDEX, "answered 503", False)

    def test_refused_is_tried_twice(self) -> None:
        fetching = self.fetch()
        for _ in range(2):
            self.assertNoResult(fetching)
            self.dial()[1].clientConnectionFailed(None, REFUSED)
            self.reactor.advance(0.3)
        failure = self.failed(fetching)
        assert (failure.reason, failure.unreachable) == ("connection refused", True)
        assert self.reactor.tcpClients == []

    def test_reset_before_headers_goes_to_another_address(self) -> None:
        fetching = self.fetch("http://two.example/x", named=True)
        first = self.wire()
        first.lose(ConnectionLost())
        second = self.wire()
        assert (first.host, second.host) == ("8.8.4.1", "8.8.4.2")
        second.answer(OK, b"file")
        assert self.successResultOf(fetching).status == 200

    def test_only_so_many_idle_connections_are_kept(self) -> None:
        self.upstream.keep(1)
        both = self.fetch(), self.fetch()
        wires = self.wire(), self.wire()
        for fetching, wire in zip(both, wires, strict=True):
            wire.answer(OK, b"page")
            self.body(self.successResultOf(fetching))
        assert sorted(wire.disconnected for wire in wires) == [False, True]

    def test_a_kept_connection_that_was_closed_is_replaced(self) -> None:
        fetching = self.fetch()
        old = self.wire()
        old.answer(OK, b"page")
        self.body(self.successResultOf(fetching))
        fetching = self.fetch()
        old.lose(ConnectionDone())
        self.wire().answer(OK, b"page")
        assert self.successResultOf(fetching).status == 200
        assert self.kinds(FetchFailed) == []

    def test_closed_twice(self) -> None:
        fetching = self.fetch()
        for _ in range(2):
            self.wire().lose(ConnectionDone())
        assert self.failed(fetching).reason == "connection closed"

    def test_no_connection_in_time_is_not_tried_again(self) -> None:
        fetching = self.fetch()
        self.dial()
        self.reactor.advance(5)
        failure = self.failed(fetching)
        assert (failure.reason, failure.unreachable) == ("no connection within 5 s", True)
        assert self.reactor.tcpClients == []

    def test_names_that_never_resolve(self) -> None:
        self.names.silent.add("index.example")
        fetching = self.fetch()
        self.reactor.advance(5)
        assert self.failed(fetching).reason == "no connection within 5 s"

    def test_no_headers_in_time(self) -> None:
        fetching = self.fetch()
        self.reactor.advance(4)
        wire = self.wire()
        wire.answer("HTTP/1.1 200 OK")
        self.reactor.advance(9.9)
        self.assertNoResult(fetching)
        self.reactor.advance(0.2)
        failure = self.failed(fetching)
        assert (failure.reason, failure.unreachable, wire.disconnected) == ("no answer within 10 s", True, True)

    def test_unknown_name(self) -> None:
        fetching = self.fetch("http://nowhere.invalid/x", named=True)
        assert self.failed(fetching).reason == "DNS: name not found"

    def test_what_is_not_http(self) -> None:
        for text in ("SSH-2.0-x\n", "HTTP/1.1 200 OK\nContent-Length: -5\n", "HTTP/1.1 200 OK\nContent-Length: x\n"):
            fetching = self.fetch()
            self.wire().answer(text)
            failure = self.failed(fetching)
            assert (failure.reason, failure.unreachable) == ("the answer is not proper HTTP", False)

    def test_headers_that_never_end_are_not_collected(self) -> None:
        for line in (f"X: {'x' * 100}\n" * 700, f"X: {'x' * 20_000}\n"):
            fetching = self.fetch()
            wire = self.wire()
            wire.answer(f"HTTP/1.1 200 OK\n{line}X: 1")
            assert wire.disconnected
            self.reactor.advance(0)
            failure = self.failed(fetching)
            assert (failure.reason, failure.unreachable) == ("the headers of the answer are too large", False)
            assert self.reactor.tcpClients == []

    def test_a_large_body_is_no_large_head(self) -> None:
        body = bytes(MAX_HEAD + 1)
        fetching, wire = self.fetch(), self.wire()
        for connection_is_new in (True, False):
            fetching = fetching if connection_is_new else self.fetch()
            wire.answer(f"HTTP/1.1 200 OK\nX: {'x' * 9000}\nContent-Length: {len(body)}\n", body)
            assert self.body(self.successResultOf(fetching)) == body

    def test_cancelling(self) -> None:
        waiting = self.fetch()
        host, _ = self.dial()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        waiting = self.fetch()
        wire = self.wire()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.reactor.advance(0)
        assert (host, wire.lost, self.events) == ("8.8.8.1", True, [])
        assert self.reactor.getDelayedCalls() == []


class RedirectTests(UpstreamTestCase):
    def redirect(self, location: str, status: int = 302) -> Wire:
        wire = self.wire()
        request = wire.request
        wire.answer(f"HTTP/1.1 {status} Go\nLocation: {location}\nContent-Length: 0\nConnection: close\n")
        self.asked = request
        return wire

    def test_followed_and_secrets_stay_behind(self) -> None:
        fetching = self.fetch()
        self.redirect("sub/")
        self.redirect("http://cdn.example/x?sig=1")
        assert self.asked["authorization"]
        self.redirect(INDEX + "back/", 308)
        assert "authorization" not in self.asked
        wire = self.wire()
        assert wire.request[""] == "GET /simple/back/ HTTP/1.1"
        assert "authorization" not in wire.request
        wire.answer(OK, b"page")
        assert self.successResultOf(fetching).url == INDEX + "back/"

    def test_at_most_five(self) -> None:
        fetching = self.fetch()
        for number in range(6):
            self.assertNoResult(fetching)
            self.redirect(f"/{number}")
        assert self.failed(fetching).reason == "more than 5 redirects"
        assert self.reactor.tcpClients == []

    def test_a_confined_request_stays_with_its_index(self) -> None:
        for target, other in (("http://stranger.example/x", ""), ("http://private.example/simple/x/", "home")):
            fetching = self.fetch(confined=True)
            self.redirect(target)
            failure = self.failed(fetching)
            assert isinstance(failure, LedAway)
            assert (failure.other, failure.status) == (other, 302)
            assert self.reactor.tcpClients == []
        assert [type(event) for event in self.events] == [FetchFailed]

    def test_not_to_a_private_address(self) -> None:
        fetching = self.fetch()
        self.redirect("http://inside.example/secret")
        failure = self.failed(fetching)
        assert (failure.reason, failure.unreachable) == ("forbidden address 10.0.0.7", False)
        assert self.reactor.tcpClients == []

    def test_a_file_not_to_this_machine_and_its_neighbours(self) -> None:
        for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"):
            fetching = self.fetch("http://files.example/x.whl", file=True)
            self.redirect(f"http://{address}/latest/meta-data/")
            assert self.failed(fetching).reason == f"forbidden address {address}"

    def test_every_hop_is_judged(self) -> None:
        for index, judged in (("main", "8.8.8.4"), ("home", "10.0.0.7")):
            fetching = self.fetch("http://cdn.example/x", index, named=True)
            self.redirect("http://mixed.example/x")
            wire = self.wire()
            assert wire.host == judged
            wire.answer("HTTP/1.1 302 Go\nLocation: http://metadata.example/latest/\nContent-Length: 0\n")
            assert self.failed(fetching).reason == "forbidden address 169.254.169.254"
            assert self.reactor.tcpClients == []

    def test_not_to_another_scheme_nor_to_what_is_no_url(self) -> None:
        for location in ("file:///etc/passwd", "gopher://cdn.example/", "javascript:alert(1)", "http://..", "//[::1"):
            fetching = self.fetch()
            self.redirect(location)
            assert self.failed(fetching).reason == "redirects to no usable URL"
            assert self.reactor.tcpClients == []

    def test_a_failure_shows_no_signature(self) -> None:
        fetching = self.fetch()
        self.redirect("http://cdn.example/x?sig=secret")
        self.wire().answer("HTTP/1.1 500 No\nContent-Length: 0\n")
        assert "secret" not in str(self.failed(fetching)) + repr(self.events)


class PolicyTests(UpstreamTestCase):
    def test_a_page_may_not_name_a_private_address(self) -> None:
        fetching = self.fetch("http://inside.example/x", named=True)
        assert self.failed(fetching).reason == "forbidden address 10.0.0.7"
        assert self.reactor.tcpClients == []

    def test_of_several_addresses_the_private_ones_are_left_out(self) -> None:
        fetching = self.fetch("http://mixed.example/x", named=True)
        for _ in range(2):
            host, factory = self.dial()
            assert (host, self.reactor.tcpClients) == ("8.8.8.4", [])
            factory.clientConnectionFailed(None, REFUSED)
            self.reactor.advance(1)
        assert self.failed(fetching).reason == "connection refused"

    def test_a_name_that_comes_to_mean_another_address_is_judged_again_and_never_twice_for_one_connection(self) -> None:
        self.names.rebound["mixed.example"] = [["8.8.8.4"], ["10.0.0.7"]]
        fetching = self.fetch("http://mixed.example/x", named=True)
        assert self.names.asked.count("mixed.example") == 1
        wire = self.wire()
        assert wire.host == "8.8.8.4"
        wire.answer("HTTP/1.1 200 OK\nContent-Length: 4\nConnection: close\n", b"page")
        self.successResultOf(fetching)
        assert self.failed(self.fetch("http://mixed.example/x", named=True)).reason == "forbidden address 10.0.0.7"
        assert self.reactor.tcpClients == []

    def test_nobody_may_name_where_clouds_serve_metadata(self) -> None:
        for index in ("main", "home"):
            fetching = self.fetch("http://metadata.example/latest/", index, named=True)
            assert self.failed(fetching).reason == "forbidden address 169.254.169.254"
        assert self.reactor.tcpClients == []

    def test_an_index_of_which_one_address_alone_is_private_is_public(self) -> None:
        self.names.rebound["private.example"] = [["192.168.0.1", "8.8.8.8"]]
        assert self.failed(self.fetch("http://inside.example/x", "home", named=True)).reason.endswith("10.0.0.7")

    def test_unless_its_index_is_private_itself(self) -> None:
        self.fetch("http://inside.example/x", "home", named=True)
        assert self.wire().host == "10.0.0.7"

    def test_a_judged_index_is_looked_up_once_in_a_minute(self) -> None:
        for seconds, lookups in ((0, 1), (59, 1), (61, 2)):
            self.reactor.advance(seconds - self.reactor.seconds())
            fetching = self.fetch("http://inside.example/x", "home", named=True)
            fetching.cancel()
            self.failureResultOf(fetching, CancelledError)
            assert self.names.asked.count("private.example") == lookups

    def test_an_index_that_does_not_resolve_is_taken_for_public(self) -> None:
        self.names.silent.add("private.example")
        fetching = self.fetch("http://inside.example/x", "home", named=True)
        self.reactor.advance(5)
        assert self.failed(fetching).reason == "forbidden address 10.0.0.7"

    def test_a_connection_that_was_not_judged_is_not_shared(self) -> None:
        fetching = self.fetch("http://inside.example/x", "home", named=True)
        self.wire().answer(OK, b"file")
        self.body(self.successResultOf(fetching))
        fetching = self.fetch("http://inside.example/x", "main", named=True)
        assert self.failed(fetching).reason == "forbidden address 10.0.0.7"

    def test_unknown_indexes_and_unnamed_origins(self) -> None:
        assert "no index" in self.failed(self.fetch(index="nope")).reason
        assert "forbidden origin" in self.failed(self.fetch("http://cdn.example/x")).reason
        assert len(self.kinds(FetchFailed)) == 2


class LimitTests(UpstreamTestCase):
    def test_files_wait_for_a_place_pages_do_not_wait_for_files(self) -> None:
        urls = [f"http://files.example/{number}" for number in range(3)]
        first, _, third = (self.fetch(url, file=True) for url in urls)
        wire, _ = self.wire(), self.wire()
        assert self.reactor.tcpClients == []
        self.fetch()
        assert self.wire().host == "8.8.8.1"
        wire.answer(OK, b"fi")
        self.assertNoResult(third)
        self.successResultOf(first).body.abandon()
        assert self.wire().request[""].startswith("GET /2")

    def test_a_place_is_given_back_by_ends_failures_and_leaving(self) -> None:
        for number in range(6):
            fetching = self.fetch("http://files.example/x", file=True)
            wire = self.wire()
            if number % 3 == 0:
                wire.answer(OK + "Connection: close\n", b"file")
                self.successResultOf(fetching)
            elif number % 3 == 1:
                wire.answer("HTTP/1.1 500 No\nContent-Length: 0\nConnection: close\n")
                self.failed(fetching)
            else:
                fetching.cancel()
                self.failureResultOf(fetching, CancelledError)

    def test_the_breaker_hears_of_failures_and_successes(self) -> None:
        for _ in range(3):
            assert not self.upstream.is_down(INDEX)
            fetching = self.fetch()
            self.wire().answer("HTTP/1.1 502 No\nContent-Length: 0\nConnection: close\n")
            self.failed(fetching)
        assert self.upstream.is_down(INDEX)
        assert not self.upstream.is_down("http://files.example/x")
        fetching = self.fetch()
        self.wire().answer("HTTP/1.1 404 No\nContent-Length: 0\nConnection: close\n")
        self.successResultOf(fetching)
        assert not self.upstream.is_down(INDEX)
        origin = "http://index.example"
        assert self.kinds(BreakerChanged) == [BreakerChanged(origin, True), BreakerChanged(origin, False)]


class PatienceTests(UpstreamTestCase):
    def test_all_phases_together_have_so_long(self) -> None:
        fetching = self.fetch(patience=2.0)
        self.reactor.advance(1.5)
        self.wire()
        self.reactor.advance(0.4)
        self.assertNoResult(fetching)
        self.reactor.advance(0.1)
        failure = self.failed(fetching)
        assert (failure.reason, failure.unreachable) == ("no answer within 2 s", True)

    def test_connecting_alone_too(self) -> None:
        fetching = self.fetch(patience=2.0)
        self.reactor.advance(2)
        assert self.failed(fetching).reason == "no connection within 2 s"

    def test_where_it_is_longer_than_usual_it_changes_nothing(self) -> None:
        fetching = self.fetch(patience=60.0)
        self.reactor.advance(5)
        assert self.failed(fetching).reason == "no connection within 5 s"

    def test_a_body_has_its_own_time(self) -> None:
        fetching = self.fetch(patience=2.0)
        self.wire().answer(OK)
        self.reactor.advance(3)
        assert self.successResultOf(fetching).status == 200

    def test_waiting_for_a_place_among_the_fetches_does_not_count(self) -> None:
        running = [self.fetch(), self.fetch()]
        waiting = self.fetch(patience=2.0)
        self.reactor.advance(3)
        self.assertNoResult(waiting)
        wire = self.wire()
        wire.answer(OK, b"page")
        self.body(self.successResultOf(running[0]))
        wire.answer(OK, b"page")
        assert self.successResultOf(waiting).status == 200


class LoopTests(UpstreamTestCase):
    def setUp(self) -> None:
        super().setUp()
        rules = {"main": IndexRules("main", INDEX)}
        settings = UpstreamSettings(indexes=rules, replaceable=frozenset({origin_of(INDEX)}), identity="0" * 16)
        self.upstream = HttpUpstream(self.reactor, settings, self.events.append)

    def test_every_request_says_who_asks(self) -> None:
        self.fetch()
        assert self.wire().request["cdn-loop"] == "pypicache;id=0000000000000000"

    def test_a_server_that_was_asked_in_a_circle_is_well(self) -> None:
        for _ in range(2):
            fetching = self.fetch()
            self.wire().answer("HTTP/1.1 508 Loop Detected\nContent-Length: 0\nConnection: close\n")
            failure = self.failed(fetching)
            assert (failure.status, failure.unreachable) == (508, False)
            assert not self.upstream.is_down(INDEX)
        assert [cast(FetchFailed, event).repeated for event in self.kinds(FetchFailed)] == [False, True]

    def test_one_failure_is_enough_where_another_stands_in(self) -> None:
        fetching = self.fetch()
        self.wire().answer("HTTP/1.1 503 No\nContent-Length: 0\nConnection: close\n")
        self.failed(fetching)
        assert self.upstream.is_down(INDEX)
