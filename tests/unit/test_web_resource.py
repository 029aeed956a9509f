"""The resource: what is refused, who is let in, where paths lead, how errors look."""

from __future__ import annotations

import errno
import json

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

from twisted_pypi import hops
from twisted_pypi.errors import BadPath
from twisted_pypi.events import Served
from twisted_pypi.interfaces.purging import Purge
from twisted_pypi.model import Redirect
from twisted_pypi.units import network
from twisted_pypi.web import problems
from twisted_pypi.web.clients import effective_client, is_within
from twisted_pypi.web.log_limits import REPEAT, LogLimits
from twisted_pypi.web.problems import MAX_REASON, reason_phrase
from twisted_pypi.web.resource import Readiness, below
from twisted_pypi.web.responding import ANSWER_TIMEOUT
from unit.web_doubles import FILE, PAGE, Mount, Response, Several, Status, Web, parse

PROXY = IPv4Address("TCP", "10.0.0.1", 5000)
LOOPBACK = IPv4Address("TCP", "127.0.0.1", 5000)


def networks(cidrs: list[str]) -> tuple:
    """As the options parse them."""
    return tuple(network(cidr) for cidr in cidrs)


def send(raw: str, web: Web | None = None) -> Response:
    return parse((web or Web()).raw(raw.encode("latin-1")).value())


