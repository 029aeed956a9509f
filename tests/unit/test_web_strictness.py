"""Hostile, broken and odd requests, in memory: what is answered, what is reported, and what stays unread."""

from __future__ import annotations

import pytest
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol, ISSLTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from e2e.corpus import CONTINUE, CORPUS, FOLLOWING, PAGE, SMUGGLED, Case
from twisted_pypi.answers import FileAnswer
from twisted_pypi.events import RequestRefused, Served
from twisted_pypi.http.request_head import MAX_BODY
from twisted_pypi.web.strictness import BODY_TIME, LINGER
from unit.web_doubles import HIT, Response, Transport, Web, at_rest, parse

GET = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n"
GARBAGE = b"garbage\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


@implementer(IHalfCloseableDescriptor)
class HalfCloseable(Transport):
    """A connection whose sending side can be closed alone."""

    shut = False

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.shut = True


@implementer(ISSLTransport)
class Secure(HalfCloseable):
    """One with TLS, which claims what the socket below it can do."""

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """Nothing that matters here."""


def half_closeable(web: Web, data: bytes, transport: HalfCloseable | None = None) -> HalfCloseable:
    transport = transport or HalfCloseable()
    transport.protocol = web.site.buildProtocol(None)
    transport.protocol.makeConnection(transport)
    transport.protocol.dataReceived(data)
    return transport


def answers(raw: bytes) -> list[Response]:
    found = []
    while raw:
        found.append(parse(raw))
        raw = found[-1].rest
    return found


def outcome(case: Case, size: int) -> list[tuple[int, bytes]]:
    """The answers to a case with `FOLLOWING` behind it, sent in pieces of `size`."""
    web = Web()
    transport = web.connect()
    data = case.raw + FOLLOWING
    for start in range(0, len(data), size):
        if not transport.disconnecting:
            transport.protocol.dataReceived(data[start : start + size])
            web.turn(2)
    assert transport.disconnecting
    assert all(event.target != "/smuggled" for event in web.events if isinstance(event, Served))
    return [(answer.status, answer.body) for answer in answers(transport.value().removeprefix(CONTINUE))]


@pytest.mark.parametrize("case", CORPUS, ids=[case.name for case in CORPUS])
def test_the_corpus(case: Case) -> None:
    got = outcome(case, 1 << 30)
    assert got[0][0] in case.statuses
    if case.closes is not None:
        assert len(got) == (1 if case.closes else 2)
    assert len(got) == 1 or got[1] == (200, b"ok\n")


@pytest.mark.parametrize("case", [case for case in CORPUS if len(case.raw) < 3000], ids=lambda case: case.name)
@pytest.mark.parametrize("size", [1, 7])
def test_how_the_bytes_are_cut_makes_no_difference(case: Case, size: int) -> None:
    assert outcome(case, size) == outcome(case, 1 << 30)


class TestRefusals:
    def test_have_our_headers_the_reason_and_a_body(self) -> None:
        answer = parse(Web().raw(GARBAGE).value())
        assert (answer.status, answer.reason) == (400, "The request line is not one of HTTP")
        assert (answer["server"], answer["connection"]) == ("pypicache", "close")
        assert (answer["x-content-type-options"], answer["content-type"]) == ("nosniff", "text/plain; charset=utf-8")
        assert (answer.body, answer.rest) == (b"The request line is not one of HTTP\n", b"")
        assert "date" in answer

    def test_are_problem_documents_for_who_takes_json(self) -> None:
        raw = b"GET / HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nX: y\r\nbad\r\n\r\n"
        assert parse(Web().raw(raw).value())["content-type"] == "application/problem+json"

    def test_of_head_have_no_body(self) -> None:
        raw = Web().raw(b"HEAD / HTTP/1.1\r\nbad\r\n\r\n").value()
        assert raw.startswith(b"HTTP/1.1 400 ")
        assert raw.endswith(b"\r\n\r\n")

    def test_are_reported_once(self) -> None:
        web = Web()
        web.raw(GARBAGE + GARBAGE)
        refused, served = web.events
        assert refused == RequestRefused("192.0.2.7", 400, "The request line is not one of HTTP")
        assert isinstance(served, Served)
        assert (served.method, served.target, served.protocol, served.status) == ("-", "-", "-", 400)

    def test_name_the_request_where_there_was_one(self) -> None:
        web = Web()
        web.raw(b"GET /x?secret HTTP/1.1\r\nbad\r\n\r\n")
        served = web.events[-1]
        assert isinstance(served, Served)
        assert (served.method, served.target, served.protocol) == ("GET", "/x", "HTTP/1.1")

    def test_of_a_client_on_a_unix_socket(self) -> None:
        web = Web()
        web.raw(GARBAGE, UNIXAddress(None))
        assert isinstance(web.events[0], RequestRefused)
        assert web.events[0].client == ""

    def test_come_after_the_answers_before_them(self) -> None:
        web = Web()
        web.pages.hot, web.pages.waiting = False, Deferred()
        transport = web.raw(GET + GARBAGE + SMUGGLED)
        assert transport.value() == b""
        web.pages.waiting.callback(None)
        assert [answer.status for answer in answers(transport.value())] == [200, 400]

    def test_of_an_announced_body_come_before_it_is_called_for(self) -> None:
        raw = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (MAX_BODY + 1)
        assert [answer.status for answer in answers(Web().raw(raw).value())] == [413]


