"""Files on disk. What was recorded of a file is compared with the file itself before anything of it is served."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Mapping

from attrs import define, evolve, field

from twisted_pypi.answers import ByteSource, Seal
from twisted_pypi.digests import Digests
from twisted_pypi.lru import Lru
from twisted_pypi.records import PartialOrigin, StoredFile
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.checks import Checks, Gone
from twisted_pypi.storage.digests import read_digests
from twisted_pypi.storage.dropping import drop
from twisted_pypi.storage.engine import Engine, refuse_without_descriptors
from twisted_pypi.storage.hot_bodies import HotBodies
from twisted_pypi.storage.layout import Path, file_path
from twisted_pypi.storage.leftovers import Leftovers
from twisted_pypi.storage.partial import DiskPartial
from twisted_pypi.storage.partials import Partials
from twisted_pypi.storage.rows import FILE, Aged, Entry, Stamp
from twisted_pypi.storage.sources import CheckedSource, FileSource
from twisted_pypi.storage.tasks import KeyLocks

_HOT = 8192
_TOGETHER = 200
_WEEK = 7 * 86400.0
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@define(eq=False)
class DiskFiles:
    """`interfaces.FileStore` below `files/`.

    A file that was last checked a week ago, or before `distrust_before`, is checked again beside its serving.
    """

    engine: Engine
    distrust_before: float = field(default=0.0, init=False)
    leftovers: Leftovers = field(init=False)
    _partials: Partials = field(init=False)
    _checks: Checks = field(init=False)
    _hot: Lru[str, Entry] = field(factory=lambda: Lru(_HOT), init=False)
    _bodies: HotBodies = field(init=False)
    _locks: KeyLocks = field(factory=KeyLocks, init=False)

    def __attrs_post_init__(self) -> None:
        self.engine.records["file"] = self._hot
        self.leftovers = Leftovers(self.engine)
        self._partials = Partials(self.engine, self.leftovers, self._place)
        self._checks = Checks(self.engine, self._recheck)
        self._bodies = HotBodies(self.engine.tree, self.engine.bodies)

    def hot(self, key: str) -> StoredFile | None:
        """The file's record, if that can be told in memory alone. Counts as use."""
        entry = self._hot.get(key)
        if entry is None:
            return None
        self.engine.recency.used(FILE, key)
        return entry.file

    def hot_body(self, file: StoredFile) -> bytes | ByteSource | None:
        """Its bytes, if they can be had at once and nothing speaks against them; else `open` looks closer."""
        entry = self._undoubted(file)
        if entry is None:
            return None
        try:
            body = self._bodies.get(entry)
        except ValueError:
            self._hot.put(file.key, evolve(entry, checked_at=0.0))  # so that `open` checks it before anything else
            return None
        return self._source(entry, body) if isinstance(body, int) else body

    def unchanged(self, file: StoredFile) -> bool:
        """Whether the file is still the one that was recorded, by one look at it, and no check of it is due."""
        entry = self._undoubted(file)
        return entry is not None and self._bodies.unchanged(entry)

    def seal(self, file: StoredFile) -> Seal | None:
        """See `interfaces.FileStore`."""
        entry = self._undoubted(file)
        return None if entry is None else entry.stamp.seal(self.engine.tree.absolute(entry.path))

    async def get(self, key: str) -> StoredFile | None:
        """The file's record, or None. Counts as use. One with `sha256` "" can't be opened until it is confirmed."""
        entry = await self._entry(key)
        if entry is None:
            return None
        self.engine.recency.used(FILE, key)
        return entry.file

    async def open(self, file: StoredFile) -> ByteSource:
        """Its bytes. Raises `LookupError` when it has gone, was replaced or never confirmed, or is damaged.

        Raises `Unavailable` when no descriptor is left.
        """
        entry = await self._entry(file.key)
        if entry is None or not file.sha256 or entry.sha256 != file.sha256:
            raise LookupError(f"gone: {file.key}")
        try:
            descriptor = self.engine.tree.open_file(file_path(file.key))
        except OSError as error:
            refuse_without_descriptors(error)
            return await self.engine.tasks.run(self._recheck(entry), FileSource.close)
        if Stamp.of(descriptor) != entry.stamp:
            os.close(descriptor)
            return await self.engine.tasks.run(self._recheck(entry), FileSource.close)
        return self._source(entry, descriptor)

    async def begin(
        self, key: str, expected: int | None, algorithms: Iterable[str], origin: PartialOrigin | None = None
    ) -> DiskPartial | None:
        """Begin a new file; None when it can't or may not be stored. Algorithms that aren't known here are left out."""
        return await self._partials.begin(key, expected or 0, algorithms, origin)

    async def resume(self, key: str, algorithms: Iterable[str]) -> DiskPartial | None:
        """What was kept of a file; None when there is nothing."""
        return await self._partials.resume(key, algorithms)

    async def delete(self, key: str) -> None:
        """Drop the file; readers that have it open go on."""
        await self.engine.tasks.run(self._delete(key))

    async def drop(self, keys: list[str]) -> dict[str, int]:
        """Drop the files, however many; the size of each that there was. Readers that have them open go on."""
        dropped: dict[str, int] = {}
        for start in range(0, len(keys), _TOGETHER):
            dropped |= await self.engine.tasks.run(self._drop_some(keys[start : start + _TOGETHER]))
        return dropped

    async def _drop_some(self, keys: list[str]) -> dict[str, int]:
        found: list[Aged] = await self.engine.ask([], Catalogue.aged, FILE, keys)
        done = bool(found) and await drop(self.engine, {FILE: self}, found)
        for left in filter(None, map(self.leftovers.take, keys)):
            await self.leftovers.discard(left)
        return {entry.key: entry.size for entry in found} if done else {}

    def forgotten(self, key: str) -> Path:
        """The catalogue has forgotten the file, and so does the memory; where it is."""
        self._forget(key)
        return file_path(key)

    async def evict(self, key: str) -> None:
        """Delete what is left of a file that the catalogue has forgotten, unless it was stored anew meanwhile."""
        async with self._locks.hold(key):
            if not await self.engine.ask([key], lambda catalogue: list(catalogue.held(FILE, [key]))):
                await self._unlink(key)

    async def held(self, keys: list[str]) -> Mapping[str, Mapping[str, str]]:
        """Those of `keys` that are stored, with their digests by algorithm; {} for one that nothing confirmed yet."""
        return await self.engine.ask({}, Catalogue.held, FILE, keys)

    async def confirm(self, file: StoredFile, hashes: Mapping[str, str]) -> StoredFile | None:
        """The file's record, verified, if it is what `hashes` announce; else it is dropped and None.

        With no known algorithm among them nothing can be told: None, and the file stays as it is.
        """
        return await self.engine.tasks.run(self._confirm(file.key, hashes))

    def close(self) -> None:
        """Give back what is kept open."""
        self._bodies.close()

    def _forget(self, key: str) -> None:
        self._hot.pop(key)
        self._bodies.drop(key)

    def _undoubted(self, file: StoredFile) -> Entry | None:
        """Its entry, if this very record is in memory, was confirmed, and no check is due."""
        entry = self._hot.peek(file.key)
        sure = entry is not None and entry.file is file and file.sha256 and self._is_checked(entry)
        return entry if sure else None

    def _is_checked(self, entry: Entry) -> bool:
        now = self.engine.clock.seconds()
        # A check in the future tells nothing: the clock was set back since.
        return max(self.distrust_before, now - _WEEK) <= entry.checked_at <= now

    async def _entry(self, key: str) -> Entry | None:
        entry = self._hot.get(key)
        if entry is not None:
            return entry
        async with self._locks.hold(key):
            entry = await self.engine.ask(None, Catalogue.entry, FILE, key)
            if entry is not None:
                self._hot.put(key, entry)
            return entry

    def _source(self, entry: Entry, descriptor: int) -> FileSource:
        closed = self.engine.opened(FILE, entry.key)
        if self._is_checked(entry):
            return FileSource(descriptor, 0, entry.stamp.size, closed)
        source = CheckedSource(descriptor, 0, entry.stamp.size, closed)
        self._checks.watch(entry, source)
        return source

    async def _recheck(self, seen: Entry) -> FileSource:
        """The file may not be the one that was recorded, but may have its content."""
        async with self._locks.hold(seen.key):
            entry = await self.engine.ask(None, Catalogue.entry, FILE, seen.key)
            if entry is None or entry.sha256 != seen.sha256:
                self._forget(seen.key)
                raise Gone(f"gone or replaced: {seen.key}")
            read = await self._read(entry, ())
            if read is None:
                raise Gone(f"gone: {seen.key}")
            descriptor, stamp, digests = read
            if digests.hexdigest("sha256") != entry.sha256:
                os.close(descriptor)
                await self._drop(entry.key, "its digest is not the recorded one")
                raise LookupError(f"damaged: {entry.key}")
            entry = evolve(entry, stamp=stamp, checked_at=self.engine.clock.seconds())
            await self._refresh(entry)
            return self._source(entry, descriptor)

    async def _read(self, entry: Entry, algorithms: Iterable[str]) -> tuple[int, Stamp, Digests] | None:
        """Descriptor, stamp and digests of a file; None when it can't be read, and is dropped if it isn't there."""
        try:
            path = file_path(entry.key)
            return await self.engine.workers.run(read_digests, self.engine.tree, path, tuple(algorithms))
        except OSError as error:
            if error.errno in _NOT_THERE:
                await self._drop(entry.key, str(error))
            else:  # too many open files, a failing disk: nothing against the file
                self.engine.trouble(f"reading {entry.key}", error)
            return None

    async def _place(self, name: str, descriptor: int, file: StoredFile) -> None:
        """See `partial.Placer`."""
        now = self.engine.clock.seconds()
        path = file_path(file.key)
        async with self._locks.hold(file.key):
            stamp = await self.engine.workers.run(self._move, name, descriptor, path)
            entry = Entry.of_file(file, "/".join(path), stamp, now)
            try:
                await self.engine.sql(Catalogue.record, entry)
            except sqlite3.Error as error:
                await self._remove(file.key)
                raise OSError(f"not recorded: {error}") from error
            self._hot.put(file.key, entry)

    def _move(self, name: str, descriptor: int, path: tuple[str, ...]) -> Stamp:
        os.fsync(descriptor)
        stamp = Stamp.of(descriptor)  # before anybody else can reach the file
        self.engine.tree.publish(name, path)
        return stamp

    async def _refresh(self, entry: Entry) -> None:
        await self.engine.ask(None, Catalogue.record, entry)
        self._hot.put(entry.key, entry)

    async def _confirm(self, key: str, hashes: Mapping[str, str]) -> StoredFile | None:
        if Digests(hashes).confirms(hashes) is None:
            return None
        async with self._locks.hold(key):
            entry = await self.engine.ask(None, Catalogue.entry, FILE, key)
            read = None if entry is None else await self._read(entry, hashes)
            if entry is None or read is None:
                return None
            descriptor, stamp, digests = read
            os.close(descriptor)
            if not digests.confirms(hashes):
                await self._drop(key, "it is not what was announced")
                return None
            entry = evolve(
                entry,
                stamp=stamp,
                sha256=digests.hexdigest("sha256"),
                hashes=dict(hashes),
                verified=True,
                checked_at=self.engine.clock.seconds(),
            )
            await self._refresh(entry)
            return entry.file

    async def _delete(self, key: str) -> None:
        async with self._locks.hold(key):
            await self._remove(key)
            if left := self.leftovers.take(key):
                await self.leftovers.discard(left)

    async def _drop(self, key: str, reason: str) -> None:
        self.engine.trouble(f"integrity of {key}", reason)
        await self._remove(key)

    async def _remove(self, key: str) -> None:
        await self._unlink(key)
        await self.engine.ask(None, Catalogue.forget, [(FILE, key, None)])

    async def _unlink(self, key: str) -> None:
        self._forget(key)
        try:
            await self.engine.workers.run(self.engine.tree.remove, file_path(key))
        except OSError as error:
            self.engine.trouble("delete", error)
