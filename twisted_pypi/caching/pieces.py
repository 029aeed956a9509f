"""Reading a few pieces of a file upstream, where the whole isn't needed: a wheel's metadata costs kilobytes of a wheel.

Whoever reads the file (a library that wants a file object) is run over the pieces that are there; where it wants
another, that is fetched, and it is run again. So nothing here knows what kind of file it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import BinaryIO, cast

from attrs import define

from twisted_pypi.caching.passing import relayed_part
from twisted_pypi.caching.streams import SeekableBytes
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.interfaces import Fetched, Workers

TAIL = (64 << 10) + 22
"""Bytes at the end that are asked for first: where a zip file's directory ends, with the longest comment after it
(APPNOTE 4.3.16), and where wheels have what describes them."""

AHEAD = 16 << 10
"""Bytes that are asked for at least."""

MAX_REQUESTS = 6
MAX_BYTES = 8 << 20

FetchRange = Callable[[str], Awaitable[Fetched]]
"""The file, with a `Range` header. Raises as `Transfers.fetch`."""


class Missing(Exception):
    """A piece is wanted that isn't there: from `start` to before `end`."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"{start}-{end}")
        self.start, self.end = start, end


class Pieces(SeekableBytes):
    """A file of `length` bytes of which only some are there; reading others raises `Missing`."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._pieces: list[tuple[int, bytes]] = []

    def add(self, start: int, data: bytes) -> None:
        """The bytes from `start` on."""
        self._pieces.append((start, data))

    def at(self, start: int, end: int) -> bytes:
        """See `SeekableBytes`. Raises `Missing`."""
        for first, data in self._pieces:
            if first <= start and end <= first + len(data):
                return data[start - first : end - first]
        raise Missing(start, end)


@define
class PieceReader:
    """Runs `derive` over the pieces of one file. `size` is the whole file's, None if it isn't known."""

    fetch: FetchRange
    workers: Workers
    derive: Callable[[BinaryIO], bytes]
    size: int | None = None
    _etag: str = ""
    _fetched: int = 0

    async def read(self) -> bytes | None:
        """What `derive` makes of the file; None when upstream answers no ranges.

        Raises `ValueError` when it can't be made, or not of so few bytes; `Absent` and `UpstreamFailed`.
        """
        first = f"bytes={max(0, self.size - TAIL)}-{self.size - 1}" if self.size else f"bytes=-{TAIL}"
        piece = await self._piece(first)
        if piece is None:
            return None
        start, whole, data = piece
        pieces = Pieces(whole)
        pieces.add(start, data)
        for _ in range(MAX_REQUESTS):
            try:
                return await self.workers.run(self.derive, cast(BinaryIO, pieces))
            except Missing as gap:
                start, end = gap.start, min(max(gap.end, gap.start + AHEAD), whole)
            if self._fetched + end - start > MAX_BYTES:
                break
            piece = await self._piece(f"bytes={start}-{end - 1}")
            if piece is None or piece[1] != whole:
                raise ValueError("it changed between two pieces")
            pieces.add(start, piece[2])
        raise ValueError("it takes too much of the file")

    async def _piece(self, range_: str) -> tuple[int, int, bytes] | None:
        """(where it begins, the whole length, the bytes); None when the answer is not that range."""
        fetched = await self.fetch(range_)
        part = relayed_part(fetched.headers.get("content-range", ""), range_) if fetched.status == 206 else None
        etag = fetched.headers.get("etag", "")
        if part is None or (self._etag and etag != self._etag):
            fetched.body.abandon()
            return None
        self._etag = etag
        first, last, whole = part
        data = await _whole(fetched, last - first + 1)
        self._fetched += len(data)
        return first, whole, data


async def _whole(fetched: Fetched, length: int) -> bytes:
    """The body, which must be of exactly this length. Raises `UpstreamFailed`."""
    data = bytearray()
    try:
        while len(data) <= length and (piece := await fetched.body.read()):
            data += piece
    finally:
        fetched.body.abandon()
    if len(data) != length:
        raise UpstreamFailed("sent another range than it said", fetched.url, fetched.status)
    return bytes(data)
