"""Content codings undone piece by piece, in bounded memory whatever the ratio (RFC 9110, 8.4.1; RFC 8878)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard
from attrs import define, field

PIECE = 256 << 10
"""The most that one step of a zlib decoder gives, in bytes."""

ZSTD_STEP = 64
"""Input bytes a zstd decoder is given at once: a block of 4 bytes can hold 128 KiB, so one step gives at most 2 MiB."""

ZSTD_WINDOW = 8 << 20
"""The largest window that RFC 8878, 3.1.1.1.2 asks a decoder to take."""


MAX_MEMBERS = 5000
"""Of one body. An empty one costs 2 µs (gzip) or 20 µs (zstd), gives nothing, and takes a few bytes."""


class Decoder(Protocol):
    """Undoes one coding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What `data` means, in pieces of bounded size. Raises `ValueError` if it is not of this coding."""

    def finish(self) -> None:
        """No more comes. Raises `ValueError` if something is missing."""


class Identity:
    """No coding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """`data` itself."""
        yield data

    def finish(self) -> None:
        """Nothing can be missing."""


@define
class Gzip:
    """gzip (RFC 1952), of any number of members, zeros behind them allowed as gzip itself does."""

    _member: zlib._Decompress | None = field(default=None, init=False)
    _members: int = field(default=0, init=False)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """See `Decoder`."""
        while data:
            if self._member is None:
                data = data.lstrip(b"\0") if self._members else data
                if not data:
                    return
                self._member, self._members = zlib.decompressobj(zlib.MAX_WBITS | 16), _next(self._members)
            yield from _inflate(self._member, data)
            data = self._member.unused_data
            if self._member.eof:
                self._member = None

    def finish(self) -> None:
        """See `Decoder`."""
        if self._member is not None or not self._members:
            raise ValueError("truncated gzip")


@define
class Deflate:
    """deflate: zlib's form (RFC 1950), or the raw one (RFC 1951) that some servers send under this name."""

    _stream: zlib._Decompress | None = field(default=None, init=False)
    _head: bytes = field(default=b"", init=False)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """See `Decoder`."""
        if self._stream is None:
            self._head += data
            if len(self._head) < 2:
                return
            data, self._head = self._head, b""
            is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        yield from _inflate(self._stream, data)

    def finish(self) -> None:
        """See `Decoder`."""
        if self._stream is None or not self._stream.eof:
            raise ValueError("truncated deflate")


@define
class Zstd:
    """zstd (RFC 8878), of any number of frames."""

    _frame: zstandard.ZstdDecompressionObj | None = field(default=None, init=False)
    _frames: int = field(default=0, init=False)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """See `Decoder`."""
        for start in range(0, len(data), ZSTD_STEP):
            yield from self._step(data[start : start + ZSTD_STEP])

    def finish(self) -> None:
        """See `Decoder`."""
        if self._frame is not None or not self._frames:
            raise ValueError("truncated zstd")

    def _step(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()
                self._frames = _next(self._frames)
            try:
                yield self._frame.decompress(data)
            except zstandard.ZstdError as error:
                raise ValueError(f"not zstd: {error}") from error
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None


def _next(members: int) -> int:
    if members == MAX_MEMBERS:
        raise ValueError(f"more than {MAX_MEMBERS} members")
    return members + 1


def _inflate(stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    try:
        while True:
            piece = stream.decompress(data, PIECE)
            yield piece
            data = stream.unconsumed_tail
            # A full piece may have more behind it without any input being left.
            if stream.eof or (not data and len(piece) < PIECE):
                return
    except zlib.error as error:
        raise ValueError(f"not what the content coding says: {error}") from error


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "": Identity,
    "identity": Identity,
    "gzip": Gzip,
    "x-gzip": Gzip,
    "deflate": Deflate,
    "zstd": Zstd,
}


def decoder_for(content_encoding: str) -> Decoder:
    """The decoder for a `Content-Encoding` header ("" if there was none). Raises `ValueError` for an unknown one."""
    try:
        return _DECODERS[content_encoding.strip().lower()]()
    except KeyError:
        raise ValueError(f"unknown content coding {content_encoding[:40]!r}") from None
