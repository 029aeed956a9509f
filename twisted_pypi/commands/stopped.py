"""The cache in a directory that no daemon uses. Looking changes nothing in it; purging locks it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from attrs import asdict, evolve, frozen

from twisted_pypi.caching.inventory import shown_entry, shown_heap
from twisted_pypi.caching.knowledge import first_of
from twisted_pypi.caching.withheld import KIND
from twisted_pypi.commands.problems import NothingFits
from twisted_pypi.interfaces.listing import MOST, Listed, Totals, Wanted
from twisted_pypi.interfaces.purging import Purge, Purged
from twisted_pypi.storage.layout import CATALOGUE, TEMPORARY
from twisted_pypi.storage.listing import folded, heaped, listed, names_after
from twisted_pypi.storage.opened import OpenDirectory, open_directory
from twisted_pypi.storage.pagefile import set_time
from twisted_pypi.storage.rows import FILE, PAGE

_NOTE = ".json"


@frozen
class Stopped:
    """The cache in `directory`, of at most `limit` bytes; its pages are fresh for `ttl` seconds at most.

    Every method raises `Unavailable` where the catalogue can't be read, and `OSError`.
    """

    directory: str
    limit: int
    ttl: float

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return self.directory

    def status(self) -> Mapping[str, Any]:
        """Its figures."""
        totals, _ = heaped(self.directory, Wanted(limit=0), at_rest=True)
        return {
            "daemon": "not running",
            "directory": self.directory,
            "entries": totals.pages + totals.files,
            **asdict(totals),
            "limit": self.limit,
            "catalogue_size": os.path.getsize(os.path.join(self.directory, CATALOGUE)),
            "partial_files": self._partial(),
        }

    def listed(self, wanted: Wanted, by_name: bool) -> Iterator[Mapping[str, Any]]:
        """What is stored, batch by batch, up to the limit; for how long pages are fresh only a daemon can tell."""
        left, skip, more = wanted.limit, wanted.skip, True
        while left > 0 and more:
            totals, rows = self._rows(evolve(wanted, limit=min(left, MOST), skip=skip), by_name)
            yield {"total": asdict(totals), "names" if by_name else "entries": rows}
            more = len(rows) == min(left, MOST)
            left, skip = left - len(rows), skip + len(rows)

    def purge(self, wanted: Purge) -> Mapping[str, Any]:
        """Purge; what was. Raises `NothingFits` if nothing is stored of that, `ConfigError` and `sqlite3.Error`."""
        done = Purged()
        with open_directory(self.directory) as opened:
            for name in list(self._names(wanted)):
                of_name = Purged()
                self._purge_name(opened, name, wanted, of_name)
                done.add(of_name)
        if not done.known:
            raise NothingFits(f"nothing is stored of {wanted.name}")
        counts = {"purged": done.entries, "names": done.names, "pages": done.pages, "files": done.files}
        return {"name": wanted.name, **counts, "bytes": done.size}

    def _rows(self, wanted: Wanted, by_name: bool) -> tuple[Totals, list[dict[str, Any]]]:
        if by_name:
            totals, heaps = heaped(self.directory, wanted, at_rest=True)
            return totals, [shown_heap(heap) for heap in heaps]
        totals, rows = listed(self.directory, wanted, at_rest=True)
        return totals, [shown_entry(row, 0.0, {}) for row in rows]

    def _partial(self) -> int:
        with suppress(OSError):
            names = os.listdir(os.path.join(self.directory, TEMPORARY))
            return sum(not name.endswith(_NOTE) for name in names)
        return 0

    def _names(self, wanted: Purge) -> Iterator[str]:
        """The names that are meant, as they are stored."""
        pattern = "*" in wanted.name
        text, last = wanted.name if pattern else f"{wanted.name}*", ""
        while names := names_after(self.directory, last, Wanted(text, index=wanted.index, limit=MOST)):
            yield from (name for name in names if pattern or folded(name) == folded(wanted.name))
            last = names[-1]
        if wanted.name.strip("*") == "":
            yield ""  # what has no name

    def _purge_name(self, opened: OpenDirectory, name: str, wanted: Purge, done: Purged) -> None:
        if wanted.index in (None, opened.catalogue.owner(name)):
            opened.catalogue.set_owner(name, None)
        for row in self._stored(name, PAGE, wanted.index):
            done.pages += self._expire(opened, row)
        files = self._stored(name, FILE, wanted.index)
        if not wanted.files:
            done.kept = int(bool(files) and not done.pages)
            return
        for row in files:
            opened.tree.remove(tuple(row.path.split("/")))
            opened.catalogue.forget([(FILE, row.key, None)])
            opened.catalogue.unmark(first_of(row.index), [row.key])
            done.files, done.size = done.files + 1, done.size + row.size

    def _stored(self, name: str, kind: str, index: str | None) -> list[Listed]:
        found: list[Listed] = []
        wanted = Wanted(name, kind, index, limit=MOST, exact=True)
        while some := listed(self.directory, evolve(wanted, skip=len(found)))[1]:
            found += some
        return found

    def _expire(self, opened: OpenDirectory, row: Listed) -> bool:
        """Have the page be just stale, so that `--max-stale` counts from now."""
        try:
            descriptor = opened.tree.open_file(tuple(row.path.split("/")))
        except FileNotFoundError:
            return False
        try:
            set_time(descriptor, min(row.confirmed_at, time.time() - self.ttl - 1))
        finally:
            os.close(descriptor)
        opened.catalogue.unmark(KIND, [row.key])
        return True
