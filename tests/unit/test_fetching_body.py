"""Upstream bodies: back-pressure, patience, ends; and content codings in bounded memory."""

from __future__ import annotations

import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import BytesFetched, Event
from twisted_pypi.fetching.body import HIGH_WATER, READ_SIZE, TURN, Drain, HttpBody, SharedTurns, read_decoded
from twisted_pypi.fetching.decoding import PIECE, ZSTD_WINDOW, decoder_for

T = TypeVar("T")

URL = "https://files.example/x"


class BodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.ended = 0
        self.transport = StringTransport(lenient=True)
        self.body = HttpBody(URL, None, self.clock, 10.0, self.events.append, self.end)
        self.body.makeConnection(self.transport)

    def end(self) -> None:
        self.ended += 1

    def read(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.body.read())

    def lose(self, reason: Exception) -> None:
        self.body.connectionLost(Failure(reason))

    def test_everything_buffered_is_given_at_once(self) -> None:
        for data in (b"a", b"b", b"c"):
            self.body.dataReceived(data)
        assert self.successResultOf(self.read()) == b"abc"
        assert self.events == [BytesFetched(1)] * 3

    def test_a_reader_waits_for_data_and_for_the_end(self) -> None:
        reading = self.read()
        self.assertNoResult(reading)
        self.body.dataReceived(b"data")
        assert self.successResultOf(reading) == b"data"
        reading = self.read()
        self.lose(ResponseDone())
        assert self.successResultOf(reading) == b""
        assert self.successResultOf(self.read()) == b""
        assert (self.body.delimited, self.ended, self.clock.getDelayedCalls()) == (True, 1, [])

    def test_end_by_closing_is_not_delimited(self) -> None:
        self.lose(PotentialDataLoss())
        assert self.successResultOf(self.read()) == b""
        assert not self.body.delimited

    def test_pauses_when_full_and_goes_on_when_read(self) -> None:
        piece = b"x" * (64 << 10)
        for _ in range(HIGH_WATER // len(piece)):
            assert self.transport.producerState == "producing"
            self.body.dataReceived(piece)
        assert self.transport.producerState == "paused"
        assert len(self.successResultOf(self.read())) == READ_SIZE
        assert self.transport.producerState == "paused"
        self.successResultOf(self.read())
        assert self.transport.producerState == "producing"

    def test_a_large_piece_is_given_in_bounded_ones(self) -> None:
        sent = bytes(range(256)) * 4096
        self.body.dataReceived(sent)
        self.lose(ResponseDone())
        got = []
        while piece := self.successResultOf(self.read()):
            got.append(piece)
        assert b"".join(got) == sent
        assert max(map(len, got)) <= READ_SIZE

    def test_data_before_a_break_is_given_before_it(self) -> None:
        self.body.dataReceived(b"12345")
        self.lose(ResponseFailed([Failure(ConnectionLost())]))
        assert self.successResultOf(self.read()) == b"12345"
        failure = self.failureResultOf(self.read(), UpstreamFailed).value
        assert (failure.reason, failure.url, failure.unreachable) == ("connection broke after 5 bytes", URL, False)
        assert self.ended == 1

    def test_silence_while_the_reader_waits(self) -> None:
        reading = self.read()
        self.clock.advance(9.9)
        self.body.dataReceived(b"x")
        self.successResultOf(reading)
        reading = self.read()
        self.clock.advance(9.9)
        self.assertNoResult(reading)
        self.clock.advance(0.2)
        assert self.failureResultOf(reading, UpstreamFailed).value.reason == "no data within 10 s"
        assert (self.transport.disconnecting, self.ended) == (True, 1)

    def test_no_clock_runs_while_nobody_reads(self) -> None:
        self.body.dataReceived(b"x")
        self.successResultOf(self.read())
        self.clock.advance(1000)
        self.body.dataReceived(b"y")
        assert self.successResultOf(self.read()) == b"y"

    def test_abandon(self) -> None:
        reading = self.read()
        self.body.abandon()
        self.body.abandon()
        self.failureResultOf(reading, UpstreamFailed)
        self.body.dataReceived(b"late")
        self.lose(ConnectionLost())
        self.failureResultOf(self.read(), UpstreamFailed)
        assert (self.transport.disconnecting, self.ended) == (True, 1)

    def test_abandon_after_the_end_closes_nothing(self) -> None:
        self.body.dataReceived(b"x")
        self.lose(ResponseDone())
        self.body.abandon()
        assert not self.transport.disconnecting
        self.failureResultOf(self.read(), UpstreamFailed)

    def test_a_cancelled_reader_loses_nothing(self) -> None:
        reading = self.read()
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        self.body.dataReceived(b"kept")
        assert self.successResultOf(self.read()) == b"kept"
        assert self.clock.getDelayedCalls() == []


class DrainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.transport = Clock(), StringTransport()
        self.drain = Drain(self.clock, 5.0)
        self.drain.makeConnection(self.transport)

    def test_a_small_body_keeps_the_connection(self) -> None:
        self.drain.dataReceived(b"x" * 65536)
        self.drain.connectionLost(Failure(ResponseDone()))
        assert not self.transport.disconnecting
        assert self.clock.getDelayedCalls() == []

    def test_a_large_or_slow_one_does_not(self) -> None:
        self.drain.dataReceived(b"x" * 65537)
        assert self.transport.disconnecting
        other = StringTransport()
        Drain(self.clock, 5.0).makeConnection(other)
        self.clock.advance(5)
        assert other.disconnecting


class MemoryBody:
    """A body in memory, in pieces."""

    length = None
    delimited = True

    def __init__(self, *pieces: bytes) -> None:
        self.pieces: Iterator[bytes] = iter(pieces)
        self.abandoned = False

    async def read(self) -> bytes:
        return next(self.pieces, b"")

    def abandon(self) -> None:
        self.abandoned = True


def run(coroutine: object) -> object:
    """The result of a coroutine that waits for nothing."""
    results: list[object] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)  # type: ignore[arg-type]
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODINGS = {
    "": bytes,
    "Identity": bytes,
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": raw_deflate,
    "zstd": zstandard.compress,
}


