"""Bodies as file objects that seek, for libraries that want one. They are read in worker threads."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from twisted_pypi.answers import ByteSource


class SeekableBytes(io.RawIOBase):
    """`length` bytes, of which a subclass tells any run in `at`."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self._position = 0

    def at(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, both within the length, at least one; fewer at will."""
        raise NotImplementedError

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")  # as files do
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        end = min(self._position + len(buffer), self.length)
        data = self.at(self._position, end) if end > self._position else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Source(SeekableBytes):
    def __init__(self, source: ByteSource) -> None:
        super().__init__(source.length or 0)
        self._source = source

    def at(self, start: int, end: int) -> bytes:
        data = self._source.read(start, end - start)
        if self._source.failure is not None:
            raise OSError(str(self._source.failure))
        return data


def stream_of(source: ByteSource) -> BinaryIO:
    """A byte source at rest as a file. Reading raises `OSError` when the source fails."""
    return cast(BinaryIO, io.BufferedReader(_Source(source)))
