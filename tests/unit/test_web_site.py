"""Connections: keep-alive, idle time-out, the orderly end."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from twisted_pypi.web.deadlines import INTERVAL, RECENT
from twisted_pypi.web.patience import REQUEST_TIMEOUT
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
    idle, begun = web.connect(), web.raw(b"GET /simp")
    web.clock.advance(RECENT)
    busy = web.raw(GET)
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


def test_at_the_end_the_next_request_of_a_connection_in_use_is_awaited_and_answered() -> None:
    """As it may be under way already, it would be lost; and clients that give up on that are many."""
    web = Web()
    new, used, silent = web.connect(), web.raw(GET), web.connect()
    used.clear()
    web.clock.advance(RECENT / 2)
    web.site.drain()
    for transport in (new, used):
        assert not transport.disconnecting
        transport.protocol.dataReceived(GET)
        web.turn()
        response = parse(transport.value())
        assert (response.status, response["connection"]) == (200, "close")
        assert transport.disconnecting
    assert not silent.disconnecting
    web.clock.advance(RECENT + INTERVAL)
    assert silent.disconnecting


def test_at_the_end_a_request_that_has_begun_gets_its_time() -> None:
    web = Web()
    transport = web.connect()
    web.site.drain()
    transport.protocol.dataReceived(GET[:10])
    web.clock.advance(REQUEST_TIMEOUT - 1)
    transport.protocol.dataReceived(GET[10:])
    web.turn()
    assert parse(transport.value()).status == 200


def test_a_connection_that_comes_at_the_end_is_answered_or_soon_closed() -> None:
    web = Web()
    web.site.drain()
    silent, asking = web.connect(), web.raw(GET)
    assert parse(asking.value())["connection"] == "close"
    web.clock.advance(RECENT + INTERVAL)
    assert silent.disconnecting


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
