"""A file in the making, in memory."""

from __future__ import annotations

import errno
from collections.abc import Callable

from attrs import define, field

from twisted_pypi.digests import Digests
from twisted_pypi.records import PartialOrigin, StoredFile
from twisted_pypi.storage.limits import Limits


@define(eq=False)
class MemoryReader:
    """`interfaces.Reader` of bytes that grow."""

    _data: bytearray
    fileno: int | None = field(default=None, init=False)

    def __call__(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`."""
        return bytes(self._data[position : position + limit])

    def close(self) -> None:
        """Nothing to give back."""


@define(eq=False)
class MemoryPartial:
    """`interfaces.PartialFile` over a bytearray."""

    key: str
    limits: Limits
    digests: Digests
    place: Callable[[StoredFile, bytes], None]
    kept: Callable[[MemoryPartial], None]
    origin: PartialOrigin | None = None
    _data: bytearray = field(factory=bytearray, init=False)
    _whole: bool = field(default=True, init=False)
    _ended: bool = field(default=False, init=False)

    @property
    def data(self) -> bytes:
        """What was written so far."""
        return bytes(self._data)

    @property
    def size(self) -> int:
        """How many bytes were written so far."""
        return len(self._data)

    async def write(self, data: bytes) -> None:
        """Append. Raises `OSError` when the file may not be that large."""
        self._expect_open()
        if not self.limits.allows(self.size + len(data)):
            raise OSError(errno.EFBIG, "larger than may be stored")
        self._data += data
        self.digests.update(data)

    async def digest(self, data: bytes) -> None:
        """Count `data` into the digests without storing it: it can neither be published nor kept any more."""
        self._expect_open()
        self.origin, self._whole = None, False
        self.digests.update(data)

    def hexdigest(self, algorithm: str) -> str:
        """The digest of everything written so far. `ValueError` for an algorithm not asked for at `begin`."""
        return self.digests.hexdigest(algorithm)

    def reader(self) -> MemoryReader:
        """A reader that stays valid after publishing and abandoning."""
        self._expect_open()
        return MemoryReader(self._data)

    async def publish(self, file: StoredFile) -> None:
        """Keep it. Raises `ValueError` when `file` does not describe what was written."""
        self._expect_open()
        if not self._whole or (file.key, file.size, file.sha256) != (self.key, self.size, self.hexdigest("sha256")):
            raise ValueError(f"not what was written: {file}")
        self._ended = True
        self.place(file, bytes(self._data))

    async def abandon(self) -> None:
        """Forget it. Idempotent."""
        self._ended = True

    async def keep(self) -> None:
        """End, and keep what is there; without an origin, or empty: abandon. Idempotent."""
        if not self._ended and self.origin is not None and self.size:
            self.kept(self)
        self._ended = True

    def _expect_open(self) -> None:
        if self._ended:
            raise RuntimeError("published or abandoned already")