def decoded(coding: str, coded: bytes, step: int = 1000, limit: int = 1 << 20) -> bytes:
    out = io.BytesIO()
    pieces = [coded[start : start + step] for start in range(0, len(coded), step)]
    assert run(read_decoded(MemoryBody(*pieces), coding, limit, out)) == len(out.getvalue())
    return out.getvalue()


@given(st.sampled_from(sorted(CODINGS)), st.binary(max_size=3000), st.integers(1, 500))
def test_round_trip_in_any_pieces(coding: str, data: bytes, step: int) -> None:
    assert decoded(coding, CODINGS[coding](data), step) == data


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 100), st.integers(0, 9))
def test_several_members(parts: list[bytes], step: int, padding: int) -> None:
    assert decoded("gzip", b"".join(map(gzip.compress, parts)) + b"\0" * padding, step) == b"".join(parts)
    assert decoded("zstd", b"".join(map(zstandard.compress, parts)), step) == b"".join(parts)


@pytest.mark.parametrize("coding", ["gzip", "deflate", " deflate ", "zstd"])
@pytest.mark.parametrize("kept", [0, 1, 5, 0.5, -1])
def test_truncated(coding: str, kept: float) -> None:
    coded = CODINGS[coding](bytes(range(256)) * 20)
    cut = int(len(coded) * kept) if isinstance(kept, float) else kept
    with pytest.raises(UpstreamFailed, match="truncated"):
        decoded(coding, coded[:cut])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br", "gzip, gzip"])
def test_garbage_and_unknown_codings(coding: str) -> None:
    body = MemoryBody(b"\xff\xffcertainly not coded")
    with pytest.raises(UpstreamFailed, match=r"cod|zstd"):
        run(read_decoded(body, coding, 1 << 20, io.BytesIO()))
    assert body.abandoned


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_too_large(coding: str) -> None:
    data = b"x" * 5000
    assert decoded(coding, CODINGS[coding](data), limit=5000) == data
    with pytest.raises(UpstreamFailed, match="larger than 4999 bytes"):
        decoded(coding, CODINGS[coding](data), limit=4999)


def test_input_without_output_is_bounded_too() -> None:
    with pytest.raises(UpstreamFailed, match="larger"):
        decoded("gzip", gzip.compress(b"") + b"\0" * 5000, limit=4000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_bomb_bursts_in_small_pieces(coding: str) -> None:
    coded = CODINGS[coding](bytes(64 << 20))
    bound = ZSTD_WINDOW // 4 if coding == "zstd" else PIECE
    sizes = [len(piece) for piece in decoder_for(coding).decode(coded)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= bound


def test_writing_may_be_awaited() -> None:
    written: list[bytes] = []

    class Slow:
        async def write(self, data: bytes) -> None:
            written.append(data)

    assert run(read_decoded(MemoryBody(b"ab", b"c"), "", 10, Slow())) == 3
    assert written == [b"ab", b"c"]


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_that_hold_nothing_are_not_read_forever(coding: str) -> None:
    empty = CODINGS[coding](b"")
    assert decoded(coding, empty * 5000) == b""
    with pytest.raises(UpstreamFailed, match="more than 5000 members"):
        decoded(coding, empty * 5001)


def test_a_bomb_leaves_the_reactor_its_turns() -> None:
    turns: list[int] = []

    class Counting:
        async def run(self, function: Callable[..., T], *arguments: Any) -> T:
            turns.append(out.tell())
            return function(*arguments)

    out = io.BytesIO()
    data = bytes(range(256)) * (64 << 10)
    run(read_decoded(MemoryBody(gzip.compress(data)), "gzip", 1 << 30, SharedTurns(out, Counting())))
    assert out.getvalue() == data
    assert max(after - before for before, after in itertools.pairwise([0, *turns, len(data)])) <= TURN + PIECE
