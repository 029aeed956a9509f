"""Transfers and relays: nobody has a complete wrong file, readers never disturb a transfer, windows are bounded."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.answers import ByteSource, Extent
from twisted_pypi.digests import Digests
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import Event, IntegrityFailed
from twisted_pypi.fetching.integrity import HOLD_BACK, first_mismatch
from twisted_pypi.fetching.relay import WINDOW as RELAY_WINDOW
from twisted_pypi.fetching.transfer import PATIENCE, WINDOW, RelaySource, Transfer, TransferResult
from twisted_pypi.storage.memory import MemoryReader
from unit.controlled import ControlledBody

FULL = OSError(28, "No space left on device")
PIECE = 100_000
URL = "https://files.example/x.whl"
CONTENT = random.Random(0).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class MemoryPartial:
    """A partial file in memory, of which `fileno` may pretend that it is on disk."""

    fileno: int | None = None

    def __init__(self, full_at: int | None = None) -> None:
        self.data = bytearray()
        self.passed = bytearray()
        self.origin = None
        self.full_at = full_at
        self.abandoned = self.kept = False

    @property
    def size(self) -> int:
        return len(self.data)

    async def write(self, data: bytes) -> None:
        if self.full_at is not None and len(self.data) + len(data) > self.full_at:
            raise FULL
        self.data += data

    def hexdigest(self, algorithm: str) -> str:
        if algorithm not in ("sha256", "md5"):
            raise ValueError(algorithm)
        return hashlib.new(algorithm, self.data + self.passed).hexdigest()

    def reader(self) -> MemoryReader:
        reader = MemoryReader(self.data)
        reader.fileno = self.fileno
        return reader

    async def digest(self, data: bytes) -> None:
        self.passed += data

    async def publish(self, file: object) -> None:
        raise NotImplementedError

    async def keep(self) -> None:
        self.kept = not self.abandoned

    async def abandon(self) -> None:
        self.abandoned = True


def everything(source: ByteSource, position: int = 0) -> bytes:
    got = b""
    while piece := source.read(position + len(got), 7000):
        got += piece
    return got


class TransferTests(SynchronousTestCase):
    def begin(
        self, expected: dict[str, str] | None = None, length: int | None = None, body_length: int | None = None
    ) -> None:
        self.events: list[Event] = []
        self.clock = Clock()
        self.body, self.partial = ControlledBody(body_length), MemoryPartial()
        self.transfer = Transfer(self.body, self.partial, expected or {}, length, self.events.append, URL, self.clock)
        self.receiving: Deferred[TransferResult] = Deferred.fromCoroutine(self.transfer.receive())

    def refused(self, source: ByteSource, kept: bool = False) -> UpstreamFailed:
        failure = self.failureResultOf(self.receiving, UpstreamFailed).value
        assert source.failure is failure
        assert not source.finished
        assert (self.partial.kept, self.partial.abandoned) == (kept, not kept)
        assert self.body.abandoned
        return failure

    def test_who_can_not_have_a_descriptor_can_not_join(self) -> None:
        self.begin()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryPartial, "reader", lambda partial: (_ for _ in ()).throw(OSError(24, "too many")))
            assert self.transfer.join() is None
        assert self.transfer.join() is not None
        self.body.end()
        self.successResultOf(self.receiving)

    def test_readers_share_a_growing_file(self) -> None:
        self.begin({"sha256": SHA256}, len(CONTENT))
        early = self.transfer.source()
        calls: list[int] = []
        early.subscribe(lambda: calls.append(len(everything(early))))
        self.body.send(CONTENT[:50_000])
        late = self.transfer.source()
        assert everything(late) == everything(early) == CONTENT[: 50_000 - HOLD_BACK]
        assert late.read(40_000, 100) == b""
        assert late.read(1000, 10) == CONTENT[1000:1010]
        self.body.send(CONTENT[50_000:])
        assert everything(late) == CONTENT[:-HOLD_BACK]
        assert not late.finished
        self.body.end()
        assert self.successResultOf(self.receiving) == TransferResult(len(CONTENT), SHA256, True)
        assert everything(late) == everything(early) == CONTENT
        assert late.finished
        assert calls == [50_000 - HOLD_BACK, len(CONTENT) - HOLD_BACK, len(CONTENT)]

    def test_without_a_digest_the_end_must_be_seen(self) -> None:
        self.begin()
        source = self.transfer.source()
        assert source.length is None
        self.body.send(b"small")
        assert everything(source) == b""
        self.body.end()
        assert self.successResultOf(self.receiving).verified is False
        assert (source.length, everything(source)) == (5, b"small")

    def test_wrong_digest(self) -> None:
        self.begin({"sha256": "0" * 64}, len(CONTENT))
        source = self.transfer.source()
        self.body.send(CONTENT)
        self.body.end()
        assert "sha256" in self.refused(source).reason
        assert everything(source) == CONTENT[:-HOLD_BACK]
        assert self.events == [IntegrityFailed(URL, "sha256", "0" * 64, SHA256)]

    def test_any_wrong_digest_counts(self) -> None:
        self.begin({"sha256": SHA256, "md5": "0" * 32})
        source = self.transfer.source()
        self.body.send(CONTENT)
        self.body.end()
        self.refused(source)

    def test_a_digest_nobody_computes_verifies_nothing(self) -> None:
        self.begin({"new-hash": "00"})
        self.body.send(CONTENT)
        self.body.end()
        assert not self.successResultOf(self.receiving).verified

    def test_too_short(self) -> None:
        self.begin(length=10)
        source = self.transfer.source()
        self.body.send(b"123456789")
        self.body.end()
        self.refused(source)
        assert self.events == [IntegrityFailed(URL, "length", "10", "9")]

    def test_too_long_is_not_even_written(self) -> None:
        self.begin(length=10)
        source = self.transfer.source()
        self.body.send(b"12345678901")
        self.refused(source)
        assert self.partial.size == 0

    def test_announced_length_differs(self) -> None:
        self.events = []
        self.body, self.partial = ControlledBody(11), MemoryPartial()
        self.transfer = Transfer(self.body, self.partial, {}, 10, self.events.append, URL, Clock())
        source = self.transfer.source()
        self.receiving = Deferred.fromCoroutine(self.transfer.receive())
        self.refused(source)
        assert self.body.reads == 0

    def test_broken_body(self) -> None:
        self.begin()
        source = self.transfer.source()
        self.body.send(CONTENT)
        broken = UpstreamFailed("connection broke after 100000 bytes", URL)
        self.body.end(broken)
        assert self.refused(source, kept=True) is broken
        assert self.events == []

    def full(self, at: int = 60_000, size: int = 4 * WINDOW) -> bytes:
        """A transfer that meets a full disk after `at` bytes; the first 50,000 came. The content."""
        content = random.Random(2).randbytes(size)
        self.begin({"sha256": hashlib.sha256(content).hexdigest()}, len(content))
        self.partial.full_at = at
        self.body.send(content[:50_000])
        return content

    def pump(self, content: bytes, first: int = 50_000) -> None:
        for at in range(first, len(content), PIECE):
            self.body.send(content[at : at + PIECE])

    def test_who_reads_is_served_on_when_the_disk_is_full(self) -> None:
        content = self.full()
        sources = [self.transfer.source() for _ in range(3)]
        got = [b""] * 3
        for at in range(50_000, len(content), PIECE):
            self.body.send(content[at : at + PIECE])
            assert self.transfer.window.end - self.transfer.window.start <= WINDOW + 2 * PIECE
            for number, source in enumerate(sources[: 2 + (at % 3 == 0)]):
                got[number] += everything(source, len(got[number]))
        self.body.end()
        for number, source in enumerate(sources):
            while len(got[number]) < len(content):
                got[number] += everything(source, len(got[number]))
        result = self.successResultOf(self.receiving)
        assert (result.size, result.verified, str(self.transfer.unstored)) == (len(content), True, str(FULL))
        assert got == [content] * 3
        assert all(source.finished for source in sources)

    def test_who_sends_from_the_disk_goes_on_in_the_window_when_it_is_full(self) -> None:
        content = self.full()
        self.transfer.partial.fileno = 7
        slow, sent = self.transfer.source(), 0
        assert slow.extent(0) == Extent(7, 0, self.transfer.available)
        rest = b""
        for at in range(50_000, len(content), PIECE):
            self.body.send(content[at : at + PIECE])
            while (extent := slow.extent(sent)) and extent.size:
                assert extent.offset == sent
                sent += min(extent.size, 5000)
            if extent is None:
                assert sent == self.partial.size
                rest += everything(slow, sent + len(rest))
        self.body.end()
        assert content[:sent] + rest + everything(slow, sent + len(rest)) == content
        assert self.successResultOf(self.receiving).verified

    def test_the_end_of_what_grows_on_disk_is_held_back(self) -> None:
        self.begin({"sha256": SHA256})
        self.partial.fileno = 7
        source = self.transfer.source()
        self.body.send(CONTENT)
        assert source.extent(0) == Extent(7, 0, len(CONTENT) - HOLD_BACK)
        assert source.extent(len(CONTENT)) == Extent(7, len(CONTENT), 0)
        self.body.end()
        assert source.extent(10) == Extent(7, 10, len(CONTENT) - 10)
        source.close()
        assert source.extent(10) is None

    def test_what_grows_in_memory_lies_in_no_file(self) -> None:
        self.begin()
        assert self.transfer.source().extent(0) is None

    def test_who_waits_for_a_range_further_on_holds_nobody_back_when_the_disk_is_full(self) -> None:
        content = self.full()
        first = len(content) - PIECE
        ahead = self.transfer.source()
        assert ahead.read(first, 7000) == b""
        self.pump(content)
        self.body.end()
        assert everything(ahead, first) == content[first:]
        assert self.successResultOf(self.receiving).verified

    def test_nobody_waits_for_ever_for_a_slow_reader(self) -> None:
        content = self.full()
        slow, fast = self.transfer.source(), self.transfer.source()
        got = b""
        self.pump(content)
        while piece := everything(fast, len(got)):
            got += piece
        assert 2 * WINDOW > len(got) > WINDOW // 2
        assert self.transfer.window.end - self.transfer.window.start <= WINDOW + 2 * PIECE
        assert (slow.read(0, 10), self.transfer.joinable) == (content[:10], True)
        self.clock.advance(PATIENCE - 1)
        assert slow.failure is None
        self.clock.advance(1)
        assert isinstance(slow.failure, UpstreamFailed)
        assert slow.read(10, 10) == b""
        self.body.end()
        while piece := everything(fast, len(got)):
            got += piece
        assert (got, fast.failure, self.transfer.joinable) == (content, None, False)
        assert self.clock.getDelayedCalls() == []

    def test_a_slow_reader_that_leaves_holds_nobody_back(self) -> None:
        content = self.full()
        slow, fast = self.transfer.source(), self.transfer.source()
        self.pump(content)
        self.body.end()
        got = everything(fast)
        slow.close()
        while piece := everything(fast, len(got)):
            got += piece
        assert got == content

    def test_what_nobody_reads_and_no_disk_takes_is_given_up(self) -> None:
        content = self.full()
        source = self.transfer.source()
        source.close()
        self.pump(content)
        assert "nobody reads it" in self.failureResultOf(self.receiving, UpstreamFailed).value.reason
        assert self.body.abandoned

    def test_a_wrong_file_on_a_full_disk(self) -> None:
        content = self.full(size=200_000)
        source = self.transfer.source()
        self.pump(b"X" * len(content))
        got = everything(source)
        self.body.end()
        self.refused(source)
        assert len(got) == len(content) - HOLD_BACK

    def test_stopping(self) -> None:
        self.begin()
        source = self.transfer.source()
        self.receiving.cancel()
        self.failureResultOf(self.receiving, CancelledError)
        assert isinstance(source.failure, UpstreamFailed)
        assert self.partial.kept
        assert self.body.abandoned

    def test_readers_that_leave_or_fail_stop_nothing(self) -> None:
        self.begin()
        first, second = self.transfer.source(), self.transfer.source()
        first.subscribe(first.close)
        second.subscribe(lambda: 1 / 0)
        self.body.send(CONTENT)
        first.close()
        assert first.read(0, 10) == b""
        self.body.end()
        assert self.successResultOf(self.receiving).size == len(CONTENT)
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 2


class RelayTests(SynchronousTestCase):
    def begin(self, expected: dict[str, str] | None = None, length: int | None = None) -> RelaySource:
        self.events: list[Event] = []
        self.body = ControlledBody()
        self.changes = 0
        source = RelaySource(self.body, expected or {}, length, URL, self.events.append)
        source.subscribe(self.count)
        return source

    def count(self) -> None:
        self.changes += 1

    def test_passes_on_what_comes(self) -> None:
        source = self.begin(length=6)
        self.body.send(b"abc")
        assert (source.read(0, 2), source.read(0, 2), source.read(2, 9)) == (b"ab", b"ab", b"c")
        self.body.send(b"def")
        self.body.end()
        assert (source.read(3, 9), source.finished, source.length, self.changes) == (b"def", True, 6, 3)
        with pytest.raises(ValueError, match="has passed"):
            source.read(0, 1)

    def test_pieces_as_large_as_the_window_do_not_wait_for_one_another(self) -> None:
        content = bytes(4 * RELAY_WINDOW)
        source = self.begin({"sha256": hashlib.sha256(content).hexdigest()}, len(content))
        got = 0
        for at in range(0, len(content), RELAY_WINDOW):
            self.body.send(content[at : at + RELAY_WINDOW])
            while data := source.read(got, RELAY_WINDOW):
                got += len(data)
        self.body.end()
        got += len(source.read(got, RELAY_WINDOW))
        assert (got, source.finished) == (len(content), True)

    def test_reader_may_skip(self) -> None:
        source = self.begin()
        assert source.read(4, 2) == b""
        for data in (b"abc", b"def", b"ghi"):
            self.body.send(data)
        assert source.read(4, 2) == b"ef"

    def test_the_end_is_held_back_until_the_digest_matches(self) -> None:
        source = self.begin({"sha256": SHA256})
        self.body.send(CONTENT)
        got = everything(source)
        assert got == CONTENT[:-HOLD_BACK]
        self.body.end()
        assert got + everything(source, len(got)) == CONTENT
        assert source.finished

    def test_wrong_digest(self) -> None:
        source = self.begin({"sha256": "0" * 64})
        self.body.send(CONTENT)
        self.body.end()
        assert everything(source) == CONTENT[:-HOLD_BACK]
        assert isinstance(source.failure, UpstreamFailed)
        assert not source.finished
        assert self.events == [IntegrityFailed(URL, "sha256", "0" * 64, SHA256)]

    def test_wrong_length_and_breaks(self) -> None:
        for sent, failure in ((b"toolong", None), (b"s", None), (b"some", UpstreamFailed("broke", URL))):
            source = self.begin(length=4)
            self.body.send(sent)
            self.body.end(failure)
            assert isinstance(source.failure, UpstreamFailed)
            assert self.body.abandoned

    def test_a_slow_client_stops_upstream(self) -> None:
        source = self.begin()
        piece = bytes(128 << 10)
        for _ in range(8):
            self.body.send(piece)
        assert self.body.reads == 2
        assert len(source.read(0, 1 << 20)) == 256 << 10
        source.read(128 << 10, 1)
        assert self.body.reads == 3

    def test_close_gives_up(self) -> None:
        source = self.begin()
        self.body.send(bytes(512 << 10))
        source.close()
        source.close()
        assert self.body.abandoned
        assert (source.read(0, 10), source.failure, self.changes) == (b"", None, 1)

    def test_close_while_being_told(self) -> None:
        source = self.begin()
        source.subscribe(source.close)
        self.body.send(b"x")
        assert self.body.abandoned


@settings(max_examples=50)
@given(st.binary(max_size=60_000), st.integers(1, 30_000), st.integers(1, 20_000), st.booleans())
def test_relay_gives_the_whole_body_only_if_it_is_right(data: bytes, step: int, limit: int, right: bool) -> None:
    body = ControlledBody()
    source = RelaySource(body, {"sha256": hashlib.sha256(data if right else data + b"!").hexdigest()}, None)
    got = b""
    for start in range(0, len(data), step):
        body.send(data[start : start + step])
        got += source.read(len(got), limit)
    body.end()
    while piece := source.read(len(got), limit):
        got += piece
    assert source.finished is right
    assert got == (data if right else data[: max(0, len(data) - HOLD_BACK)])


def test_hashing() -> None:
    hashing = Digests(["sha256", "blake2b-256", "shake_128", "nonsense"])
    hashing.update(b"data")
    expected = {
        "nonsense": "00",
        "shake_128": "00",
        "sha256": hashlib.sha256(b"data").hexdigest().upper(),
        "blake2b-256": hashlib.blake2b(b"data", digest_size=32).hexdigest(),
    }
    assert first_mismatch(expected, hashing.hexdigest) == (None, True)
    assert first_mismatch({"nonsense": "00"}, hashing.hexdigest) == (None, False)