class TestLingering:
    def test_the_answer_reaches_a_client_that_is_still_sending(self) -> None:
        web = Web()
        transport = half_closeable(web, GARBAGE)
        assert transport.shut
        assert not transport.disconnecting
        sent = transport.value()
        transport.protocol.dataReceived(GET)
        assert transport.value() == sent
        transport.protocol.readConnectionLost()
        assert transport.disconnecting

    def test_ends_in_the_end(self) -> None:
        web = Web()
        transport = half_closeable(web, GARBAGE)
        for _ in range(5):
            assert not transport.aborted
            transport.protocol.dataReceived(b"more")
            web.clock.advance(LINGER / 5)
        assert transport.aborted

    def test_leaves_no_timer_behind(self) -> None:
        web = Web()
        half_closeable(web, GARBAGE).end()
        assert web.clock.getDelayedCalls() == []

    def test_is_not_for_tls_where_sending_cannot_be_closed_alone(self) -> None:
        transport = half_closeable(Web(), GARBAGE, Secure())
        assert transport.disconnecting
        assert not transport.shut
        assert parse(transport.value()).status == 400

    def test_is_over_at_the_orderly_end(self) -> None:
        web = Web()
        transport = half_closeable(web, GARBAGE)
        web.site.drain()
        assert transport.disconnecting


class TestSlowBodies:
    def test_have_a_limit_however_steadily_they_trickle(self) -> None:
        web = Web()
        transport = web.raw(POST)
        for _ in range(4):
            transport.protocol.dataReceived(b"x")
            web.clock.advance(BODY_TIME / 4)
        assert parse(transport.value()).status == 408
        assert transport.disconnecting

    def test_that_come_in_time_leave_no_timer_behind(self) -> None:
        web = Web()
        transport = web.raw(POST)
        transport.protocol.dataReceived(b"12345")
        web.clock.advance(BODY_TIME)
        assert [answer.status for answer in answers(transport.value())] == [405]
        assert not transport.disconnecting

    def test_of_clients_that_left_leave_no_timer_behind(self) -> None:
        web = Web()
        transport = web.raw(POST)
        transport.end()
        assert web.clock.getDelayedCalls() == []
        assert web.events == []


class TestHalfClose:
    def test_the_channel_can_be_told(self) -> None:
        assert verifyObject(IHalfCloseableProtocol, Web().connect().protocol)

    def test_what_was_asked_for_is_answered(self) -> None:
        web = Web()
        web.pages.hot, web.pages.waiting = False, Deferred()
        transport = half_closeable(web, GET + FOLLOWING.replace(b"Connection: close\r\n", b""))
        transport.protocol.readConnectionLost()
        web.pages.waiting.callback(None)
        assert [answer.body for answer in answers(transport.value())] == [b"<html>", b"ok\n"]
        assert not transport.disconnecting
        transport.protocol.readConnectionLost()  # as a socket tells again, once it is read again
        assert transport.disconnecting

    def test_half_a_request_is_not_waited_for(self) -> None:
        transport = half_closeable(Web(), GET[:-2])
        transport.protocol.readConnectionLost()
        assert transport.disconnecting


class TestPipelining:
    def test_a_hundred_requests_at_once(self) -> None:
        assert [answer.body for answer in answers(Web().raw(GET * 100).value())] == [b"<html>"] * 100

    def test_a_client_that_reads_nothing_gets_no_further_answers(self) -> None:
        web = Web()
        transport = web.connect()
        channel = transport.protocol
        write = transport.writeSequence

        def write_and_fill(pieces: list[bytes]) -> None:
            write(pieces)
            channel.pauseProducing()

        transport.writeSequence = write_and_fill
        channel.dataReceived(GET * 3)
        channel.dataReceived(GET)
        assert len(answers(transport.value())) == 1
        assert transport.producerState == "paused"
        channel.resumeProducing()
        assert len(answers(transport.value())) == 2
        transport.writeSequence = write
        channel.resumeProducing()
        assert len(answers(transport.value())) == 4
        assert transport.producerState == "producing"

    def test_filling_up_in_the_middle_of_an_answer_loses_nothing(self) -> None:
        web = Web()
        web.files.result = FileAnswer(6, "ab" * 32, at_rest(b"sample"), HIT)
        transport = web.connect()
        channel = transport.protocol
        channel.dataReceived(GET.replace(PAGE.encode(), b"/packages/a.whl") + GET)
        channel.pauseProducing()
        web.turn()
        assert parse(transport.value()).body == b""
        channel.resumeProducing()
        web.turn()
        assert [answer.body for answer in answers(transport.value())] == [b"sample", b"<html>"]
