"""How long the head of an answer may be (RFC 9112, 2.1): Twisted bounds each line, not their number. Pure."""

from __future__ import annotations

import re

from attrs import define, field

LIMIT = 16 << 10
"""Bytes of status line and headers, those of interim answers (1xx) before it included: as much as one line may have."""

_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/\S+ +1\d\d\b")


class HeadTooLarge(Exception):
    """The head of an answer is longer than `LIMIT`."""


@define(eq=False)
class HeadMeter:
    """Measures one answer's head as its bytes come."""

    _size: int = field(default=0, init=False)
    _pending: bytes = field(default=b"", init=False)
    _over: bool = field(default=False, init=False)

    def take(self, data: bytes) -> None:
        """More of the answer. Raises `HeadTooLarge`."""
        if self._over:
            return
        self._pending += data[: LIMIT + 1]
        while not self._over and (end := _END.search(self._pending)):
            self._over = not _INTERIM.match(self._pending)
            self._size += end.end()
            self._pending = self._pending[end.end() :]
        if self._size + (0 if self._over else len(self._pending)) > LIMIT:
            raise HeadTooLarge
        if self._over:
            self._pending = b""
