"""Files over HTTP: ranges, conditions, growing bodies, broken ones."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IPushProducer
from zope.interface.verify import verifyObject

from twisted_pypi.answers import CacheState, FileAnswer, Provenance
from twisted_pypi.clocks import WallClock
from twisted_pypi.errors import Forbidden
from twisted_pypi.web.sending import PIECE, STALL, pieces_of
from unit.web_doubles import HIT, Source, Web, at_rest, parse

PATH = "/packages/a.whl"
SHA = "ab" * 32
TAG = f'"sha256:{SHA}"'
BODY = b"0123456789"
GET = f"GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def web_with(source: Source | None, length: int | None = 10, sha256: str = SHA, **more: object) -> Web:
    web = Web()
    web.files.result = FileAnswer(length, sha256, source, HIT, **more)
    return web


def test_a_whole_file() -> None:
    source = at_rest(BODY)
    web = web_with(source)
    response = web.ask(PATH, "Accept-Encoding: gzip")
    assert response.status == 200
    assert response.body == BODY
    assert response["content-type"] == "application/octet-stream"
    assert response["content-length"] == "10"
    assert response["accept-ranges"] == "bytes"
    assert response["etag"] == TAG
    assert response["cache-control"] == "public, max-age=31536000, immutable"
    assert response["x-pypi-cache"] == "HIT"
    assert "content-encoding" not in response
    assert source.closed
    (served,) = web.events
    assert (served.kind, served.size, served.complete) == ("file", 10, True)


def test_an_empty_file() -> None:
    source = at_rest(b"")
    response = web_with(source, 0).ask(PATH)
    assert (response.status, response["content-length"], response.rest) == (200, "0", b"")
    assert source.closed


def test_an_unknown_digest_gives_no_tag() -> None:
    assert "etag" not in web_with(at_rest(BODY), sha256="").ask(PATH)


@pytest.mark.parametrize("length", [10, None])
def test_head(length: int | None) -> None:
    web = web_with(None, length)
    response = web.ask(PATH, "Range: bytes=0-1", method="HEAD")
    assert response.status == 200
    assert ("content-length" in response) is (length is not None)
    assert "transfer-encoding" not in response
    assert response.rest == b""
    assert web.files.askers[0].head
    assert web.files.askers[0].range == ""


def test_not_modified() -> None:
    source = at_rest(BODY)
    response = web_with(source).ask(PATH, f"If-None-Match: {TAG}")
    assert response.status == 304
    assert response["etag"] == TAG
    assert "content-length" not in response
    assert source.closed


@pytest.mark.parametrize(
    ("headers", "status", "body", "content_range"),
    [
        (("Range: bytes=2-4",), 206, b"234", "bytes 2-4/10"),
        (("Range: bytes=-3",), 206, b"789", "bytes 7-9/10"),
        (("Range: bytes=8-100",), 206, b"89", "bytes 8-9/10"),
        (("Range: bytes=2-4", f"If-Range: {TAG}"), 206, b"234", "bytes 2-4/10"),
        (("Range: bytes=2-4", 'If-Range: "other"'), 200, BODY, None),
        (("Range: bytes=2-4", f"If-Range: W/{TAG}"), 200, BODY, None),
        (("Range: bytes=0-1,3-4",), 200, BODY, None),
        (("Range: nonsense",), 200, BODY, None),
        (("Range: bytes=10-",), 416, b"", "bytes */10"),
    ],
)
def test_ranges(headers: tuple[str, ...], status: int, body: bytes, content_range: str | None) -> None:
    source = at_rest(BODY)
    response = web_with(source).ask(PATH, *headers)
    assert response.status == status
    assert response.body == body
    assert response.whole
    assert response["content-length"] == str(len(body))
    assert ("content-range" in response) is (content_range is not None)
    if content_range:
        assert response["content-range"] == content_range
    assert source.closed


def test_an_answer_that_is_a_part_goes_out_as_it_is() -> None:
    web = web_with(at_rest(b"234"), part=(2, 4))
    web.files.result = FileAnswer(10, "", at_rest(b"234"), Provenance(CacheState.BYPASS), part=(2, 4))
    response = web.ask(PATH, "Range: bytes=2-4")
    assert (response.status, response.body, response["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert response["cache-status"] == "pypicache; fwd=bypass"


def test_an_error() -> None:
    web = Web()
    web.files.result = Forbidden("Give --file-host to allow it")
    response = web.ask(PATH)
    assert (response.status, response.reason) == (403, "Give --file-host to allow it")


class TestGrowing:
    """Bodies that are still coming."""

    def test_clients_get_what_is_there_when_it_comes(self) -> None:
        source = Source(b"012", 10)
        web = web_with(source)
        transport = web.raw(GET)
        assert parse(transport.value()).body == b"012"
        source.feed(b"3456789", finished=True)
        web.turn()
        response = parse(transport.value())
        assert response.whole
        assert response.body == BODY
        assert source.closed

    def test_a_range_waits_for_its_bytes_only(self) -> None:
        source = Source(b"012", 10)
        web = web_with(source)
        transport = web.raw(GET.replace(b"\r\n\r\n", b"\r\nRange: bytes=2-4\r\n\r\n"))
        source.feed(b"345")
        web.turn()
        assert parse(transport.value()).body == b"234"
        assert source.closed

    def test_an_unknown_length_is_chunked(self) -> None:
        source = Source(b"012")
        web = web_with(source, None, "")
        transport = web.raw(GET.replace(b"\r\n\r\n", b"\r\nRange: bytes=0-1\r\n\r\n"))
        assert not parse(transport.value()).whole
        source.feed(b"3", finished=True)
        web.turn()
        response = parse(transport.value())
        assert (response.status, response.body, response.whole) == (200, b"0123", True)
        assert response["transfer-encoding"] == "chunked"
        assert "content-length" not in response

    def test_an_unknown_length_ends_with_the_connection_for_http_1_0(self) -> None:
        source = Source(b"0123", finished=True)
        transport = web_with(source, None).raw(GET.replace(b"1.1", b"1.0"))
        response = parse(transport.value())
        assert "transfer-encoding" not in response
        assert response.body == b"0123"
        assert transport.disconnecting
        assert not transport.aborted

    @pytest.mark.parametrize("length", [10, None], ids=["sized", "chunked"])
    def test_a_failed_transfer_is_seen_by_the_client(self, length: int | None) -> None:
        source = Source(b"012", length)
        web = web_with(source, length)
        transport = web.raw(GET)
        source.feed(failure=OSError("broke"))
        web.turn()
        assert not parse(transport.value()).whole
        assert transport.aborted
        assert source.closed
        (served,) = web.events
        assert (served.status, served.size, served.complete) == (200, 3, False)

    def test_bytes_that_failed_their_check_are_not_sent(self) -> None:
        source = Source(b"012", 10)
        web = web_with(source)
        transport = web.raw(GET)
        source.feed(b"3456789", failure=ValueError("digest"))
        web.turn()
        assert parse(transport.value()).body == b"012"
        assert transport.aborted

    def test_a_body_that_is_too_short_is_broken_off(self) -> None:
        transport = web_with(Source(b"012", 10, finished=True)).raw(GET)
        assert transport.aborted
        assert not parse(transport.value()).whole

    def test_a_body_that_cannot_be_read_is_broken_off(self) -> None:
        class Bad(Source):
            def read(self, position: int, limit: int) -> bytes:
                raise ZeroDivisionError

        source = Bad(b"", 10)
        web = web_with(source)
        transport = web.raw(GET)
        assert transport.aborted
        assert source.closed

    def test_a_client_that_leaves_closes_the_source(self) -> None:
        source = Source(b"012", 10)
        web = web_with(source)
        transport = web.raw(GET)
        transport.end()
        assert source.closed
        assert not transport.aborted
        assert [event.complete for event in web.events] == [False]
        source.feed(b"3456789", finished=True)
        web.turn()
        assert parse(transport.value()).body == b"012"


class TestPace:
    """A body goes out as fast as the client takes it."""

    BIG = bytes(range(256)) * (4 * PIECE // 256)

    def start(self) -> tuple[Web, Source, object]:
        source = at_rest(self.BIG)
        web = web_with(source, len(self.BIG))
        transport = web.connect()
        transport.protocol.dataReceived(GET)
        return web, source, transport

    def test_each_piece_is_a_reactor_turn(self) -> None:
        web, source, transport = self.start()
        for pieces in range(1, 4):
            web.clock.advance(0)
            assert len(source.reads) == pieces
        web.turn()
        assert parse(transport.value()).body == self.BIG
        assert source.reads == [PIECE] * 4

    def test_nothing_is_read_while_the_client_is_full(self) -> None:
        web, source, transport = self.start()
        web.clock.advance(0)
        transport.producer.pauseProducing()
        web.turn()
        source.feed(finished=True)
        web.turn()
        assert len(source.reads) == 1
        transport.producer.resumeProducing()
        web.turn()
        assert parse(transport.value()).body == self.BIG

    def test_a_client_that_takes_nothing_is_dropped(self) -> None:
        web, source, transport = self.start()
        web.clock.advance(0)
        transport.producer.pauseProducing()
        web.clock.advance(STALL - 1)
        transport.producer.resumeProducing()
        transport.producer.pauseProducing()
        web.clock.advance(STALL - 1)
        assert not transport.aborted
        web.clock.advance(1)
        assert transport.aborted
        assert source.closed

    @pytest.mark.parametrize("shift", [86400, -86400])
    def test_it_is_so_whatever_time_of_day_is_set_meanwhile(self, shift: int) -> None:
        source = Source(self.BIG, len(self.BIG), finished=True)
        wall = WallClock(None, lambda: web.clock.seconds() + (shift if set_ else 0))
        set_: list[bool] = []
        web = Web(clock=wall)
        wall.reactor = web.clock
        web.files.result = FileAnswer(len(self.BIG), SHA, source, HIT)
        transport = web.connect()
        transport.protocol.dataReceived(GET)
        web.clock.advance(0)
        transport.producer.pauseProducing()
        web.clock.advance(STALL - 1)
        transport.producer.resumeProducing()
        transport.producer.pauseProducing()
        set_.append(True)
        web.clock.advance(1)
        assert not transport.aborted
        web.clock.advance(STALL)
        assert transport.aborted

    def test_no_timers_are_left(self) -> None:
        web, _, transport = self.start()
        transport.producer.pauseProducing()
        transport.producer.resumeProducing()
        web.turn()
        transport.end()
        assert web.clock.getDelayedCalls() == []

    def test_a_transport_that_pauses_and_resumes_while_written_to_does_not_recurse(self) -> None:
        web, source, transport = self.start()
        write = transport.write

        def eager(data: bytes) -> None:
            transport.producer.pauseProducing()
            write(data)
            transport.producer.resumeProducing()

        transport.write = eager
        web.clock.advance(0)
        assert len(source.reads) == 1
        web.turn()
        assert parse(transport.value()).body == self.BIG


def test_the_sender_is_a_push_producer() -> None:
    web = web_with(Source(b"", 10))
    channel = web.raw(GET).protocol
    assert verifyObject(IPushProducer, channel.requests[0].producer)


def test_reading_a_whole_source() -> None:
    assert b"".join(pieces_of(at_rest(BODY), 10)) == BODY
    with pytest.raises(LookupError):
        list(pieces_of(at_rest(BODY), 11))


def test_keep_alive_and_pipelining_after_a_streamed_body() -> None:
    web = web_with(at_rest(BODY))
    transport = web.raw(GET + b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    first = parse(transport.value())
    second = parse(first.rest)
    assert (first.body, second.body) == (BODY, b"ok\n")