class TestMalformed:
    """What no client of ours sends."""

    @pytest.mark.parametrize(
        "raw",
        [
            "GET /simple/six/ HTTP/1.1\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost:\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET /simple/six/ HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a, b\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: user@a\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: \xe9\xff\r\n\r\n",
            "GET http://other.example/simple/six/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://a/simple/six/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET simple/six/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /simple/%00six/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /simple/six%0d%0aX:y/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /simple/%7Fsix/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /simple/\x80six/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /simple/six/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        ],
    )
    def test_is_refused(self, raw: str) -> None:
        web = Web()
        assert send(raw, web).status == 400
        assert web.pages.askers == []

    def test_what_we_refuse_has_our_headers(self) -> None:
        response = send("GET http://other.example/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert response["server"] == "pypicache"
        assert response["x-content-type-options"] == "nosniff"

    def test_http_1_0_needs_no_host(self) -> None:
        response = send("GET /simple/six/ HTTP/1.0\r\n\r\n")
        assert response.status == 200
        assert response["connection"] == "close"

    @pytest.mark.parametrize("host", ["a", "A.example:8080", "[::1]:8080", "under_score", "192.0.2.1"])
    def test_valid_hosts_pass(self, host: str) -> None:
        assert Web().ask("/simple/six/", host=host).status == 200

    @pytest.mark.parametrize("header", ["Accept", "User-Agent", "If-None-Match", "Range", "Cookie", "Origin"])
    def test_headers_that_are_not_text_do_no_harm(self, header: str) -> None:
        assert Web().ask("/simple/six/", f"{header}: \xff\xfe").status == 200

    def test_hundreds_of_query_fields_do_no_harm(self) -> None:
        assert Web().ask("/simple/six/?" + "a=b&" * 500).status == 200


class TestBodies:
    """We take none."""

    def test_small_ones_are_dropped(self) -> None:
        raw = "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        web = Web()
        transport = web.raw((raw * 2).encode())
        first = parse(transport.value())
        assert (first.status, parse(first.rest).status) == (200, 200)

    def test_an_announced_large_one_is_refused_before_it_comes(self) -> None:
        raw = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n"
        transport = Web().raw(raw.encode())
        response = parse(transport.value())
        assert (response.status, response["connection"], response.rest) == (413, "close", b"")
        assert response["x-content-type-options"] == "nosniff"
        assert transport.disconnecting

    def test_a_growing_one_is_refused_once(self) -> None:
        web = Web()
        transport = web.raw(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        transport.end = lambda: None  # what is in flight still comes in after a close
        for _ in range(20):
            transport.protocol.dataReceived(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
        transport.protocol.dataReceived(b"0\r\n\r\n")
        response = parse(transport.value())
        assert (response.status, response.rest) == (413, b"")
        assert transport.disconnecting
        assert [event.status for event in web.events] == [413, 413]  # as refused, and as served


class TestMethods:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
    def test_only_reading(self, method: str) -> None:
        response = Web().ask("/simple/six/", method=method)
        assert (response.status, response["allow"]) == (405, "GET, HEAD")

    @pytest.mark.parametrize("path", ["/", "/+status", "/metrics", "/healthz", "/readyz"])
    def test_our_own_paths_are_for_reading_too(self, path: str) -> None:
        assert Web().ask(path, method="POST").status == 405

    def test_what_there_is_not_has_no_methods(self) -> None:
        assert Web().ask("/nothing/here", method="POST").status == 404

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_only_deleting_below_cache(self, method: str) -> None:
        response = Web().ask("/cache/six", method=method)
        assert (response.status, response["allow"]) == (405, "DELETE")


class TestHealth:
    def test_alive_and_ready(self) -> None:
        readiness = Readiness()
        web = Web(readiness=readiness)
        assert web.ask("/healthz").body == b"ok\n"
        assert web.ask("/readyz").status == 503
        readiness.ready = True
        assert web.ask("/readyz").status == 200
        readiness.stalled = lambda: True
        answer = web.ask("/readyz")
        assert (answer.status, answer.body) == (503, b"not ready: the disk does not answer\n")

    def test_for_anybody_at_the_root_and_below_the_prefix(self) -> None:
        web = Web(allow=networks(["10.0.0.0/8"]), prefix="/pypi")
        for path in ("/healthz", "/pypi/healthz", "/readyz", "/pypi/readyz"):
            assert web.ask(path).status == 200
        assert web.ask("/pypi/simple/six/").status == 403


class TestPrefix:
    @pytest.mark.parametrize(("path", "rest"), [("/a", ""), ("/a/", "/"), ("/a/b", "/b"), ("/ab", None), ("/", None)])
    def test_below(self, path: str, rest: str | None) -> None:
        assert below("/a", path) == rest

    def test_no_prefix(self) -> None:
        assert below("", "/x") == "/x"

    def test_serving(self) -> None:
        web = Web(prefix="/a/b")
        assert web.ask("/a/b/simple/six/").status == 200
        redirect = web.ask("/a/b")
        assert (redirect.status, redirect["location"]) == (301, "/a/b/")
        outside = web.ask("/simple/six/")
        assert outside.status == 404
        assert "/a/b/" in outside.reason


class TestRedirects:
    @pytest.mark.parametrize(
        ("location", "sent"),
        [
            ("six/", "six/"),
            ("../six/", "../six/"),
            ("/simple/six/", "/a/simple/six/"),
            ("//evil.example/", "/a/evil.example/"),
            ("/\\evil.example/", "/a/evil.example/"),
            ("six/\r\nX-Evil: 1", "six/??X-Evil: 1"),
        ],
    )
    def test_location(self, location: str, sent: str) -> None:
        web = Web(prefix="/a")
        web.mount.routes["/x"] = Redirect(location)
        response = web.ask("/a/x?q=1")
        assert (response.status, response["location"]) == (301, f"{sent}?q=1")
        assert "x-evil" not in response
        assert web.ask("/a/x")["location"] == sent

    def test_doubled_slashes_before_the_prefix(self) -> None:
        web = Web(prefix="/a")
        assert web.ask("//a/simple/six/")["location"] == "/a/simple/six/"
        assert web.ask("//evil.example/a/").status == 404


class TestMounts:
    def test_the_first_that_knows_the_path_answers(self) -> None:
        web = Web(mount=Several((Mount({"/a": PAGE}), Mount({"/a": BadPath("no"), "/b": FILE}))))
        assert web.ask("/a")["content-type"].startswith("text/html")
        assert web.ask("/b", method="HEAD")["content-type"] == "application/octet-stream"
        assert web.ask("/c").status == 404

    def test_a_bad_path_is_final(self) -> None:
        web = Web(mount=Several((Mount({"/a": BadPath("no")}), Mount({"/a": PAGE}))))
        assert web.ask("/a").status == 400


class TestProblems:
    def test_json_for_those_who_take_it(self) -> None:
        response = Web().ask("/nothing", "Accept: application/vnd.pypi.simple.v1+json, text/html;q=0.1")
        assert response["content-type"] == "application/problem+json"
        assert json.loads(response.body) == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "No such path: /nothing",
            "error": "No such path: /nothing",
        }

    def test_text_for_others(self) -> None:
        response = Web().ask("/nothing", "Accept: */*")
        assert response["content-type"] == "text/plain; charset=utf-8"
        assert response.body == b"No such path: /nothing\n"

    def test_head_has_no_body(self) -> None:
        response = Web().ask("/nothing", method="HEAD")
        assert (response.status, response["content-length"], response.rest) == (404, "23", b"")

    def test_a_reason_cannot_split_the_answer(self) -> None:
        web = Web()
        web.mount.routes["/x"] = BadPath("one\r\nSet-Cookie: a=b\r\n\r\n" + "x" * 1000)
        response = web.ask("/x")
        assert response.reason.startswith("one??Set-Cookie")
        assert len(response.reason) <= MAX_REASON
        assert "set-cookie" not in response

    def test_a_reason_phrase_is_never_wider_than_printable_ascii(self) -> None:
        assert reason_phrase(" zu\u00df\t\x7f ") == b"zu???"

    @pytest.mark.parametrize("hot", [True, False])
    def test_the_unforeseen_is_logged_once_and_told_in_general(self, hot: bool) -> None:
        web = Web()
        web.pages.hot = hot
        broken = ZeroDivisionError("secret detail")
        if hot:
            web.mount.routes["/simple/six/"] = broken
        else:
            web.pages.errors = [broken]
        logged: list[dict[str, object]] = []
        globalLogPublisher.addObserver(logged.append)
        try:
            response = web.ask("/simple/six/")
        finally:
            globalLogPublisher.removeObserver(logged.append)
        assert response.status == 500
        assert "secret" not in response.reason + response.body.decode()
        failures = [event["log_failure"].value for event in logged if "log_failure" in event]
        assert failures == [broken]

    def test_whatever_hangs_the_client_is_told_in_time(self) -> None:
        web = Web()
        web.pages.hot, web.pages.waiting = False, Deferred()
        transport = web.raw(b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n")
        web.clock.advance(ANSWER_TIMEOUT - 0.1)
        assert transport.value() == b""
        web.clock.advance(0.1)
        response = parse(transport.value())
        assert (response.status, response["retry-after"]) == (503, "2")
        web.clock.advance(1)
        web.pages.waiting = None
        transport.clear()
        transport.protocol.dataReceived(b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n")
        assert parse(transport.value()).status == 200

    @pytest.mark.parametrize(
        "error", [MemoryError(), OSError(errno.EMFILE, "too many"), OSError(errno.ENFILE, "too many")]
    )
    def test_what_this_machine_lacks_now_it_may_have_in_a_moment(self, error: Exception) -> None:
        web = Web()
        web.pages.hot, web.pages.errors = False, [error]
        response = web.ask("/simple/six/")
        assert (response.status, response["retry-after"]) == (503, "2")
        assert "at the moment" in response.reason
        web.pages.hot = True
        assert web.ask("/simple/six/").status == 200

    @pytest.mark.parametrize(
        ("error", "most"), [(MemoryError(), 1), (OSError(errno.EMFILE, "too many"), 1), (ZeroDivisionError(), 60)]
    )
    def test_the_log_is_not_filled_with_the_same_failure(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception, most: int
    ) -> None:
        clock, logged = Clock(), list[dict[str, object]]()
        monkeypatch.setattr(problems, "_limits", LogLimits(clock.seconds))
        globalLogPublisher.addObserver(logged.append)
        try:
            for _ in range(100):
                problems.problem_of(error)
            assert len(logged) == most
            clock.advance(REPEAT)
            problems.problem_of(error)
        finally:
            globalLogPublisher.removeObserver(logged.append)
        assert f"({100 - most} more like this were not told)" in str(formatEvent(logged[-1]))


class TestClients:
    NETS = networks(["10.0.0.0/8", "2001:db8::/32"])

    @pytest.mark.parametrize(
        ("address", "within"),
        [
            ("10.1.2.3", True),
            ("::ffff:10.1.2.3", True),
            ("192.0.2.1", False),
            ("2001:db8::1", True),
            ("fe80::1%eth0", False),
            ("", False),
            ("nonsense", False),
        ],
    )
    def test_within(self, address: str, within: bool) -> None:
        assert is_within(address, self.NETS) is within

    @pytest.mark.parametrize(
        ("forwarded", "client"),
        [
            ("", "10.0.0.1"),
            ("192.0.2.9", "192.0.2.9"),
            ("198.51.100.1, 192.0.2.9", "192.0.2.9"),
            ("198.51.100.1, 192.0.2.9, 10.0.0.2", "192.0.2.9"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("192.0.2.9:1234", "192.0.2.9"),
            ("[2001:db8:1::1]:80, 10.0.0.2", "2001:db8:1::1"),
            ("192.0.2.9, unknown, 10.0.0.2", "10.0.0.2"),
            ("192.0.2.9, ", "10.0.0.1"),
        ],
    )
    def test_the_rightmost_untrusted_hop(self, forwarded: str, client: str) -> None:
        assert effective_client("10.0.0.1", forwarded, self.NETS) == client

    def test_a_network_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="nonsense"):
            networks(["nonsense"])

    def test_repeated_headers_are_one_list(self) -> None:
        web = Web(trusted_proxy=self.NETS)
        web.ask("/simple/six/", "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.9, 10.0.0.2", peer=PROXY)
        assert web.events[0].client == "192.0.2.9"

    FORWARDED = ("X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: pypi.example")

    def test_forwarded_headers_of_a_trusted_proxy_are_believed(self) -> None:
        web = Web(trusted_proxy=self.NETS, allow=networks(["192.0.2.9"]))
        body = web.ask("/", *self.FORWARDED, peer=PROXY).body
        assert b"https://pypi.example/simple/" in body
        assert web.events[0].client == "192.0.2.9"
        assert web.events[0].host == "pypi.example"

    def test_those_of_others_are_not(self) -> None:
        web = Web(trusted_proxy=self.NETS)
        body = web.ask("/", *self.FORWARDED, peer=IPv4Address("TCP", "192.0.2.1", 1)).body
        assert b"http://cache.example/simple/" in body
        assert web.events[0].client == "192.0.2.1"

    def test_a_forwarded_host_must_be_one(self) -> None:
        web = Web(trusted_proxy=self.NETS)
        body = web.ask("/", "X-Forwarded-Host: evil.example/<x>", "X-Forwarded-Proto: javascript", peer=PROXY).body
        assert b"http://cache.example/simple/" in body

    @pytest.mark.parametrize(("peer", "status"), [("10.9.9.9", 200), ("192.0.2.1", 403), ("::ffff:10.1.1.1", 200)])
    def test_allow(self, peer: str, status: int) -> None:
        web = Web(allow=self.NETS)
        assert web.ask("/simple/six/", peer=IPv4Address("TCP", peer, 1)).status == status

    def test_a_unix_socket_is_guarded_by_its_permissions(self) -> None:
        web = Web(allow=self.NETS)
        assert web.ask("/simple/six/", peer=UNIXAddress(None)).status == 200


class TestAdmin:
    def ask(self, web: Web, *headers: str, path: str = "/cache/six", host: str = "localhost:8080", peer=LOOPBACK):
        return web.ask(path, *headers, method="DELETE", host=host, peer=peer)

    def test_purging_from_this_machine(self) -> None:
        web = Web()
        response = self.ask(web)
        assert response.status == 200
        data = {"name": "six", "purged": 2, "names": 1, "pages": 1, "files": 1, "bytes": 7}
        assert json.loads(response.body) == {"status": "success", "data": data}
        assert web.purged == [Purge("six")]

    @pytest.mark.parametrize(
        ("path", "purged"),
        [
            ("/cache/list", Purge("list")),
            ("/cache/six?files=1", Purge("six", files=True)),
            ("/cache/six?files=0&index=", Purge("six")),
            ("/cache/six?index=internal", Purge("six", index="internal")),
            ("/cache/acme-*", Purge("acme-*")),
            ("/cache/%2A?files=yes", Purge("*", files=True)),
            ("/cache/zope%2Einterface/", Purge("zope.interface")),
        ],
    )
    def test_what_is_purged(self, path: str, purged: Purge) -> None:
        web = Web()
        assert self.ask(web, path=path).status == 200
        assert web.purged == [purged]

    def test_an_unknown_name(self) -> None:
        assert self.ask(Web(), path="/cache/unknown").status == 404

    @pytest.mark.parametrize("path", ["/cache/", "/cache/a%2Fb", "/cache/a/b"])
    def test_no_name(self, path: str) -> None:
        web = Web()
        assert self.ask(web, path=path).status == 400
        assert web.purged == []

    @pytest.mark.parametrize(
        ("headers", "host", "peer"),
        [
            ((), "localhost", IPv4Address("TCP", "192.0.2.1", 1)),
            ((), "localhost", UNIXAddress(None)),
            ((), "rebound.example", LOOPBACK),
            ((), "127.0.0.1.example", LOOPBACK),
            (("Origin: http://evil.example",), "localhost", LOOPBACK),
            (("Origin: null",), "localhost", LOOPBACK),
            (("Sec-Fetch-Site: cross-site",), "localhost", LOOPBACK),
            (("Sec-Fetch-Site: same-site",), "localhost", LOOPBACK),
            (("X-Forwarded-For: 192.0.2.1",), "localhost", LOOPBACK),
            (("Authorization: Bearer ",), "cache.example", LOOPBACK),
        ],
    )
    def test_others_may_not(self, headers: tuple[str, ...], host: str, peer: object) -> None:
        web = Web()
        assert self.ask(web, *headers, host=host, peer=peer).status == 403
        assert web.purged == []

    @pytest.mark.parametrize(
        ("headers", "host"),
        [
            ((), "127.0.0.1"),
            ((), "[::1]:8080"),
            (("Origin: http://localhost:8080", "Sec-Fetch-Site: same-origin"), "localhost:8080"),
            (("Sec-Fetch-Site: none",), "LOCALHOST"),
        ],
    )
    def test_this_machine_in_other_words(self, headers: tuple[str, ...], host: str) -> None:
        assert self.ask(Web(), *headers, host=host).status == 200

    @pytest.mark.parametrize(
        "service", [{"base_url": "https://pypi.example"}, {"trusted_proxy": networks(["10.0.0.1"])}]
    )
    def test_behind_a_proxy_loopback_is_nobody(self, service: dict[str, object]) -> None:
        assert self.ask(Web(**service)).status == 403

    @pytest.mark.parametrize(
        ("header", "status"),
        [
            ("Authorization: Bearer s3cret", 200),
            ("authorization: bearer s3cret", 200),
            ("X-Admin-Token: s3cret", 200),
            ("Authorization: Bearer wrong", 401),
            ("Authorization: Basic s3cret", 401),
            ("X-Admin-Token: \xff", 401),
            ("X-Other: 1", 401),
        ],
    )
    def test_with_a_token(self, header: str, status: int) -> None:
        web = Web(admin_token="s3cret")
        response = self.ask(web, header, host="cache.example", peer=IPv4Address("TCP", "192.0.2.1", 1))
        assert response.status == status
        assert bool(web.purged) is (status == 200)

    def test_the_token_is_needed_on_this_machine_too(self) -> None:
        assert self.ask(Web(admin_token="s3cret")).status == 401


class TestOwnPages:
    def test_status(self) -> None:
        response = Web().ask("/+status")
        assert response["content-type"] == "application/json"
        assert json.loads(response.body)["entries"] == 3

    def test_metrics(self) -> None:
        response = Web(metrics=lambda accept: (f"text/{accept}", b"# metrics\n")).ask("/metrics", "Accept: x")
        assert (response.body, response["content-type"], response["vary"]) == (b"# metrics\n", "text/x", "Accept")

    @pytest.mark.parametrize(
        ("path", "mount"),
        [
            ("/p/internal/simple/six/", "internal"),
            ("/p/internal", "internal"),
            ("/p/simple/six/", "/"),
            ("/p/intern/simple/", "/"),
            ("/healthz", "/"),
            ("/p", "/"),
        ],
    )
    def test_requests_are_told_apart_by_mount(self, path: str, mount: str) -> None:
        web = Web(prefix="/p", mount_names=frozenset({"internal"}))
        web.ask(path)
        (served,) = web.events
        assert isinstance(served, Served)
        assert served.mount == mount

    @pytest.mark.parametrize(
        ("services", "base"),
        [
            ({"prefix": "/a"}, "http://cache.example:8080/a"),
            ({"base_url": "https://pypi.example"}, "https://pypi.example"),
        ],
    )
    def test_the_page_for_people(self, services: dict[str, str], base: str) -> None:
        status = Status()
        response = Web(status=status, **services).ask(
            f"{services.get('prefix', '')}/?q=a%3Cb", host="cache.example:8080"
        )
        assert (response.status, response["content-type"]) == (200, "text/html; charset=utf-8")
        assert status.asked == [(base, "a<b", False)]

    @pytest.mark.parametrize("path", ["/", "/+status"])
    def test_nobody_may_keep_what_is_shown(self, path: str) -> None:
        response = Web().ask(path)
        assert response["cache-control"] == "no-store"
        assert response["referrer-policy"] == "no-referrer"

    def test_the_page_runs_and_loads_nothing_but_what_is_in_it(self) -> None:
        policy = Web().ask("/")["content-security-policy"].split("; ")
        assert policy[0] == "default-src 'none'"
        assert not any("unsafe" in rule or "*" in rule for rule in policy)
        assert {rule.split()[0] for rule in policy if "'none'" in rule} >= {"base-uri", "frame-ancestors"}

    @pytest.mark.parametrize("path", ["/", "/+status"])
    @pytest.mark.parametrize(
        ("services", "headers", "peer", "admin"),
        [
            ({}, (), LOOPBACK, True),
            ({}, ("Sec-Fetch-Site: cross-site",), LOOPBACK, False),
            ({}, (), IPv4Address("TCP", "192.0.2.1", 1), False),
            ({"admin_token": "s3cret"}, (), LOOPBACK, False),
            ({"admin_token": "s3cret"}, ("X-Admin-Token: wrong",), LOOPBACK, False),
            ({"admin_token": "s3cret"}, ("X-Admin-Token: s3cret",), IPv4Address("TCP", "192.0.2.1", 1), True),
        ],
    )
    def test_administrators_are_told_more(
        self, path: str, services: dict[str, str], headers: tuple[str, ...], peer: IPv4Address, admin: bool
    ) -> None:
        status = Status()
        response = Web(status=status, **services).ask(path, *headers, host="localhost:8080", peer=peer)
        assert response.status == 200
        assert status.asked[0][-1] is admin


class TestLoops:
    """Requests that other caches send on."""

    LOOP = "CDN-Loop: pypicache;id=0123456789abcdef"

    def test_what_came_through_here_is_refused_before_anything_is_asked(self) -> None:
        web = Web(identity="0123456789abcdef")
        for path in ("/simple/six/", "/packages/six.whl"):
            response = web.ask(path, self.LOOP)
            assert (response.status, response["cache-control"]) == (508, "no-store")
            assert "asked for this itself" in response.reason
        assert web.pages.askers == []

    def test_what_came_through_another_is_answered(self) -> None:
        assert Web(identity="f" * 16).ask("/simple/six/", self.LOOP).status == 200

    def test_a_request_that_is_begun_behind_an_answer_has_hops_of_its_own(self) -> None:
        web = Web(identity="0123456789abcdef")
        web.pages.hot, web.pages.waiting = False, Deferred()
        transport = web.raw(2 * b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n")
        hops.after(self.LOOP, lambda: web.pages.waiting.callback(None))
        response = parse(transport.value())
        assert (response.status, parse(response.rest).status) == (200, 200)

    def test_health_is_told_to_everybody(self) -> None:
        assert Web(identity="0123456789abcdef").ask("/healthz", self.LOOP).status == 200
