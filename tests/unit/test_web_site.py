"""Connections: keep-alive, idle time-out, the orderly end."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from twisted_pypi.web.site import KEEP_ALIVE
from unit.web_doubles import Web, parse

GET = b"GET /simple/six/ HTTP/1.1\r\nHost: h\r\n\r\n"


def test_connections_are_kept() -> None:
    web = Web()
    transport = web.connect()
    for _ in range(3):
        transport.clear()
        transport.protocol.dataReceived(GET)
        assert parse(transport.value()).body == b"<html>"
        web.clock.advance(KEEP_ALIVE - 1)
    assert not transport.disconnecting


def test_idle_connections_are_closed() -> None:
    web = Web()
    transport = web.raw(GET)
    web.clock.advance(KEEP_ALIVE)
    assert transport.disconnecting


def test_one_timer_looks_after_all_connections() -> None:
    web = Web()
    transports = [web.connect() for _ in range(50)]
    assert len(web.clock.getDelayedCalls()) == 1
    web.clock.advance(KEEP_ALIVE - 1)
    transports[0].protocol.dataReceived(GET)
    web.clock.advance(1)
    assert [transport.disconnecting for transport in transports] == [False] + [True] * 49
    transports[0].end()
    assert [call for call in web.clock.getDelayedCalls() if call.func.__name__ == "_look"] == []


def test_a_connection_that_waits_for_its_answer_does_not_idle() -> None:
    web = Web()
    web.pages.hot, web.pages.waiting = False, Deferred()
    transport = web.raw(GET)
    web.clock.advance(10 * KEEP_ALIVE)
    assert not transport.disconnecting
    web.pages.waiting.callback(None)
    web.clock.advance(KEEP_ALIVE)
    assert transport.disconnecting


def test_lines_that_are_too_long_are_refused() -> None:
    long = b"a" * (1 << 15)
    for data, status in (
        (b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % long, 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\nCookie: %s\r\n\r\n" % long, 431),
    ):
        transport = Web().raw(data)
        assert parse(transport.value()).status == status
        assert transport.disconnecting


def test_a_client_that_wants_to_close_is_told_so() -> None:
    transport = Web().raw(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert parse(transport.value())["connection"] == "close"
    assert transport.disconnecting


def test_pipelined_requests_are_answered_in_order() -> None:
    web = Web()
    web.pages.hot, web.pages.waiting = False, Deferred()
    transport = web.raw(GET + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert transport.value() == b""
    web.pages.waiting.callback(None)
    first = parse(transport.value())
    assert (first.body, parse(first.rest).body) == (b"<html>", b"ok\n")


def test_the_orderly_end() -> None:
    web = Web()
    web.pages.hot, web.pages.waiting = False, Deferred()
    busy, idle, begun = web.raw(GET), web.connect(), web.raw(b"GET /simp")
    assert web.site.busy == 1
    closed: list[None] = []
    web.site.when_closed().addCallback(closed.append)
    web.site.drain()
    assert (idle.disconnecting, begun.disconnecting, busy.disconnecting) == (True, True, False)
    assert closed == []
    web.pages.waiting.callback(None)
    response = parse(busy.value())
    assert (response.body, response["connection"]) == (b"<html>", "close")
    assert busy.disconnecting
    assert closed == [None]
    assert web.site.busy == 0


def test_the_hard_end() -> None:
    web = Web()
    web.pages.hot, web.pages.waiting = False, Deferred()
    transport = web.raw(GET)
    web.site.abort()
    assert transport.aborted
    assert [event.complete for event in web.events] == [False]


def test_waiting_for_the_end_can_be_given_up() -> None:
    web = Web()
    transport = web.connect()
    waiting = web.site.when_closed()
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    transport.end()
    assert web.site.when_closed().called


def test_starting_opens_no_log_and_leaves_no_timer() -> None:
    web = Web()
    web.site.doStart()
    assert web.clock.getDelayedCalls() == []
    web.site.doStop()


def test_no_other_protocol_is_offered() -> None:
    assert Web().site.acceptableProtocols() == [b"http/1.1"]
