"""Pages on disk: one self-describing file each, which is the whole truth about the page."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from typing import TypeVar

from attrs import define, evolve, field

from twisted_pypi.answers import ByteSource, Seal
from twisted_pypi.lru import Lru
from twisted_pypi.model import Document
from twisted_pypi.records import PageMeta, Representation, StoredPage
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.disk_facts import DiskFacts
from twisted_pypi.storage.engine import Engine, refuse_without_descriptors
from twisted_pypi.storage.layout import Path, page_path
from twisted_pypi.storage.open_pages import OpenPages
from twisted_pypi.storage.page_io import with_page, write_aside
from twisted_pypi.storage.pagefile import DamagedPage, WrittenPage, check_body, read_body, set_time
from twisted_pypi.storage.rendering import rendered
from twisted_pypi.storage.rows import PAGE, Entry, Stamp, link_rows
from twisted_pypi.storage.sources import FileSource
from twisted_pypi.storage.tasks import KeyLocks

LARGE = 1 << 20
"""Bytes from which on a body stays in the page cache alone; smaller ones cost less to send from memory."""

_RECORDS = 4096
_MTIME_ERROR = 1e-3  # of a file time as a float, in seconds

T = TypeVar("T")


@define(eq=False)
class DiskPages:
    """`interfaces.PageStore` below `pages/`.

    Hot bodies are kept by their digest, so none is ever wrong. Bodies of `LARGE` and more than a quarter of
    `limits.memory` are served from the file.
    """

    engine: Engine
    facts: DiskFacts
    _hot: Lru[str, StoredPage] = field(factory=lambda: Lru(_RECORDS), init=False)
    _open: OpenPages = field(init=False)
    _locks: KeyLocks = field(factory=KeyLocks, init=False)

    def __attrs_post_init__(self) -> None:
        self.engine.records["page"] = self._hot
        self._open = OpenPages(self.engine.opened)

    def hot(self, key: str) -> StoredPage | None:
        """The page, if that can be told in memory alone."""
        page = self._hot.get(key)
        if page is not None:
            self.engine.recency.used(PAGE, key)
        return page

    def hot_body(self, page: StoredPage, representation: Representation) -> bytes | FileSource | None:
        """The body, if it is in memory or in a file that is open."""
        return self.engine.bodies.get(representation.digest) or self._open.get(page.meta.key, representation)

    def seal(self, page: StoredPage) -> Seal | None:
        """See `interfaces.PageStore`."""
        path = "/".join(page_path(page.meta.key))
        try:
            state = self.engine.tree.state(path)
        except OSError:
            return None
        # A thread may be ahead of the memory: then this is the file of the page to come.
        if state.st_ino != page.inode or abs(state.st_mtime - page.validated_at) > _MTIME_ERROR:
            return None
        return Seal(self.engine.tree.absolute(path), state.st_ino, state.st_mtime_ns, state.st_size)

    async def get(self, key: str) -> StoredPage | None:
        """The page, or None. One that is damaged is dropped and counts as None."""
        page = self.hot(key)
        if page is None:
            page = await self.engine.tasks.run(self._get(key))
        return page

    async def body(self, page: StoredPage, representation: Representation) -> bytes | ByteSource:
        """The body, verified. Raises `LookupError` when the page has gone, was replaced or is damaged."""
        data = self.hot_body(page, representation)
        if data is not None:
            return data
        return await self.engine.tasks.run(self._body(page, representation), _close)

    async def put(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str] = ()
    ) -> StoredPage:
        """Store every body in every coding as one; `validated_at` is the meta's `fetched_at`.

        Whatever `document.render` raises passes through, `OSError` when the disk won't take it; the old page stays.
        """
        return await self.engine.tasks.run(self._put(meta, document, bodies, templates))

    async def confirm(self, page: StoredPage, now: float) -> StoredPage:
        """Upstream said 304: `validated_at` becomes `now`, in the store only if the page is still this one."""
        return await self.engine.tasks.run(self._touch(page.meta.key, page, now)) or evolve(page, validated_at=now)

    async def expire(self, key: str, validated_at: float = 0.0) -> None:
        """Make the page stale: `validated_at` becomes that, by default 0."""
        await self.engine.tasks.run(self._touch(key, None, validated_at))

    async def delete(self, key: str) -> None:
        """Drop the page."""
        await self.engine.tasks.run(self._delete(key))

    def forgotten(self, key: str) -> Path:
        """The catalogue has forgotten the page, and so does the memory; where it is."""
        self._forget(key)
        return page_path(key)

    async def evict(self, key: str) -> None:
        """Delete what is left of a page that the catalogue has forgotten, unless it was stored anew meanwhile."""
        async with self._locks.hold(key):
            if not await self.engine.ask({key}, Catalogue.held, PAGE, [key]):
                await self._unlink(key)

    def close(self) -> None:
        """Give back what is kept open."""
        self._open.close()

    def _forget(self, key: str) -> None:
        self._hot.pop(key)
        self._open.drop(key)

    async def _get(self, key: str) -> StoredPage | None:
        async with self._locks.hold(key):
            page = self._hot.get(key) or await self._read(key, lambda _, page: page, refuse=True)
            if page is not None:
                self._hot.put(key, page)
                self.engine.recency.used(PAGE, key)
            return page

    async def _body(self, page: StoredPage, wanted: Representation) -> bytes | FileSource:
        key = page.meta.key
        async with self._locks.hold(key):
            if (read := self.hot_body(page, wanted)) is not None:
                return read  # by whoever came first of all who wait for a new page
            if wanted.length > min(LARGE, self.engine.limits.memory // 4):
                return await self._large_body(key, wanted)
            data = await self._read(
                key, lambda descriptor, found: read_body(descriptor, _same(found, wanted)), refuse=True
            )
            if data is None:
                raise self._gone(key)
            self.engine.bodies.put(wanted.digest, data)
            return data

    async def _large_body(self, key: str, wanted: Representation) -> FileSource:
        found = await self._read(key, lambda descriptor, page: _kept_open(descriptor, _same(page, wanted)), refuse=True)
        if found is None:
            raise self._gone(key)
        descriptor, stamp = found
        source = FileSource(descriptor, wanted.offset, wanted.length, self.engine.opened(PAGE, key))
        try:
            await self.engine.workers.run(check_body, descriptor, wanted)
        except (DamagedPage, OSError) as error:
            source.close()
            await self._drop(key, error)
            raise self._gone(key) from error
        self._open.put(key, descriptor, stamp, wanted)
        return source

    def _gone(self, key: str) -> LookupError:
        self._forget(key)
        return LookupError(f"gone or replaced: {key}")

    async def _put(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str]
    ) -> StoredPage:
        try:
            name, stamp, written = await self.engine.workers.run(self._write, meta, document, bodies, templates)
            async with self._locks.hold(meta.key):
                page = await self._place(name, stamp, meta, written)
                self._open.drop(meta.key)
                self._hot.put(meta.key, page)
        except OSError as error:
            self.engine.trouble("page", error)
            return await self._put_in_memory(meta, document, bodies, templates)
        self.facts.changed(written.links)
        self.engine.grown()
        return page

    def _write(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str]
    ) -> tuple[str, Stamp, WrittenPage]:
        if not self.engine.free_for(0):
            raise OSError(errno.ENOSPC, "no space left above --min-free")
        return write_aside(self.engine.tree, meta, document, bodies, templates)

    async def _place(self, name: str, stamp: Stamp, meta: PageMeta, written: WrittenPage) -> StoredPage:
        path, now = page_path(meta.key), self.engine.clock.seconds()
        try:
            await self.engine.workers.run(self.engine.tree.publish, name, path)
        except OSError:
            await self.engine.workers.run(self.engine.tree.discard, name)
            raise
        entry = Entry(PAGE, meta.key, "/".join(path), stamp, index=meta.index, stored_at=now, used_at=now)
        await self.engine.ask(None, Catalogue.record, entry, written.links)
        return StoredPage(meta, meta.fetched_at, written.representations, stamp.inode)

    async def _put_in_memory(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str]
    ) -> StoredPage:
        """The disk won't take the page, but a page that fits into memory is still worth having."""
        page, made = await self.engine.workers.run(rendered, meta, document, bodies, templates)
        if sum(map(len, made.values())) > self.engine.limits.memory // 4:
            raise OSError(errno.ENOSPC, "the page can be stored neither on disk nor in memory")
        rows = await self.engine.workers.run(link_rows, document)
        await self.engine.ask(None, Catalogue.record_links, meta.index, rows)
        self.facts.changed(rows)
        for digest, data in made.items():
            self.engine.bodies.put(digest, data)
        self._hot.put(meta.key, page)
        return page

    async def _touch(self, key: str, expected: StoredPage | None, now: float) -> StoredPage | None:
        """Set `validated_at` of the page (if it is the expected one, where one is); what it is now."""

        def touch(descriptor: int, page: StoredPage) -> StoredPage | None:
            if expected is not None and (page.meta, page.inode) != (expected.meta, expected.inode):
                return None
            set_time(descriptor, now)
            return evolve(page, validated_at=now)

        async with self._locks.hold(key):
            page = self._hot.peek(key)
            in_memory_alone = page is not None and not page.inode
            page = evolve(page, validated_at=now) if page and in_memory_alone else await self._read(key, touch)
            if page is not None:
                self._hot.put(key, page)
            elif expected is None or self._hot.peek(key) == expected:
                self._forget(key)  # its file has gone: the next who asks has it fetched and stored again
            return page

    async def _read(self, key: str, then: Callable[[int, StoredPage], T], *, refuse: bool = False) -> T | None:
        """`then(descriptor, page)` of the page's file, in a worker thread; None without a (whole, fitting) page.

        With `refuse` it raises `Unavailable` when no descriptor is left.
        """
        try:
            return await self.engine.workers.run(with_page, self.engine.tree, key, then)
        except DamagedPage as error:
            await self._drop(key, error)
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                self.engine.trouble(f"reading {key}", error)
            if refuse:
                refuse_without_descriptors(error)
        except LookupError:
            pass
        return None

    async def _delete(self, key: str) -> None:
        async with self._locks.hold(key):
            await self._remove(key)

    async def _drop(self, key: str, reason: Exception) -> None:
        self.engine.trouble(f"integrity of {key}", reason)
        await self._remove(key)

    async def _remove(self, key: str) -> None:
        await self._unlink(key)
        await self.engine.ask(None, Catalogue.forget, [(PAGE, key, None)])

    async def _unlink(self, key: str) -> None:
        self._forget(key)
        try:
            await self.engine.workers.run(self.engine.tree.remove, page_path(key))
        except OSError as error:
            self.engine.trouble("delete", error)


def _same(page: StoredPage, wanted: Representation) -> Representation:
    """`wanted`, if the page has it. Raises `LookupError`."""
    if page.representations.get((wanted.body, wanted.encoding)) != wanted:
        raise LookupError("replaced")
    return wanted


def _kept_open(descriptor: int, wanted: Representation) -> tuple[int, Stamp]:
    """A copy of the descriptor, and what the file was like before it was read."""
    return os.dup(descriptor), Stamp.of(descriptor)


def _close(unwanted: bytes | FileSource) -> None:
    if isinstance(unwanted, FileSource):
        unwanted.close()
