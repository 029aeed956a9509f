"""The catalogue: what is stored, what pages said of files, who owns which name. SQLite, on one thread of its own.

It can always be made again: from the page files wholly, from the files but for their digests. Every method but `open`
raises `sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from attrs import astuple, define, field

from twisted_pypi.records import NamedLink, digests_of
from twisted_pypi.storage import links as said
from twisted_pypi.storage import marks
from twisted_pypi.storage.database import Database
from twisted_pypi.storage.links import LINKS, link_of
from twisted_pypi.storage.rows import COLUMNS, Aged, Entry, LinkRow, entry_of, mapping_of, row_of
from twisted_pypi.storage.schema import prepare

_UNNAMED = "SELECT kind, key, index_name FROM entries WHERE name IS NULL LIMIT ?"
_RECORD = f"INSERT OR REPLACE INTO entries ({COLUMNS}, name) VALUES ({', '.join('?' * 16)})"
_BATCH = 500  # of SQLite's 999 parameters


@define
class Catalogue(Database):
    """The catalogue at `path`.

    `entries` and `size` are running totals, which may be read from any thread. `name_of` (index, key) gives the name
    under which people look for an entry, "" if it has none, None if it can't be told now; it is asked, on the
    catalogue's thread, when the entry is recorded.
    """

    name_of: Callable[[str, str], str | None] = field(default=lambda index, key: None, kw_only=True)
    entries: int = field(default=0, init=False)
    size: int = field(default=0, init=False)

    def entry(self, kind: str, key: str) -> Entry | None:
        """The entry with this key."""
        query = f"SELECT {COLUMNS} FROM entries WHERE kind = ? AND key = ?"
        row = self._db.execute(query, (kind, key)).fetchone()
        return entry_of(row) if row else None

    def after(self, kind: str, key: str, limit: int) -> list[Entry]:
        """The next entries in the order of (kind, key)."""
        query = f"SELECT {COLUMNS} FROM entries WHERE (kind, key) > (?, ?) ORDER BY kind, key LIMIT ?"
        return [entry_of(row) for row in self._db.execute(query, (kind, key, limit))]

    def held(self, kind: str, values: list[str], column: str = "key") -> dict[str, Mapping[str, str]]:
        """Those of the keys (or with `column` "path": paths, a slow look at all entries) that have an entry, and its
        digests."""
        found: dict[str, Mapping[str, str]] = {}
        for start in range(0, len(values), _BATCH):
            some = values[start : start + _BATCH]
            where = f"kind = ? AND {column} IN ({', '.join('?' * len(some))})"
            rows = self._db.execute(f"SELECT {column}, sha256, hashes FROM entries WHERE {where}", (kind, *some))
            found.update((value, digests_of(sha256, mapping_of(hashes))) for value, sha256, hashes in rows)
        return found

    def record(self, entry: Entry, links: Iterable[LinkRow] = (), replace: bool = True) -> None:
        """Record an entry, and what it says of files, at once; without `replace`, only if there is no such entry."""
        self._ensure()
        with self._transaction():
            before = self._sizes(((entry.kind, entry.key, None),))
            if before and not replace:
                return
            name = self.name_of(entry.index, entry.key)
            self._db.execute(_RECORD, (*row_of(entry), name))
            said.record_links(self._db, entry.index, links, name or "", entry.stored_at)
        self._count(1 - len(before), entry.stamp.size - sum(before))

    def forget(self, rows: Iterable[tuple[str, str, int | None]]) -> None:
        """Drop the entries (kind, key, inode); with an inode, only if the entry still has it."""
        rows = list(rows)
        with self._transaction():
            gone = self._sizes(rows)
            query = "DELETE FROM entries WHERE kind = ?1 AND key = ?2 AND (?3 IS NULL OR inode = ?3)"
            self._db.executemany(query, rows)
        self._count(-len(gone), -sum(gone))

    def recheck(self, entries: Iterable[Entry]) -> None:
        """Record what a check of entries showed: their stamps, and when it was."""
        entries = list(entries)
        with self._transaction():
            before = sum(self._sizes((entry.kind, entry.key, None) for entry in entries))
            query = "UPDATE entries SET size = ?, mtime_ns = ?, inode = ?, checked_at = ? WHERE kind = ? AND key = ?"
            self._db.executemany(
                query, ((*astuple(each.stamp), each.checked_at, each.kind, each.key) for each in entries)
            )
        self._count(0, sum(entry.stamp.size for entry in entries) - before)

    def fault(self) -> str:
        """What a look at everything finds wrong with the database itself, "" if nothing. Takes seconds."""
        try:
            answer = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if answer == "ok":
                deque(map(entry_of, self._db.execute(f"SELECT {COLUMNS} FROM entries")), 0)
                deque(map(link_of, self._db.execute(LINKS)), 0)
                return ""
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            answer = str(error)
        return str(answer)

    def used(self, batch: Iterable[tuple[float, str, str]]) -> None:
        """Note (time, kind, key) of uses."""
        with self._transaction():
            self._db.executemany("UPDATE entries SET used_at = ? WHERE kind = ? AND key = ?", batch)

    def oldest(self, skip: int, limit: int, before: float | None = None) -> list[Aged]:
        """Entries, the least recently used first, but for the first `skip`; only those last used before `before`."""
        query = "SELECT kind, key, size, inode FROM entries WHERE used_at < ? ORDER BY used_at LIMIT ? OFFSET ?"
        bound = float("inf") if before is None else before
        return [Aged(*row) for row in self._db.execute(query, (bound, limit, skip))]

    def aged(self, kind: str, keys: list[str]) -> list[Aged]:
        """The entries with these keys."""
        query = "SELECT kind, key, size, inode FROM entries WHERE kind = ? AND key = ?"
        rows = (self._db.execute(query, (kind, key)).fetchone() for key in keys)
        return [Aged(*row) for row in rows if row]

    def links(self, key: str) -> tuple[NamedLink, ...]:
        """What each index last said of the file with this key."""
        return said.links_of(self._db, key)

    def record_links(self, index: str, links: Iterable[LinkRow]) -> None:
        """Record what `index` says of files, for good: no page of it is stored that could be gone some day."""
        with self._transaction():
            said.record_links(self._db, index, links, "", 0.0)
        self._measure()

    def prune(self, after: said.Place, before: float, limit: int) -> tuple[said.Place | None, int]:
        """See `links.prune`."""
        with self._transaction():
            going_on, dropped = said.prune(self._db, after, before, limit)
        self._measure()
        return going_on, dropped

    def name_some(self, limit: int) -> int:
        """Name up to `limit` entries of a time when that could not be; how many that were."""
        rows = self._db.execute(_UNNAMED, (limit,)).fetchall()
        with self._transaction():
            named = ((self.name_of(index, key) or "", kind, key) for kind, key, index in rows)
            self._db.executemany("UPDATE entries SET name = ? WHERE kind = ? AND key = ?", named)
        return len(rows)

    def owner(self, name: str) -> str | None:
        """The index that owns the name."""
        row = self._db.execute("SELECT index_name FROM owners WHERE name = ?", (name,)).fetchone()
        return cast("str | None", row and row[0])

    def set_owner(self, name: str, index: str | None) -> None:
        """Record the owner of a name; None: nobody."""
        with self._transaction():
            if index is None:
                self._db.execute("DELETE FROM owners WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (name, index))

    def marks(self, kind: str, subject: str) -> dict[str, float]:
        """See `marks.marks_of`."""
        return marks.marks_of(self._db, kind, subject)

    def mark(self, kind: str, subject: str, value: str, until: float) -> None:
        """See `marks.set_mark`."""
        with self._transaction():
            marks.set_mark(self._db, kind, subject, value, until)

    def unmark(self, kind: str, subjects: list[str]) -> None:
        """See `marks.forget_marks`."""
        with self._transaction():
            marks.forget_marks(self._db, kind, subjects)

    def unmark_until(self, now: float) -> int:
        """See `marks.forget_past`."""
        with self._transaction():
            return marks.forget_past(self._db, now)

    def _prepare(self) -> None:
        """Raises `sqlite3.Error` for a database that is no catalogue."""
        prepare(self._db)
        owners, notes = "SELECT name, index_name FROM owners", "SELECT kind, subject, value, until FROM marks"
        names = f"SELECT {COLUMNS}, name FROM entries", "SELECT name, seen_at FROM links"
        for query in (*names, LINKS, owners, notes):
            self._db.execute(f"{query} LIMIT 0")  # the version says much, the tables themselves say all
        self.entries, size = self._db.execute("SELECT count(*), total(size) FROM entries").fetchone()
        self.size = int(size)

    def _sizes(self, rows: Iterable[tuple[str, str, int | None]]) -> list[int]:
        query = "SELECT size FROM entries WHERE kind = ?1 AND key = ?2 AND (?3 IS NULL OR inode = ?3)"
        found = (self._db.execute(query, row).fetchone() for row in rows)
        return [row[0] for row in found if row]

    def _count(self, entries: int, size: int) -> None:
        self.entries += entries
        self.size = int(self.size + size)
        self._measure()
