"""CONNECT in memory: what is asked, what counts as an answer, and that nothing is left open."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from twisted_pypi.fetching.proxies import Proxy, basic
from twisted_pypi.fetching.tunnel import MAX_ANSWER, ProxyRefused, TunnelEndpoint
from twisted_pypi.urls import Origin

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
AT = Origin("http", "proxy.example", 3128)


class Inner(Protocol):
    """What is to talk through the tunnel."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.received += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: N802
        self.lost = reason


class Wire(StringTransport):
    """An aborted connection tells of its end, as a real one does."""

    protocol: Any

    def abortConnection(self) -> None:  # noqa: N802
        if not self.disconnected:
            super().abortConnection()
            self.protocol.connectionLost(Failure(ConnectionDone()))


class TunnelTests(SynchronousTestCase):
    origin = Origin("https", "files.example", 443)
    proxy = Proxy(AT)

    def open(self) -> tuple[Deferred[Any], Wire]:
        reactor = MemoryReactorClock()
        endpoint = TunnelEndpoint(TCP4ClientEndpoint(reactor, "192.0.2.1", 3128), self.origin, self.proxy)
        connecting = endpoint.connect(Factory.forProtocol(Inner))
        protocol: Any = reactor.tcpClients[0][2].buildProtocol(IPv4Address("TCP", "192.0.2.1", 3128))
        wire = Wire()
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return connecting, wire

    def refused(self, *pieces: bytes) -> str:
        connecting, wire = self.open()
        for piece in pieces:
            wire.protocol.dataReceived(piece)
        assert wire.disconnected
        return str(self.failureResultOf(connecting, ProxyRefused).value)

    def test_interface(self) -> None:
        reactor = MemoryReactorClock()
        endpoint = TunnelEndpoint(TCP4ClientEndpoint(reactor, "192.0.2.1", 1), self.origin, self.proxy)
        verifyObject(IStreamClientEndpoint, endpoint)

    def test_asks_for_the_origin_with_its_port(self) -> None:
        _, wire = self.open()
        assert wire.value() == (
            b"CONNECT files.example:443 HTTP/1.1\r\nHost: files.example:443\r\nUser-Agent: pypicache\r\n\r\n"
        )

    def test_shows_its_credentials_and_puts_ipv6_into_brackets(self) -> None:
        self.proxy, self.origin = Proxy(AT, basic("me", "hunter2")), Origin("https", "2001:db8::1", 8443)
        _, wire = self.open()
        assert wire.value().startswith(b"CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n")
        assert b"\r\nProxy-Authorization: Basic bWU6aHVudGVyMg==\r\n" in wire.value()

    def test_what_is_wrapped_is_connected_once_the_way_is_there(self) -> None:
        connecting, wire = self.open()
        for byte in OK[:-1]:
            wire.protocol.dataReceived(bytes([byte]))
        self.assertNoResult(connecting)
        wire.clear()
        wire.protocol.dataReceived(OK[-1:])
        inner = self.successResultOf(connecting)
        inner.transport.write(b"hello")
        wire.protocol.dataReceived(b"world")
        assert (wire.value(), inner.received) == (b"hello", b"world")
        wire.protocol.connectionLost(Failure(ConnectionDone()))
        assert inner.lost is not None

    def test_what_comes_with_the_answer_comes_out_of_the_tunnel(self) -> None:
        connecting, wire = self.open()
        wire.protocol.dataReceived(b"HTTP/1.0 200 \r\nContent-Length: 99\r\n\r\nearly")
        assert self.successResultOf(connecting).received == b"early"

    def test_an_interim_answer_has_another_after_it(self) -> None:
        connecting, wire = self.open()
        wire.protocol.dataReceived(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertNoResult(connecting)
        wire.protocol.dataReceived(OK + b"x")
        assert self.successResultOf(connecting).received == b"x"

    def test_refusals_name_the_proxy_and_the_status(self) -> None:
        assert self.refused(b"HTTP/1.1 403 Filtered\r\nContent-Length: 0\r\n\r\n") == (
            "the proxy http://proxy.example:3128 answered 403 to CONNECT"
        )
        for status in (b"301", b"400", b"502", b"504"):
            assert f"answered {status.decode()} to CONNECT" in self.refused(b"HTTP/1.1 " + status + b" No\r\n\r\nbody")

    def test_credentials_that_it_wants_or_does_not_take(self) -> None:
        answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"
        assert self.refused(answer).endswith("answered 407: it wants credentials")
        self.proxy = Proxy(AT, basic("me", "hunter2"))
        told = self.refused(answer)
        assert told.endswith("answered 407: it does not take the credentials")
        assert "hunter2" not in told

    def test_garbage(self) -> None:
        for answer in (
            b"SSH-2.0-x\r\n\r\n",
            b"\x15\x03\x01\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"\r\n\r\n",
        ):
            assert "no proper answer to CONNECT" in self.refused(answer)

    def test_a_head_without_end_is_bounded(self) -> None:
        assert "no proper answer" in self.refused(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * (MAX_ANSWER // 6))
        assert "no proper answer" in self.refused(b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_ANSWER + b"\r\n\r\n")

    def test_half_an_answer(self) -> None:
        connecting, wire = self.open()
        wire.protocol.dataReceived(OK[:-2])
        wire.protocol.connectionLost(Failure(ConnectionDone()))
        assert "closed the connection" in str(self.failureResultOf(connecting, ProxyRefused).value)

    def test_giving_up_closes_the_connection_to_the_proxy(self) -> None:
        connecting, wire = self.open()
        wire.protocol.dataReceived(OK[:9])
        connecting.cancel()
        self.failureResultOf(connecting)
        assert wire.disconnected

    def test_a_proxy_that_is_not_there(self) -> None:
        reactor = MemoryReactorClock()
        endpoint = TunnelEndpoint(TCP4ClientEndpoint(reactor, "192.0.2.1", 3128), self.origin, self.proxy)
        connecting = endpoint.connect(Factory.forProtocol(Inner))
        reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(Refused()))
        self.failureResultOf(connecting, Refused)
