"""`model.ByteSource` over what is at rest: whole from the start, so nothing ever changes but by failing."""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, field


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

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing will change."""

    def close(self) -> None:
        """Nothing to give back."""


@define(eq=False)
class FileSource:
    """A byte source over `size` bytes from `offset` of an open file, on a descriptor of its own.

    `fileno` and `offset` are for `sendfile`. `closed` is called once, when the descriptor has been given back.
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
        wanted = min(limit, self.size - position)
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

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing more will come; a failure is seen by whoever reads."""

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        if self._open:
            self._open = False
            os.close(self.fileno)
            if self.closed:
                self.closed()
