"""Bringing catalogue and directory together again, beside the service, in slices.

Leftovers in `tmp/` that can't be gone on with are deleted, entries whose file has gone are dropped, and what the
catalogue doesn't know is adopted (see `adoption`). Foreign files are left alone and reported once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from twisted_pypi.interfaces import PageStore
from twisted_pypi.storage.adoption import Found, find, is_foreign, is_nameless, shown, unrecorded
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.disk_facts import DiskFacts
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.layout import FILES, OWN, PAGES, Path, key_at
from twisted_pypi.storage.pagefile import DamagedPage
from twisted_pypi.storage.rows import FILE, PAGE, Entry

SLICE = 200
PAUSE = 0.02
"""Seconds between two slices."""


@define(eq=False)
class Reconciler:
    """One pass over directory and catalogue."""

    engine: Engine
    facts: DiskFacts
    pages: PageStore
    running: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)
    _foreign: int = field(default=0, init=False)
    _first_foreign: str = field(default="", init=False)
    _pausing: Deferred[None] | None = field(default=None, init=False)

    def stop(self) -> None:
        """End after the slice under way."""
        self._stopped = True
        if self._pausing is not None:
            self._pausing.cancel()

    async def run(self, leftovers: list[str]) -> None:
        """All of it; `leftovers` are names in `tmp/` that are of no use. Never raises."""
        self.running = True
        try:
            await self._discard(leftovers)
            await self._drop_gone()
            await self._name()
            await self._strangers()
            await self._adopt(PAGE, self.engine.tree.walk(PAGES))
            await self._adopt(FILE, self.engine.tree.walk(FILES))
        except OSError as error:
            self.engine.trouble("reconciliation", error)
        finally:
            self.running = False
        self._report()
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

    async def _name(self) -> None:
        """Name what an earlier version recorded without."""
        while await self._go_on():
            if not await self.engine.ask(0, Catalogue.name_some, SLICE):
                return

    async def _adopt(self, kind: str, paths: Iterator[Path]) -> None:
        while await self._go_on():
            some = await self.engine.workers.run(lambda: list(islice(paths, SLICE)))
            if not some:
                return
            unknown: list[Path] = await self.engine.ask([], unrecorded, kind, some)
            for path in unknown:
                if is_foreign(path):
                    await self._note_foreign([path])
                elif found := await self._found(kind, path):
                    await self.engine.ask(None, Catalogue.record, found.entry, found.links, False)
                    self.facts.changed(found.links)

    async def _found(self, kind: str, path: Path) -> Found | None:
        tree, now = self.engine.tree, self.engine.clock.seconds()
        try:
            if is_nameless(kind, path):  # nobody will ask for it
                await self.engine.workers.run(tree.remove, path)
                return None
            return await self.engine.workers.run(find, tree, kind, path, now)
        except (DamagedPage, OSError) as error:
            self.engine.trouble(f"adopting {shown(path)}", error)
            if isinstance(error, DamagedPage):
                await self._drop_page(path)
            return None

    async def _drop_page(self, path: Path) -> None:
        key = key_at(path)
        if key is not None:
            await self.pages.delete(key)
        else:
            await self.engine.workers.run(self.engine.tree.remove, path)

    async def _note_foreign(self, paths: list[Path]) -> None:
        self._foreign += len(paths)
        self._first_foreign = self._first_foreign or shown(paths[0])
        self.engine.foreign_bytes += await self.engine.workers.run(self.engine.tree.size, paths)

    async def _strangers(self) -> None:
        """Note what lies beside our own folders, and report all that is foreign, once."""
        self.engine.foreign_bytes = 0
        strangers = self.engine.tree.strangers(OWN)
        while await self._go_on():
            some = await self.engine.workers.run(lambda: list(islice(strangers, SLICE)))
            if not some:
                break
            await self._note_foreign(some)

    def _report(self) -> None:
        if self._foreign:
            count = f"{self._foreign} that aren't ours are left alone and count for --cache-size"
            self.engine.trouble("foreign files", f"{count}; the first is {self._first_foreign}")
