"""HttpUpstream by way of a proxy, on a reactor in memory: what goes where, and how its refusals are told."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol

from twisted_pypi.events import BreakerChanged
from twisted_pypi.fetching.policy import IndexRules
from twisted_pypi.fetching.proxies import Proxy, ProxyRules, basic
from twisted_pypi.fetching.upstream import HttpUpstream, UpstreamSettings
from twisted_pypi.urls import Origin
from unit.test_fetching_upstream import HOSTS, INDEX, OK, REFUSED, UpstreamTestCase

PROXY = Proxy(Origin("http", "9.9.9.9", 3128), basic("me", "hunter2"))
SECURE = "https://secure.example/simple/"
NAME = "http://9.9.9.9:3128"


class ProxiedTests(UpstreamTestCase):
    def setUp(self) -> None:
        super().setUp()
        rules = ProxyRules(PROXY, PROXY, ("direct.example",))
        indexes = {
            "main": IndexRules("main", INDEX, proxies=rules),
            "secure": IndexRules("secure", SECURE, proxies=rules),
            "direct": IndexRules("direct", INDEX),
        }
        self.upstream = HttpUpstream(self.reactor, UpstreamSettings(max_fetches=9, indexes=indexes), self.events.append)

    def test_http_goes_in_absolute_form_with_the_proxys_credentials(self) -> None:
        fetching = self.fetch(f"{INDEX}a/?x=1")
        wire = self.wire()
        assert wire.host == "9.9.9.9"
        assert wire.request[""] == "GET http://index.example:80/simple/a/?x=1 HTTP/1.1"
        assert wire.request["host"] == "index.example"
        assert wire.request["proxy-authorization"] == PROXY.authorization
        wire.answer(OK, b"page")
        assert self.body(self.successResultOf(fetching)) == b"page"
        assert self.names.asked == ["9.9.9.9"]

    def test_a_connection_to_the_proxy_is_used_again_and_by_nobody_else(self) -> None:
        fetching = self.fetch()
        wire = self.wire()
        wire.answer(OK, b"page")
        self.body(self.successResultOf(fetching))
        self.fetch(f"{INDEX}b/")
        assert self.reactor.tcpClients == []
        assert wire.request[""] == "GET http://index.example:80/simple/b/ HTTP/1.1"
        self.fetch(index="direct")
        assert self.wire().host == HOSTS["index.example"][0]

    def test_https_goes_through_a_tunnel_to_tls(self) -> None:
        fetching = self.fetch(SECURE, index="secure")
        wire = self.wire()
        assert wire.request[""] == "CONNECT secure.example:443 HTTP/1.1"
        assert wire.request["proxy-authorization"] == PROXY.authorization
        wire.answer("HTTP/1.1 200 OK\n")
        assert wire.value()[:1] == b"\x16"  # a TLS handshake record
        tunnel = wire.protocol._wrappedProtocol
        assert isinstance(tunnel.wrappedProtocol, TLSMemoryBIOProtocol)
        self.assertNoResult(fetching)
        wire.protocol.dataReceived(b"not TLS, as its first bytes show")
        wire.lose(ConnectionDone())
        assert f"by way of the proxy {NAME}: TLS: " in self.failed(fetching).reason

    def test_origins_that_no_proxy_leads_to_are_connected_to(self) -> None:
        failure = self.failed(self.fetch("http://direct.example/x", named=True))
        assert failure.reason == "DNS: name not found"  # the proxy was not asked
        assert "direct.example" in self.names.asked

    def test_a_proxy_that_refuses_counts_against_the_origin_and_is_named_without_credentials(self) -> None:
        for status, told in ((407, "answered 407: it does not take the credentials"), (403, "answered 403 to CONNECT")):
            fetching = self.fetch(SECURE, index="secure")
            self.wire().answer(f"HTTP/1.1 {status} No\n")
            failure = self.failed(fetching)
            assert failure.reason == f"the proxy {NAME} {told}"
            assert failure.unreachable
        fetching = self.fetch(SECURE, index="secure")
        for _ in range(2):
            _, factory = self.dial()
            factory.clientConnectionFailed(None, REFUSED)
            self.reactor.advance(0.1)
        assert self.failed(fetching).reason == f"by way of the proxy {NAME}: connection refused"
        assert self.kinds(BreakerChanged) == [BreakerChanged("https://secure.example", True)]
        assert not self.upstream.is_down(INDEX)

    def test_a_407_to_a_request_in_absolute_form(self) -> None:
        fetching = self.fetch()
        self.wire().answer("HTTP/1.1 407 No\nContent-Length: 0\n")
        failure = self.failed(fetching)
        assert failure.reason == f"the proxy {NAME} answered 407: it does not take the credentials"
        assert failure.unreachable

    def test_a_proxy_that_says_nothing_is_given_up_when_connecting_may_take_no_longer(self) -> None:
        fetching = self.fetch(SECURE, index="secure")
        wire = self.wire()
        self.reactor.advance(4.9)
        self.assertNoResult(fetching)
        self.reactor.advance(0.1)
        assert self.failed(fetching).reason == f"by way of the proxy {NAME}: no connection within 5 s"
        assert wire.disconnected

    def test_addresses_are_judged_where_they_are_literal(self) -> None:
        inside = ("10.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:10.0.0.1]", "localhost", "a.localhost")
        for host in inside:
            fetching = self.fetch(f"http://{host}/x", named=True)
            assert self.failed(fetching).reason == f"forbidden address {host.strip('[]')}"
        for host in ("8.8.8.8", "inside.example", "[2606:4700::1]", "0x7f.example"):
            self.fetch(f"http://{host}/x", named=True)
            assert self.wire().request[""].startswith(f"GET http://{host}:80/x ")
        assert set(self.names.asked) == {"9.9.9.9"}
