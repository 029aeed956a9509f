"""The last piece of a growing body, in memory: for what the disk did not take."""

from __future__ import annotations

from collections import deque

from attrs import define, field


@define(eq=False)
class Window:
    """Bytes from position `start` to `end` (exclusive); further ones come in at the end, old ones go at the start."""

    start: int
    end: int = field(init=False)
    _chunks: deque[bytes] = field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        self.end = self.start

    def append(self, data: bytes) -> None:
        """Further bytes."""
        self._chunks.append(data)
        self.end += len(data)

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`, as far as one chunk goes. Raises `ValueError` for what has gone."""
        if position < self.start:
            raise ValueError(f"position {position} has passed")
        at = self.start
        for chunk in self._chunks:
            if position < at + len(chunk):
                return chunk[position - at : position - at + limit]
            at += len(chunk)
        return b""

    def drop(self, position: int) -> None:
        """Forget the chunks that lie wholly before `position`."""
        while self._chunks and self.start + len(self._chunks[0]) <= position:
            self.start += len(self._chunks.popleft())
