"""The catalogue: what is stored, what pages said of files, who owns which name. SQLite, on one thread of its own.

It can always be made again: from the page files wholly, from the files but for their digests. Every method but `open`
raises `sqlite3.Error`.
"""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import cast

from attrs import astuple, define, field

from twisted_pypi.records import NamedLink, digests_of
from twisted_pypi.storage import links as said
from twisted_pypi.storage import marks
from twisted_pypi.storage.links import LINKS, link_of
from twisted_pypi.storage.rows import COLUMNS, Aged, Entry, LinkRow, entry_of, mapping_of, row_of
from twisted_pypi.storage.schema import prepare

_UNNAMED = "SELECT kind, key, index_name FROM entries WHERE name IS NULL LIMIT ?"
_TYPES = (str, str, str, int, int, int, str, str, str, str, str, int, float, float, float)
_RECORD = f"INSERT OR REPLACE INTO entries ({COLUMNS}, name) VALUES ({', '.join('?' * 16)})"
_OPEN = 0x70706F70  # in the database's header while somebody has it open
_FILES = ("", "-wal", "-shm", "-journal")
_OF_THE_MOMENT = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Errors that say nothing against the file itself."""
_BATCH = 500  # of SQLite's 999 parameters


@define
class Catalogue:
    """The database at `path`; `patience` is how many seconds to wait for whoever else has it locked.

    `entries` and `size` are running totals, `footprint` what the database itself takes on disk; they may be read from
    any thread. Once `condemned`, it is deleted when it is closed, and the next start makes a new one.
    `unclean` tells that who had it open last did not close it. `remade` is called when it was deleted under us and
    there is a new one. `name_of` (index, key) gives the name under which people look for an entry, "" if it has none,
    None if it can't be told now; it is asked when the entry is recorded. Both are called on the catalogue's thread.
    """

    path: str
    patience: float = 10.0
    name_of: Callable[[str, str], str | None] = field(default=lambda index, key: None, kw_only=True)
    entries: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    footprint: int = field(default=0, init=False)
    condemned: bool = field(default=False, init=False)
    unclean: bool = field(default=False, init=False)
    remade: Callable[[], None] = field(default=lambda: None, init=False)
    _db: sqlite3.Connection = field(init=False)

    def open(self) -> str:
        """Open; a catalogue that is unusable gives way to a new one. Why it did so, or "".

        Raises `sqlite3.Error` or `OSError` when not even a new one can be made.
        """
        reason = "" if os.path.exists(self.path) else "there was none"
        try:
            if not reason:
                self._connect()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter from an error message of SQLite's
            self._db.close()
            code = getattr(error, "sqlite_errorcode", 0)
            # Without further detail, read-only is what the file says of itself: we opened it for writing.
            if code & 0xFF in _OF_THE_MOMENT and code != sqlite3.SQLITE_READONLY:
                raise
            reason = str(error)
        if reason:
            self._unlink()
            self._connect()
        return reason

    def close(self, clean: bool = True) -> None:
        """Write everything into the main file and end; with `clean` False, as if it had not been closed."""
        with suppress(sqlite3.Error):
            if clean:
                self._db.execute("PRAGMA application_id = 0")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()
        if self.condemned:
            self._unlink()

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
        if not os.path.exists(self.path):
            self._make_again()
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

    def compact(self) -> int:
        """Give back to the file system what the database has left in itself; how many bytes that were.

        Takes seconds, and meanwhile as much disk again.
        """
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = _size(self.path)
        if self._db.execute("PRAGMA freelist_count").fetchone()[0]:
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._count(0, 0)
        return before - _size(self.path)

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
        self._count(0, 0)

    def prune(self, after: said.Place, before: float, limit: int) -> tuple[said.Place | None, int]:
        """See `links.prune`."""
        with self._transaction():
            going_on, dropped = said.prune(self._db, after, before, limit)
        self._count(0, 0)
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

    def _connect(self) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        # Twisted's pool of one may end its thread and begin another: still one at a time.
        self._db = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 4194304"):
            self._db.execute(f"PRAGMA {pragma}")
        # Pages of 4 KiB. A checkpoint flushes the disk: with a smaller log, eviction would do that for every slice.
        self._db.execute("PRAGMA wal_autocheckpoint = 1000")
        prepare(self._db)
        owners, notes = "SELECT name, index_name FROM owners", "SELECT kind, subject, value, until FROM marks"
        names = f"SELECT {COLUMNS}, name FROM entries", "SELECT name, seen_at FROM links"
        for query in (*names, LINKS, owners, notes):
            self._db.execute(f"{query} LIMIT 0")  # the version says much, the tables themselves say all
        self.unclean = self._db.execute("PRAGMA application_id").fetchone()[0] == _OPEN
        self._db.execute(f"PRAGMA application_id = {_OPEN}")
        self.entries, self.size = self._db.execute("SELECT count(*), total(size) FROM entries").fetchone()
        self._count(0, 0)

    def _make_again(self) -> None:
        """The directory was wiped: what is stored from now on is recorded anew."""
        old = self._db
        try:
            self._unlink()
            self._connect()
        except OSError as error:
            self._db = old
            raise sqlite3.OperationalError(str(error)) from error
        old.close()  # SQLite sees that its file has gone, and leaves alone what is there now
        self.condemned = False
        self.remade()

    def _unlink(self) -> None:
        for ending in _FILES:
            with suppress(FileNotFoundError):
                os.unlink(self.path + ending)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled back already
                self._db.execute("ROLLBACK")
            raise

    def _sizes(self, rows: Iterable[tuple[str, str, int | None]]) -> list[int]:
        query = "SELECT size FROM entries WHERE kind = ?1 AND key = ?2 AND (?3 IS NULL OR inode = ?3)"
        found = (self._db.execute(query, row).fetchone() for row in rows)
        return [row[0] for row in found if row]

    def _count(self, entries: int, size: int) -> None:
        self.entries += entries
        self.size = int(self.size + size)
        self.footprint = sum(_size(self.path + ending) for ending in _FILES)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
