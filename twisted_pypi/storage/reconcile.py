"""Bringing catalogue and directory together again, beside the service, in slices.

Leftovers in `tmp/` that can't be gone on with are deleted, entries whose file has gone are dropped, and what the
catalogue doesn't know is adopted: pages with all that they say, files as unconfirmed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from twisted_pypi.interfaces import PageStore
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.disk_facts import DiskFacts
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.layout import FILES, PAGES, Path, is_hashed, key_at, page_path
from twisted_pypi.storage.pagefile import DamagedPage, read_links, read_page
from twisted_pypi.storage.rows import FILE, PAGE, Entry, LinkRow, Stamp

SLICE = 200
PAUSE = 0.02
"""Seconds between two slices."""

Found = tuple[Entry | None, list[LinkRow]]


@define(eq=False)
class Reconciler:
    """One pass over directory and catalogue."""

    engine: Engine
    facts: DiskFacts
    pages: PageStore
    _stopped: bool = field(default=False, init=False)
    _pausing: Deferred[None] | None = field(default=None, init=False)

    def stop(self) -> None:
        """End after the slice under way."""
        self._stopped = True
        if self._pausing is not None:
            self._pausing.cancel()

    async def run(self, leftovers: list[str]) -> None:
        """All of it; `leftovers` are names in `tmp/` that are of no use. Never raises."""
        try:
            await self._discard(leftovers)
            await self._drop_gone()
            await self._adopt(PAGE, self.engine.tree.walk(PAGES))
            await self._adopt(FILE, self.engine.tree.walk(FILES))
        except OSError as error:
            self.engine.trouble("reconciliation", error)
        self.engine.grown()

    async def _go_on(self) -> bool:
        """Let others work; whether to go on."""
        if not self._stopped:
            pausing: Deferred[None] = Deferred()
            self._pausing = pausing
            due = self.engine.clock.callLater(PAUSE, pausing.callback, None)
            try:
                await pausing
            except CancelledError:
                due.cancel()
            self._pausing = None
        return not self._stopped

    async def _discard(self, leftovers: list[str]) -> None:
        while leftovers and await self._go_on():
            some, leftovers = leftovers[:SLICE], leftovers[SLICE:]
            await self.engine.workers.run(self._discard_some, some)

    def _discard_some(self, names: list[str]) -> None:
        for name in names:
            self.engine.tree.discard(name)

    async def _drop_gone(self) -> None:
        last = ("", "")
        while await self._go_on():
            entries: list[Entry] = await self.engine.ask([], Catalogue.after, *last, SLICE)
            if not entries:
                return
            last = (entries[-1].kind, entries[-1].key)
            gone = await self.engine.workers.run(self._gone, entries)
            if gone:
                await self.engine.ask(None, Catalogue.forget, gone)

    def _gone(self, entries: list[Entry]) -> list[tuple[str, str, int | None]]:
        exists = self.engine.tree.exists
        return [(entry.kind, entry.key, entry.stamp.inode) for entry in entries if not exists(entry.path)]

    async def _adopt(self, kind: str, paths: Iterator[Path]) -> None:
        while await self._go_on():
            some = await self.engine.workers.run(lambda: list(islice(paths, SLICE)))
            if not some:
                return
            for path in await self._unknown(kind, some):
                entry, links = await self._found(kind, path)
                if entry is not None:
                    await self.engine.ask(None, Catalogue.record, entry, links, False)
                    self.facts.changed(links)

    async def _unknown(self, kind: str, paths: list[Path]) -> list[Path]:
        """The paths without an entry."""
        keys = {path: key_at(path) for path in paths}
        hashed = ["/".join(path) for path in paths if is_hashed(path)]
        known = await self.engine.ask(None, Catalogue.held, kind, [key for key in keys.values() if key])
        known_paths = await self.engine.ask(None, Catalogue.held, kind, hashed, "path") if hashed else set()
        if known is None or known_paths is None:
            return []
        return [path for path in paths if keys[path] not in known and "/".join(path) not in known_paths]

    async def _found(self, kind: str, path: Path) -> Found:
        try:
            return await self.engine.workers.run(self._page if kind == PAGE else self._file, path)
        except (DamagedPage, OSError) as error:
            self.engine.trouble(f"adopting {'/'.join(path)}", error)
            if isinstance(error, DamagedPage):
                await self._drop_page(path)
            return None, []

    async def _drop_page(self, path: Path) -> None:
        key = key_at(path)
        if key is not None:
            await self.pages.delete(key)
        else:
            await self.engine.workers.run(self.engine.tree.remove, path)

    def _file(self, path: Path) -> Found:
        """The entry of a file; one of ours whose key can't be told is deleted, as nobody will ask for it."""
        key = key_at(path)
        if key is None:
            if is_hashed(path):
                self.engine.tree.remove(path)
            return None, []
        with self._opened(path) as descriptor:
            return self._entry(FILE, key, path, descriptor), []

    def _page(self, path: Path) -> Found:
        """The entry and the links of a page. Raises `DamagedPage`."""
        with self._opened(path) as descriptor:
            found = read_page(descriptor)
            meta = found.page.meta
            if page_path(meta.key) != path:
                raise DamagedPage("it is not where it belongs")
            return self._entry(PAGE, meta.key, path, descriptor, meta.index), read_links(descriptor, found)

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        descriptor = self.engine.tree.open_file(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _entry(self, kind: str, key: str, path: Path, descriptor: int, index: str = "") -> Entry:
        now, stamp = self.engine.clock.seconds(), Stamp.of(descriptor)
        return Entry(kind, key, "/".join(path), stamp, index=index, stored_at=stamp.mtime_ns / 1e9, used_at=now)
