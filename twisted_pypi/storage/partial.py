"""A file in the making, in `tmp/`."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress

from attrs import define, field
from twisted.internet.defer import DeferredLock

from twisted_pypi.digests import Digests
from twisted_pypi.records import PartialOrigin, StoredFile
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.leftovers import Leftover, Leftovers, Note

_SPACE_CHECK = 16 << 20

Placer = Callable[[str, int, StoredFile], Awaitable[None]]
"""(name in tmp/, descriptor, record): flush, move into place and record. Raises `OSError`."""


@define(eq=False)
class PartialReader:
    """(position, limit) -> bytes of a partial file, on a descriptor of its own.

    The descriptor is given back by `close`, or with the reader.
    """

    fileno: int
    _finalizer: weakref.finalize[[int], PartialReader] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._finalizer = weakref.finalize(self, os.close, self.fileno)

    def __call__(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`. Raises `OSError`."""
        return os.pread(self.fileno, limit, position)

    def close(self) -> None:
        """Give the descriptor back. Idempotent."""
        self._finalizer()


@define(eq=False)
class DiskPartial:
    """`interfaces.PartialFile` over an open file in `tmp/`."""

    key: str
    engine: Engine
    place: Placer
    leftovers: Leftovers
    origin: PartialOrigin | None
    name: str
    descriptor: int
    digests: Digests
    size: int = 0
    _checked: int = field(default=0, init=False)
    _whole: bool = field(default=True, init=False)
    _ended: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    async def write(self, data: bytes) -> None:
        """Append. Raises `OSError` when the disk won't take it, or the file may not be that large."""
        self._expect_open()
        await self.engine.tasks.run(self._write(data))

    async def digest(self, data: bytes) -> None:
        """Count `data` into the digests without storing it: it can neither be published nor kept any more."""
        self._expect_open()
        self.origin, self._whole = None, False
        await self.engine.tasks.run(self._digest(data))

    def hexdigest(self, algorithm: str) -> str:
        """The digest of everything written so far. `ValueError` for an algorithm not asked for at `begin`."""
        return self.digests.hexdigest(algorithm)

    def reader(self) -> PartialReader:
        """A function (position, limit) -> bytes on a descriptor of its own, valid after publishing and abandoning.

        To be had until publishing is through: flushing a large file takes a while. Raises `RuntimeError` after that.
        """
        if self._closed:
            raise RuntimeError("published or abandoned already")
        return PartialReader(os.dup(self.descriptor))

    async def publish(self, file: StoredFile) -> None:
        """Flush, move into place, record.

        Raises `ValueError` when `file` does not describe what was written, `OSError` when the disk or the catalogue
        won't take it; then it is as if it was abandoned.
        """
        self._expect_open()
        if not self._whole or (file.key, file.size, file.sha256) != (self.key, self.size, self.hexdigest("sha256")):
            raise ValueError(f"not what was written: {file}")
        self._ended = True
        await self.engine.tasks.run(self._publish(file))

    async def abandon(self) -> None:
        """Forget it and free the space. Idempotent."""
        if not self._ended:
            self._ended = self._closed = True
            await self.engine.tasks.run(self._discard(self._remove))

    async def keep(self) -> None:
        """End, and keep what is there; without an origin, or empty: abandon. Idempotent."""
        if self.origin is None or not self.size:
            await self.abandon()
        elif not self._ended:
            self._ended = self._closed = True
            await self.engine.tasks.run(self._keep(self.origin))

    async def _write(self, data: bytes) -> None:
        async with self._turn:  # a writer that was cancelled may have left its last write behind
            try:
                await self.engine.workers.run(self._append, data)
            except OSError as error:
                self.engine.trouble("write", error)
                raise
            self.size += len(data)
            self.engine.partial_bytes += len(data)

    async def _digest(self, data: bytes) -> None:
        async with self._turn:
            await self.engine.workers.run(self.digests.update, data)

    def _append(self, data: bytes) -> None:
        end = self.size + len(data)
        if not self.engine.limits.allows(end):
            raise OSError(errno.EFBIG, "larger than may be stored")
        if end - self._checked >= _SPACE_CHECK:
            self._checked = end
            if not self.engine.free_for(len(data)):
                raise OSError(errno.ENOSPC, "no space left above --min-free")
        rest, position = memoryview(data), self.size
        while rest:
            written = os.pwrite(self.descriptor, rest, position)
            rest, position = rest[written:], position + written
        self.digests.update(data)

    async def _publish(self, file: StoredFile) -> None:
        try:
            await self.place(self.name, self.descriptor, file)
        finally:
            await self._discard(self._give_up_name)
            # In the turn in which the publisher goes on: who came until now has a reader.
            self._closed = True
            os.close(self.descriptor)
        self.engine.grown()  # only now: its bytes are no longer counted as those of a partial file too

    async def _discard(self, remove: Callable[[], None]) -> None:
        async with self._turn:
            self.engine.partial_bytes -= self.size
            await self.engine.workers.run(remove)

    async def _keep(self, origin: PartialOrigin) -> None:
        async with self._turn:
            note = Note(self.key, origin, self.size, self.hexdigest("sha256"))
            try:
                await self.engine.workers.run(self._flush, note)
            except OSError as error:
                self.engine.trouble("keep", error)
                await self.engine.workers.run(self._remove)
                self.engine.partial_bytes -= self.size
                return
        await self.leftovers.add(Leftover(self.name, note, self.size, self.engine.clock.seconds()))

    def _flush(self, note: Note) -> None:
        os.fsync(self.descriptor)
        self.engine.tree.write_note(self.name, note.encode())
        os.close(self.descriptor)

    def _remove(self) -> None:
        self._give_up_name()
        os.close(self.descriptor)

    def _give_up_name(self) -> None:
        """After publishing there is none; a leftover goes at the next start."""
        with suppress(OSError):
            self.engine.tree.discard(self.name)

    def _expect_open(self) -> None:
        if self._ended:
            raise RuntimeError("published or abandoned already")
