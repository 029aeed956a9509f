"""The store on disk: a directory that an administrator can read, beside a catalogue that can be made again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.errors import ConfigError
from twisted_pypi.interfaces import Facts, FileStore, Observer, PageStore, Workers
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.disk_facts import DiskFacts
from twisted_pypi.storage.disk_files import DiskFiles
from twisted_pypi.storage.disk_pages import DiskPages
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.eviction import Evictor
from twisted_pypi.storage.layout import CATALOGUE, FILES, PAGES
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.lock import OPTION, DirectoryLock, lock_directory
from twisted_pypi.storage.occupancy import Occupancy, Space
from twisted_pypi.storage.pruning import Pruner
from twisted_pypi.storage.reconcile import Reconciler
from twisted_pypi.storage.rows import FILE, PAGE
from twisted_pypi.storage.tree import Tree


@define(eq=False)
class DiskStore:
    """`interfaces.Store` in `directory`.

    `workers` do disk work, hashing and compressing; `catalogue_workers` must be one thread of its own, for SQL.
    """

    directory: str
    workers: Workers
    catalogue_workers: Workers
    clock: IReactorTime
    observer: Observer
    limits: Limits = field(factory=Limits)
    pages: PageStore = field(init=False)
    files: FileStore = field(init=False)
    facts: Facts = field(init=False)
    _engine: Engine = field(init=False)
    _files: DiskFiles = field(init=False)
    _pages: DiskPages = field(init=False)
    _evictor: Evictor = field(init=False)
    _reconciler: Reconciler = field(init=False)
    _pruner: Pruner = field(init=False)
    _lock: DirectoryLock | None = field(default=None, init=False)
    _open: bool = field(default=False, init=False)
    _rebuilding: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        catalogue = Catalogue(os.path.join(self.directory, CATALOGUE))
        shared = (self.workers, self.catalogue_workers, self.clock, self.observer, self.limits)
        engine = self._engine = Engine(Tree(self.directory), catalogue, *shared)
        self.facts = facts = DiskFacts(engine)
        self.pages = self._pages = pages = DiskPages(engine, facts)
        self.files = self._files = DiskFiles(engine)
        self._evictor = Evictor(engine, {PAGE: pages, FILE: self._files})
        self._reconciler = Reconciler(engine, facts, self.pages)
        self._pruner = Pruner(engine)
        catalogue.remade = self._remade
        engine.grown = self._evictor.check

    async def start(self) -> None:
        """Lock and open; return as soon as the store can answer, and reconcile in the background.

        Raises `ConfigError` when the directory can't be used, or another daemon uses it.
        """
        self._lock = lock_directory(self.directory)
        try:
            self._engine.tree.open()
            leftovers = await self._files.leftovers.load()
            reason = await self.catalogue_workers.run(self._engine.catalogue.open)
        except (OSError, sqlite3.Error) as error:
            self._unlock()
            raise ConfigError(OPTION, f"{self.directory}: {error}") from error
        if self._engine.catalogue.unclean:
            self._files.distrust_before = self.clock.seconds()
        self._rebuilding = bool(reason) and any(map(self._engine.tree.exists, (PAGES, FILES)))
        if self._rebuilding:
            self._engine.trouble("catalogue made again", reason)
        self._open = True
        self._engine.tasks.run(self._reconciler.run(leftovers))
        self._evictor.start()
        self._pruner.start()

    async def stop(self) -> None:
        """Write behind what is pending, close, unlock. Idempotent."""
        if self._lock is None:
            return
        self._open = False
        self._reconciler.stop()
        self._evictor.stop()
        self._pruner.stop()
        self._engine.recency.flush()
        await self._engine.tasks.settle()
        self._files.close()
        self._pages.close()
        await self.catalogue_workers.run(self._engine.catalogue.close)
        self._unlock()

    def use(self, limits: Limits) -> None:
        """Keep to other limits from now on."""
        self.limits = self._engine.limits = limits
        self._engine.bodies.resize(limits.memory)
        if self._lock is not None:
            self._evictor.check()

    def use_names(self, name_of: Callable[[str, str], str]) -> None:
        """Record entries under the names that this gives them (see `Catalogue`)."""
        self._engine.catalogue.name_of = name_of

    def usage(self) -> tuple[int, int]:
        """(entries, bytes) stored now."""
        return self._engine.catalogue.entries, self._engine.catalogue.size

    @property
    def condition(self) -> str:
        """In a word: "opening"; "rebuilding" (the catalogue was lost, and is made again from the files beside the
        service); "reconciling" (it is compared with them); "ready"."""
        if not self._open:
            return "opening"
        if self._reconciler.running:
            return "rebuilding" if self._rebuilding else "reconciling"
        return "ready"

    def occupancy(self) -> Occupancy:
        """What is taken of disk and memory now, from memory alone."""
        engine = self._engine
        catalogue, bodies = engine.catalogue, engine.bodies
        return Occupancy(
            entries=catalogue.entries,
            stored=catalogue.size,
            partial=engine.partial_bytes,
            overhead=catalogue.footprint + engine.foreign_bytes,
            limit=engine.limits.total,
            bodies=(len(bodies), bodies.weight, bodies.limit),
            records={kind: len(records) for kind, records in engine.records.items()},
        )

    async def space(self) -> Space:
        """What the file system has to give. Raises `OSError`, `Unavailable`."""
        free, whole = await self.workers.run(self._engine.tree.space)
        return Space(free, whole, self._engine.limits.keep_free(whole))

    def _remade(self) -> None:
        """The catalogue was wiped, and perhaps the lock too. Called on the catalogue's thread.

        Raises `sqlite3.OperationalError`, which is told like any other trouble with the catalogue.
        """
        before = self._lock
        if before is None or before.is_of(self.directory):
            return
        try:
            self._lock = lock_directory(self.directory)
        except ConfigError as error:
            raise sqlite3.OperationalError(str(error)) from error
        before.release()

    def _unlock(self) -> None:
        self._engine.tree.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
