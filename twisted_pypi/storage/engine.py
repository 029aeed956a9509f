"""What the parts of the disk store share."""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from collections.abc import Callable, Sized
from typing import TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.errors import Unavailable
from twisted_pypi.events import StoreTrouble
from twisted_pypi.interfaces import Observer, Workers
from twisted_pypi.lru import Lru
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.recency import Recency
from twisted_pypi.storage.tasks import Tasks
from twisted_pypi.storage.tree import Tree

T = TypeVar("T")


def refuse_without_descriptors(error: OSError) -> None:
    """Raises `Unavailable` for want of descriptors: an entry that can't be opened now is neither gone nor damaged."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise Unavailable("Too many open files at the moment") from error


def _tell_grown(engine: Engine, _: object, value: int) -> int:
    """A long transfer makes room as it grows, not when it is through."""
    if value > engine.partial_bytes:
        engine.grown()
    return value


@define(eq=False)
class Engine:
    """Directory, catalogue and threads of one disk store.

    `readers` counts who has an entry open, by (kind, key); `partial_bytes` is what unfinished files take,
    `foreign_bytes` what isn't ours and was there at the start. `bodies` are hot ones in memory, by their SHA-256.
    `records` is what is kept in memory of entries, by kind.
    `grown` is called when something was stored or a partial file grew.
    """

    tree: Tree
    catalogue: Catalogue
    workers: Workers
    catalogue_workers: Workers
    clock: IReactorTime
    observer: Observer
    limits: Limits
    grown: Callable[[], None] = field(default=lambda: None, init=False)
    bodies: Lru[str, bytes] = field(init=False)
    recency: Recency = field(init=False)
    tasks: Tasks = field(factory=Tasks, init=False)
    records: dict[str, Sized] = field(factory=dict, init=False)
    readers: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    partial_bytes: int = field(default=0, init=False, on_setattr=_tell_grown)
    foreign_bytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.bodies = Lru(self.limits.memory, len)
        self.recency = Recency(self.clock, lambda batch: self.tasks.run(self.ask(None, Catalogue.used, batch)))

    async def sql(self, method: Callable[..., T], *args: object) -> T:
        """Call a `Catalogue` method on the catalogue's thread. Raises `sqlite3.Error`."""
        try:
            return await self.catalogue_workers.run(method, self.catalogue, *args)
        except UnicodeDecodeError as error:  # SQLite's message quotes what is damaged
            self.trouble("catalogue", str(error))
            self.catalogue.condemned = True
            raise sqlite3.DatabaseError(str(error)) from error
        except sqlite3.Error as error:
            self.trouble("catalogue", str(error))
            if type(error) is sqlite3.DatabaseError:  # malformed: nothing else raises this very class
                self.catalogue.condemned = True
            raise

    async def ask(self, default: T, method: Callable[..., T], *args: object) -> T:
        """Like `sql`, for what service goes on without: `default` when the catalogue fails."""
        try:
            return await self.sql(method, *args)
        except sqlite3.Error:
            return default

    def trouble(self, what: str, reason: object) -> None:
        """Report what the store could not do."""
        self.observer(StoreTrouble(what, str(reason)))

    def free_for(self, size: int) -> bool:
        """Whether `size` bytes more leave enough of the disk free. Raises `OSError`. Called in a worker thread."""
        free, whole = self.tree.space()
        return free - size >= self.limits.keep_free(whole)

    def opened(self, kind: str, key: str) -> Callable[[], None]:
        """Somebody reads the entry; returns what to call when that is over."""
        self.readers[kind, key] += 1

        def closed() -> None:
            self.readers[kind, key] -= 1
            if not self.readers[kind, key]:
                del self.readers[kind, key]

        return closed
