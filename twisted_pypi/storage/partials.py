"""How partial files on disk begin, and how they are gone on with."""

from __future__ import annotations

import os
from collections.abc import Iterable

from attrs import define

from twisted_pypi.digests import Digests
from twisted_pypi.records import PartialOrigin
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.leftovers import Leftover, Leftovers, Note, reopened
from twisted_pypi.storage.partial import DiskPartial, Placer


@define(eq=False)
class Partials:
    """Makes `DiskPartial`s. `place` moves what is whole to where it belongs."""

    engine: Engine
    leftovers: Leftovers
    place: Placer

    async def begin(
        self, key: str, expected: int, algorithms: Iterable[str], origin: PartialOrigin | None
    ) -> DiskPartial | None:
        """See `interfaces.FileStore`."""
        limits = self.engine.limits
        # Unfinished files can't be evicted: they must fit into the limit together.
        if not limits.allows(expected) or self.engine.partial_bytes + expected > limits.cache_size:
            return None
        begun = self._begin(key, expected, Digests(tuple(algorithms)), origin)
        return await self.engine.tasks.run(begun, lambda made: made and self.engine.tasks.run(made.abandon()))

    async def resume(self, key: str, algorithms: Iterable[str]) -> DiskPartial | None:
        """See `interfaces.FileStore`."""
        left = self.leftovers.take(key)
        if left is None:
            return None
        resumed = self._resume(left, Digests(tuple(algorithms)))
        return await self.engine.tasks.run(resumed, lambda made: made and self.engine.tasks.run(made.keep()))

    async def _begin(
        self, key: str, expected: int, digests: Digests, origin: PartialOrigin | None
    ) -> DiskPartial | None:
        try:
            made = await self.engine.workers.run(self._create, key, expected, origin)
        except OSError as error:
            self.engine.trouble("begin", error)
            return None
        return DiskPartial(key, self.engine, self.place, self.leftovers, origin, *made, digests) if made else None

    def _create(self, key: str, expected: int, origin: PartialOrigin | None) -> tuple[str, int] | None:
        tree = self.engine.tree
        if not self.engine.free_for(expected):
            return None
        name, descriptor = tree.create()
        if origin is not None:
            try:
                tree.write_note(name, Note(key, origin).encode())
            except OSError:
                os.close(descriptor)
                tree.discard(name)
                raise
        return name, descriptor

    async def _resume(self, left: Leftover, digests: Digests) -> DiskPartial | None:
        try:
            descriptor, size = await self.engine.workers.run(self._reopen, left, digests)
        except OSError as error:
            self.engine.trouble("resume", error)
            await self.leftovers.discard(left)
            return None
        self.engine.partial_bytes += size - left.size
        key, origin = left.note.key, left.note.origin
        made = DiskPartial(key, self.engine, self.place, self.leftovers, origin, left.name, descriptor, digests, size)
        if size:
            return made
        await made.abandon()
        return None

    def _reopen(self, left: Leftover, digests: Digests) -> tuple[int, int]:
        descriptor = self.engine.tree.open_partial(left.name)
        try:
            return descriptor, reopened(left, descriptor, digests)
        except OSError:
            os.close(descriptor)
            raise
