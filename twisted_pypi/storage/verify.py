"""The whole store checked, on a directory that no daemon uses: every file's digest, every page's parts, what is
missing, unrecorded and foreign.

What is damaged is dropped, so that it is fetched again. What was found right counts as checked now. No reactor: it runs
in the calling thread and hashes in a few of its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from attrs import define, evolve, field, frozen

from twisted_pypi.storage.adoption import opened, shown
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.faults import fault_of, path_of
from twisted_pypi.storage.layout import CATALOGUE, OWN
from twisted_pypi.storage.opened import OpenDirectory, keep_owner, locked_tree
from twisted_pypi.storage.rows import FILE, PAGE, Entry, Stamp

_THREADS = min(4, os.cpu_count() or 1)
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}

DAMAGED = "damaged"
MISSING = "missing"
UNREADABLE = "unreadable"
FOREIGN = "foreign"
FAULTS = (DAMAGED, MISSING, UNREADABLE)
"""What was wrong: damaged and missing ones were dropped, unreadable ones (a failing disk, no permission) were not."""


@frozen
class Finding:
    """Something worth a line: what (`DAMAGED` …), where below the directory, why."""

    what: str
    path: str
    reason: str


class Listener(Protocol):
    """Who watches a check."""

    def total(self, size: int) -> None:
        """So many bytes will be looked at, as far as the catalogue knows."""

    def checked(self, size: int) -> None:
        """So many bytes more were looked at."""

    def found(self, finding: Finding) -> None:
        """Something is worth a line."""


@define
class Tally:
    """What was right: `files` and `pages`, in `size` bytes.

    Of these, `adopted` were not in the catalogue, and `unconfirmed` files will be compared with what a page says when
    they are asked for. `partial` is the number of begun files. `findings` counts what else was found, by kind.
    """

    files: int = 0
    pages: int = 0
    size: int = 0
    adopted: int = 0
    unconfirmed: int = 0
    partial: int = 0
    findings: dict[str, int] = field(factory=dict)

    @property
    def right(self) -> bool:
        """Whether nothing was wrong."""
        return not any(self.findings.get(fault) for fault in FAULTS)


def verify(directory: str, listener: Listener, now: Callable[[], float]) -> Tally:
    """Check the cache in `directory`, which must be one.

    Raises `ConfigError` when a daemon uses it, `OSError` and `sqlite3.Error` when it can't be opened or repaired. When
    it is broken off, the next daemon still checks what an unclean stop may have spoiled.
    """
    with locked_tree(directory) as tree, _catalogue(directory, listener) as (catalogue, tally):
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                _Check(OpenDirectory(tree, catalogue), pool, listener, now, tally).run()
            finally:
                pool.shutdown(cancel_futures=True)
        return tally


@contextmanager
def _catalogue(directory: str, listener: Listener) -> Iterator[tuple[Catalogue, Tally]]:
    """The catalogue, made again if it is damaged; it stays unclean if the check doesn't come to its end."""
    catalogue, tally = Catalogue(os.path.join(directory, CATALOGUE)), Tally()
    reason = catalogue.open()
    if not reason and (reason := catalogue.fault()):
        catalogue.condemned = True
        catalogue.close()
        catalogue.condemned = False
        catalogue.open()
    keep_owner(directory)
    if reason:
        tally.findings[DAMAGED] = 1
        listener.found(Finding(DAMAGED, CATALOGUE, f"made again from the files: {reason}"))
    done = False
    try:
        yield catalogue, tally
        done = True
    finally:
        catalogue.close(clean=done or not catalogue.unclean)


@define
class _Check:
    opened: OpenDirectory
    pool: ThreadPoolExecutor
    listener: Listener
    now: Callable[[], float]
    tally: Tally

    def run(self) -> None:
        self.listener.total(self.opened.catalogue.size)
        self.tally.partial = len(self.opened.tree.leftovers())
        # Whether what was found is right is seen with all the others.
        self.tally.adopted = self.opened.adopt(
            self.now(), partial(self._note, FOREIGN, reason="left alone"), self._refused
        )
        self._recorded()
        for path in self.opened.tree.strangers(OWN):
            self._note(FOREIGN, shown(path), "left alone")

    def _recorded(self) -> None:
        """Every entry of the catalogue."""
        tree, catalogue = self.opened.tree, self.opened.catalogue
        for entries in self.opened.slices():
            right, gone = [], []
            announced = map(self._announced, entries)
            for entry, result in zip(entries, self.pool.map(self._look, entries, list(announced)), strict=True):
                self.listener.checked(entry.stamp.size)
                if isinstance(result, Entry):
                    right.append(result)
                    self._count(result)
                else:
                    self._note(result.what, result.path, result.reason)
                    gone += [entry] if result.what != UNREADABLE else []
            for entry in gone:
                tree.remove(path_of(entry))
            catalogue.forget((entry.kind, entry.key, None) for entry in gone)
            catalogue.recheck(right)

    def _announced(self, entry: Entry) -> list[Mapping[str, str]]:
        """What pages said of a file that was found, not stored: nothing else tells whether it is right."""
        unknown = entry.kind == FILE and not entry.sha256
        return [each.link.hashes for each in self.opened.catalogue.links(entry.key)] if unknown else []

    def _look(self, entry: Entry, announced: list[Mapping[str, str]]) -> Entry | Finding:
        """The entry as it should be recorded now, or what is wrong. Called in a thread."""
        path = path_of(entry)
        try:
            with opened(self.opened.tree, path) as descriptor:
                stamp = Stamp.of(descriptor)
                reason = fault_of(entry, descriptor, announced)
        except OSError as error:
            return Finding(MISSING if error.errno in _NOT_THERE else UNREADABLE, shown(path), error.strerror or "")
        if reason:
            return Finding(DAMAGED, shown(path), reason)
        return evolve(entry, stamp=stamp, checked_at=self.now())

    def _refused(self, path: str, error: Exception) -> None:
        if isinstance(error, OSError):
            self._note(UNREADABLE, path, error.strerror or "")
        else:
            self._note(DAMAGED, path, str(error))

    def _count(self, entry: Entry) -> None:
        self.tally.files += entry.kind == FILE
        self.tally.pages += entry.kind == PAGE
        self.tally.unconfirmed += entry.kind == FILE and not entry.sha256
        self.tally.size += entry.stamp.size

    def _note(self, what: str, path: str, reason: str) -> None:
        self.tally.findings[what] = self.tally.findings.get(what, 0) + 1
        self.listener.found(Finding(what, path, reason))
