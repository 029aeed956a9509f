"""Where the body of a request ends (RFC 9112, 6 and 7). Pure. The content itself is dropped: nothing here takes one.

Laws: what follows the body on the connection comes out byte by byte as it went in; how the bytes were cut into pieces
makes no difference; no more than `MAX_BODY` bytes and one unfinished line are taken.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

from attrs import define, field

from twisted_pypi.http.request_head import MAX_BODY, Refused, RequestHead, body_too_large

MAX_CHUNK_LINE = 1 << 10
"""Bytes of a chunk-size line or a trailer line."""

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[\t -~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!-9;-~]+:[\t -~\x80-\xff]*")


class Body(Protocol):
    """A body that is being read."""

    def take(self, data: bytes) -> bytes | None:
        """Read `data`; None: there is more to come, else what follows the body. Raises `Refused`."""


def body_of(head: RequestHead) -> Body | None:
    """The body that a head announces, None for none."""
    if head.chunked:
        return ChunkedBody()
    return SizedBody(head.length) if head.length else None


@define
class SizedBody:
    """A body of `left` bytes."""

    left: int

    def take(self, data: bytes) -> bytes | None:
        """See `Body`."""
        taken = min(self.left, len(data))
        self.left -= taken
        return None if self.left else data[taken:]


class _Expected(Enum):
    """What the next line of a chunked body is."""

    SIZE = auto()
    END_OF_CHUNK = auto()
    TRAILER = auto()


@define
class ChunkedBody:
    """A body in chunks. Extensions and trailers are checked and dropped."""

    _buffer: bytearray = field(factory=bytearray, init=False)
    _received: int = field(default=0, init=False)
    _chunk: int = field(default=0, init=False)
    _expected: _Expected = field(default=_Expected.SIZE, init=False)

    def take(self, data: bytes) -> bytes | None:
        """See `Body`."""
        self._received += len(data)
        self._buffer += data
        return bytes(self._buffer) if self._read() else None

    def _read(self) -> bool:
        """Read as far as possible; whether the body has ended."""
        while self._buffer:
            if self._chunk:
                dropped = min(self._chunk, len(self._buffer))
                del self._buffer[:dropped]
                self._chunk -= dropped
            elif (line := self._line()) is None:
                return False
            elif self._expected is _Expected.TRAILER and not line:
                return True
            else:
                self._control(line)
            if self._chunk > MAX_BODY or self._received - len(self._buffer) > MAX_BODY:
                raise body_too_large()
        return False

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_CHUNK_LINE:
                raise Refused(400, "A line in the chunked body is too long")
            return None
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        if not line.endswith(b"\r\n"):
            raise Refused(400, "A line in the chunked body does not end in CR and LF")
        return line[:-2]

    def _control(self, line: bytes) -> None:
        match self._expected:
            case _Expected.END_OF_CHUNK:
                if line:
                    raise Refused(400, "A chunk is longer than it says")
                self._expected = _Expected.SIZE
            case _Expected.TRAILER:
                if _TRAILER.fullmatch(line) is None:
                    raise Refused(400, "A trailer line is not one of HTTP")
            case _Expected.SIZE:
                match = _SIZE.fullmatch(line)
                if match is None:
                    raise Refused(400, "A chunk size is a hexadecimal number")
                self._chunk = int(match[1], 16)
                self._expected = _Expected.END_OF_CHUNK if self._chunk else _Expected.TRAILER
