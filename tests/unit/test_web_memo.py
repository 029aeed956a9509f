"""Answers given again: what is remembered, for how long, and that nobody can tell the difference."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred

from twisted_pypi.answers import FileAnswer
from twisted_pypi.errors import Absent
from twisted_pypi.events import Served
from twisted_pypi.web.memo import LARGEST, LIMIT
from twisted_pypi.web.patience import UNREAD_TIMEOUT
from twisted_pypi.web.repeating import MAX_HEAD, is_head
from twisted_pypi.web.site import KEEP_ALIVE
from unit.web_doubles import FILE, HIT, JSON, Transport, Web, at_rest, parse

GET = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\nUser-Agent: pip/25.0\r\n\r\n"
FILE_GET = GET.replace(b"/simple/six/", b"/packages/a.whl")
NET = ip_network("192.0.2.0/24")


class Parsed:
    """Counts how often the ordinary path was taken."""

    def __init__(self, web: Web) -> None:
        self.count = 0
        resource = web.site.resource
        self._render, resource.render = resource.render, self._counted

    def _counted(self, request: object) -> int:
        self.count += 1
        return self._render(request)


def remembering(**services: object) -> tuple[Web, Parsed]:
    """A site with a memo; its page says of itself whether it is still the same, as caching does."""
    web = Web(**services)
    web.site.memo = web.site.resource.memo
    web.pages.vouches = True
    return web, Parsed(web)


def send(web: Web, transport: Transport, data: bytes = GET) -> bytes:
    """What comes back for these bytes."""
    transport.clear()
    transport.protocol.dataReceived(data)
    web.turn()
    return transport.value()


def warmed(web: Web, data: bytes = GET) -> Transport:
    """A connection, after the request was sent often enough to be remembered."""
    for _ in range(2):
        send(web, web.connect(), data)
    return web.connect()


def is_remembered(data: bytes, **services: object) -> bool:
    web, parsed = remembering(**services)
    transport = warmed(web, data)
    before = parsed.count
    assert send(web, transport, data)
    return parsed.count == before


def test_the_third_time_nothing_is_parsed() -> None:
    web, parsed = remembering()
    transport = web.connect()
    answers = [send(web, transport) for _ in range(10)]
    assert parse(answers[0]).body == b"<html>"
    assert set(answers) == {answers[0]}
    assert parsed.count == 2


def test_a_client_has_the_same_time_to_take_it() -> None:
    web, parsed = remembering()
    transport = warmed(web)
    assert send(web, transport)
    assert parsed.count == 2
    transport.protocol.pauseProducing()  # as a transport does whose buffer is full
    web.clock.advance(UNREAD_TIMEOUT - 1)
    assert not transport.disconnecting
    transport.protocol.resumeProducing()
    web.clock.advance(KEEP_ALIVE - 1)
    assert not transport.disconnecting
    web.clock.advance(2)
    assert transport.disconnecting


def test_and_no_more() -> None:
    web, _ = remembering()
    transport = warmed(web)
    assert send(web, transport)
    transport.protocol.pauseProducing()
    web.clock.advance(UNREAD_TIMEOUT + 1)
    assert transport.disconnecting


def test_other_connections_share_it() -> None:
    web, parsed = remembering()
    first = send(web, warmed(web))
    assert send(web, web.connect()) == first
    assert parsed.count == 2


def test_without_a_memo_everything_is_parsed() -> None:
    web, parsed = remembering()
    web.site.memo = None
    transport = web.connect()
    assert len({send(web, transport) for _ in range(4)}) == 1
    assert parsed.count == 4


@pytest.mark.parametrize(
    "head",
    [
        GET,
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"\r\n\r\n", b"\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n"),
        GET.replace(b" HTTP", b"?format=" + JSON.content_type.encode() + b" HTTP"),
        GET.replace(b"\r\n\r\n", b"\r\nIf-None-Match: *\r\n\r\n"),
        GET.replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\nX-Anything: at all\r\n\r\n"),
    ],
)
def test_what_is_remembered(head: bytes) -> None:
    assert is_remembered(head)


@pytest.mark.parametrize(
    "head",
    [
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"/simple/six/", b"/nowhere"),
        GET.replace(b"/simple/six/", b"/healthz"),
        GET.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * MAX_HEAD + b"\r\n\r\n"),
        GET.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
        b"\r\n" + GET,
        GET + GET,
    ],
)
def test_what_is_not(head: bytes) -> None:
    assert not is_remembered(head)


def test_a_connection_that_is_to_be_closed() -> None:
    web, parsed = remembering()
    closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for _ in range(3):
        transport = web.connect()
        assert parse(send(web, transport, closing))["connection"] == "close"
        assert transport.disconnecting
    assert parsed.count == 3


def test_a_body_is_never_taken_for_a_request() -> None:
    web, parsed = remembering()
    post = GET.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(GET))
    transport = web.connect()
    for times in range(1, 4):
        assert send(web, transport, post) == b""
        assert parse(send(web, transport, GET)).rest == b""
        assert parsed.count == times


def test_answers_that_caching_does_not_vouch_for() -> None:
    web, parsed = remembering()
    web.pages.vouches = False
    transport = web.connect()
    for _ in range(4):
        send(web, transport)
    assert parsed.count == 4


def test_heads_in_pieces_and_together() -> None:
    web, _ = remembering()
    whole = send(web, warmed(web))
    transport = web.connect()
    assert send(web, transport, GET + GET) == whole * 2
    assert send(web, transport, GET + GET[:10]) == whole
    assert send(web, transport, GET[10:]) == whole
    assert send(web, transport, GET[:3]) == b""
    # With what came before it, this is another request.
    assert parse(send(web, transport, GET)).status in (400, 405)


def test_a_head_behind_half_a_line_is_not_remembered_as_that_request() -> None:
    web, _ = remembering()
    other = GET.replace(b"six", b"seven")
    transport = web.connect()
    for _ in range(3):
        send(web, transport, b"GET /simple/six/ HTTP/1.1\r\nX-Rest: ")
        assert parse(send(web, transport, other)).status == 200
    assert parse(send(web, web.connect(), other)).status == 404


def test_pipelined_behind_one_that_waits() -> None:
    web, _ = remembering()
    whole = send(web, warmed(web))
    web.mount.routes["/packages/a.whl"] = Absent("gone")
    transport = web.connect()
    web.pages.hot, web.pages.waiting = False, Deferred()
    assert send(web, transport) == b""
    web.pages.hot = True
    assert send(web, transport) == b""
    web.pages.waiting.callback(None)
    web.turn()
    assert transport.value() == whole * 2


def test_one_that_does_not_take_its_answers() -> None:
    web, parsed = remembering()
    transport = warmed(web)
    before = parsed.count
    transport.protocol.pauseProducing()
    send(web, transport)
    assert parsed.count == before + 1
    transport.protocol.resumeProducing()
    send(web, transport)
    assert parsed.count == before + 1


def test_what_is_asked_meanwhile_is_not_taken_for_what_was_asked_before() -> None:
    web, _ = remembering()
    web.files.hot = FileAnswer(5, "ab" * 32, b"wheel", HIT, still=lambda: True)
    transport = web.connect()
    page = send(web, transport)
    transport.protocol.pauseProducing()
    assert parse(send(web, transport, FILE_GET)).body == b"wheel"
    assert send(web, transport, FILE_GET) == b""
    transport.clear()
    transport.protocol.resumeProducing()
    assert parse(transport.value()).body == b"wheel"
    for _ in range(3):
        assert send(web, web.connect()) == page


def date_of(raw: bytes) -> str:
    return parse(raw)["date"]


def test_each_second_it_is_made_anew() -> None:
    web, parsed = remembering()
    transport = warmed(web)
    first = send(web, transport)
    web.pages.provenance = evolve(HIT, ttl=10.5)
    assert send(web, transport) == first
    web.clock.advance(1)
    second = send(web, transport)
    assert date_of(second) != date_of(first)
    assert parse(second)["cache-control"] == "public, max-age=10"
    assert parse(second)["cache-status"] == "pypicache; hit; ttl=10"
    assert parsed.count == 2


def replaced(web: Web) -> None:
    web.pages.bodies["html", "identity"] = b"<new>"
    web.pages.renew()


def cold(web: Web) -> None:
    web.pages.hot = False


@pytest.mark.parametrize("change", [replaced, cold])
@pytest.mark.parametrize("seconds", [0, 1, 100])
def test_it_does_not_outlive_what_it_was_made_of(change: Callable[[Web], None], seconds: int) -> None:
    web, _ = remembering()
    transport = warmed(web)
    send(web, transport)
    change(web)
    web.clock.advance(seconds)
    plain, _ = remembering()
    plain.site.memo = None
    plain.pages.bodies, plain.pages.hot = web.pages.bodies, web.pages.hot
    plain.clock.rightNow = web.clock.rightNow
    assert send(web, transport) == send(plain, plain.connect())


def test_a_path_that_is_gone() -> None:
    web, _ = remembering()
    transport = warmed(web)
    web.mount.routes["/simple/six/"] = Absent("gone")
    web.clock.advance(1)
    assert parse(send(web, transport)).status == 404


def test_draining() -> None:
    web, _ = remembering()
    transport = warmed(web)
    web.site.drain()
    transport.clear()
    assert parse(send(web, transport))["connection"] == "close"
    assert transport.disconnecting
    late = web.connect()
    assert parse(send(web, late))["connection"] == "close"


def test_clients_that_are_not_allowed() -> None:
    web, _ = remembering(allow=(NET,))
    assert parse(send(web, warmed(web))).status == 200
    for _ in range(3):
        stranger = web.connect(IPv4Address("TCP", "198.51.100.1", 4000))
        assert parse(send(web, stranger)).status == 403


def test_behind_a_trusted_proxy_each_request_is_looked_at() -> None:
    head = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n")
    assert is_remembered(head)
    assert not is_remembered(head, trusted_proxy=(NET,))
    web, parsed = remembering(trusted_proxy=(NET,))
    warmed(web, head)
    other = web.connect(IPv4Address("TCP", "198.51.100.2", 4000))
    send(web, other, head)
    assert parsed.count == 3
    web, _ = remembering(trusted_proxy=(NET,), allow=(NET,))
    for _ in range(3):
        assert parse(send(web, web.connect(), head)).status == 403


def test_every_answer_is_reported_for_its_client() -> None:
    web, _ = remembering()
    warmed(web)
    for number in range(200):
        send(web, web.connect(IPv4Address("TCP", f"192.0.2.{number}", 4000)))
    served = [event for event in web.events if isinstance(event, Served)]
    assert [event.client for event in served[2:]] == [f"192.0.2.{number}" for number in range(200)]
    assert {evolve(event, client="", seconds=0.0) for event in served} == {evolve(served[0], client="", seconds=0.0)}


def test_what_is_reported_follows_the_answer() -> None:
    web, _ = remembering()
    transport = warmed(web)
    web.pages.bodies["html", "identity"] = b"<longer html>"
    web.pages.renew()
    web.clock.advance(1)
    assert parse(send(web, transport)).body == b"<longer html>"
    assert web.events[-1].size == len(b"<longer html>")


def test_the_idle_time_begins_anew() -> None:
    web, parsed = remembering()
    transport = warmed(web)
    for _ in range(5):
        web.clock.advance(KEEP_ALIVE - 2)
        send(web, transport)
    assert parsed.count == 2
    assert not transport.disconnecting
    web.clock.advance(KEEP_ALIVE + 1)
    assert transport.disconnecting


def test_an_answer_whose_second_has_passed_holds_nothing() -> None:
    web, parsed = remembering()
    web.mount.routes["/old.whl"] = web.mount.routes["/new.whl"] = FILE
    held = []
    for path in (b"/old.whl", b"/new.whl"):
        still = Mock(return_value=True)
        held.append(weakref.ref(still))
        web.files.hot = FileAnswer(5, "ab" * 32, b"wheel", HIT, still=still)
        head = FILE_GET.replace(b"/packages/a.whl", path)
        answer = send(web, warmed(web, head), head)
        web.clock.advance(1)
    del still
    web.files.hot = FileAnswer(5, "ab" * 32, b"wheel", HIT, still=lambda: True)
    gc.collect()
    assert [ref() is None for ref in held] == [True, False]
    before = parsed.count
    assert parse(send(web, web.connect(), head)).body == parse(answer).body == b"wheel"
    assert parsed.count == before


def test_no_page_is_held_that_was_replaced() -> None:
    web = Web()
    send(web, web.connect())
    held = weakref.ref(web.pages.page())
    web.pages.renew()
    web.clock.advance(1)
    send(web, web.connect(), GET.replace(b"\r\n\r\n", b"\r\nAccept: " + JSON.content_type.encode() + b"\r\n\r\n"))
    gc.collect()
    assert held() is None


class TestFiles:
    def remembering(self, body: bytes) -> tuple[Web, Parsed]:
        web, parsed = remembering()
        web.files.hot = FileAnswer(len(body), "ab" * 32, body, HIT, still=lambda: True)
        return web, parsed

    @pytest.mark.parametrize("lines", [b"", b"\r\nRange: bytes=2-3", b"\r\nRange: bytes=9-", b"\r\nIf-None-Match: *"])
    def test_small_ones(self, lines: bytes) -> None:
        web, parsed = self.remembering(b"wheel")
        head = FILE_GET.replace(b"\r\n\r\n", lines + b"\r\n\r\n")
        transport = web.connect()
        answers = {send(web, transport, head) for _ in range(5)}
        assert len(answers) == 1
        assert parsed.count == 2
        assert parse(answers.pop()).status in (200, 206, 304, 416)

    def test_one_that_has_grown_past_memory_is_not_left_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        web, _ = self.remembering(b"wheel")
        transport = warmed(web, FILE_GET)
        grown = []

        def ready(*_: object) -> FileAnswer:
            grown.append(at_rest(b"another wheel"))
            return FileAnswer(13, "cd" * 32, grown[-1], HIT)

        web.clock.advance(1)
        monkeypatch.setattr(type(web.files), "ready", ready)
        assert parse(send(web, transport, FILE_GET)).body == b"another wheel"
        assert [source.closed for source in grown] == [True, True]

    def test_a_body_over_the_bound(self) -> None:
        web, parsed = self.remembering(b"x" * (LARGEST + 1))
        transport = warmed(web, FILE_GET)
        assert parse(send(web, transport, FILE_GET)).whole
        assert parsed.count == 3

    def test_memory_is_bounded(self) -> None:
        web, parsed = self.remembering(b"x" * LARGEST)
        for number in range(2 * LIMIT // LARGEST):
            web.mount.routes[f"/{number}"] = FILE
            transport = warmed(web, FILE_GET.replace(b"/packages/a.whl", b"/%d" % number))
        before = parsed.count
        send(web, transport, FILE_GET.replace(b"/packages/a.whl", b"/%d" % number))
        assert parsed.count == before
        send(web, transport, FILE_GET.replace(b"/packages/a.whl", b"/0"))
        assert parsed.count == before + 1


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_only_one_whole_head_is_looked_up(before: bytes, after: bytes) -> None:
    assume(not before.startswith((b"GET /", b"HEAD /")))  # an odd request line, but one head all the same
    assert is_head(GET)
    assert is_head(before + GET + after) == (not before and not after)


def test_no_part_of_a_head_is_looked_up() -> None:
    assert [cut for cut in range(len(GET)) if is_head(GET[:cut])] == []
