"""`answers.ByteSource` over what is at rest."""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, field

from twisted_pypi.answers import Extent

HOLD_BACK = 16 << 10
"""Bytes of an unchecked file that are kept from its readers."""


@define(eq=False)
class BytesSource:
    """A byte source over bytes in memory."""

    data: bytes
    failure: Exception | None = field(default=None, init=False)
    finished: bool = field(default=True, init=False)

    @property
    def length(self) -> int | None:
        """The whole length in bytes."""
        return len(self.data)

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`."""
        return self.data[position : position + limit]

    def extent(self, position: int) -> None:
        """See `answers.ByteSource`: in no file."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing will change."""

    def close(self) -> None:
        """Nothing to give back."""


@define(eq=False)
class FileSource:
    """A byte source over `size` bytes from `offset` of an open file, on a descriptor of its own.

    `closed` is called once, when the descriptor has been given back.
    """

    fileno: int
    offset: int
    size: int
    closed: Callable[[], None] | None = None
    failure: Exception | None = field(default=None, init=False)
    finished: bool = field(default=True, init=False)
    _open: bool = field(default=True, init=False)

    @property
    def length(self) -> int | None:
        """The whole length in bytes."""
        return self.size

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`. A disk error or a file cut short shows in `failure`."""
        wanted = min(limit, self._limit(position) - position)
        if wanted <= 0 or self.failure:
            return b""
        try:
            data = os.pread(self.fileno, wanted, self.offset + position)
        except OSError as error:
            self.failure = error
            return b""
        if not data:
            self.failure = OSError("the file was cut short")
        return data

    def extent(self, position: int) -> Extent:
        """Where the bytes from `position` on lie, as far as they may be had."""
        return Extent(self.fileno, self.offset + position, max(0, self._limit(position) - position))

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing more will come; a failure is seen by whoever reads."""

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        if self._open:
            self._open = False
            os.close(self.fileno)
            if self.closed:
                self.closed()

    def duplicate(self) -> int | None:
        """A further descriptor of the same file, None when this one has been given back. Raises `OSError`."""
        return os.dup(self.fileno) if self._open else None

    def _limit(self, position: int) -> int:
        """How far who is at `position` may read."""
        return self.size


@define(eq=False)
class CheckedSource(FileSource):
    """A file whose digest is being computed again beside its serving.

    Who reads from the beginning doesn't get the last piece before that is through. `settle` ends the wait.
    """

    finished: bool = field(default=False, init=False)
    _from_start: bool | None = field(default=None, init=False)
    _changed: Callable[[], None] | None = field(default=None, init=False)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` when the check is through."""
        self._changed = changed

    def settle(self, failure: Exception | None) -> None:
        """The check is through; with a failure, the reader gets nothing more."""
        self.finished = failure is None
        self.failure = failure
        if self._changed and self._open:
            self._changed()

    def _limit(self, position: int) -> int:
        if self._from_start is None:
            self._from_start = position == 0
        return self.size - HOLD_BACK if self._from_start and not self.finished else self.size
