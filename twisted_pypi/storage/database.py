"""The SQLite database under the catalogue: opened, or made anew where it can't be used or was deleted; closed.

Used on one thread at a time. Every method but `open` raises `sqlite3.Error`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import define, field

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


@define
class Database:
    """The database at `path`; `patience` is how many seconds to wait for whoever else has it locked.

    `footprint` is what it takes on disk, which may be read from any thread. Once `condemned`, it is deleted when it is
    closed, and the next start makes a new one. `unclean` tells that who had it open last did not close it. `remade` is
    called, on the catalogue's thread, when it was deleted under us and there is a new one.
    """

    path: str
    patience: float = 10.0
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

    def compact(self) -> int:
        """Give back to the file system what the database has left in itself; how many bytes that were.

        Takes seconds, and meanwhile as much disk again.
        """
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = _size(self.path)
        if self._db.execute("PRAGMA freelist_count").fetchone()[0]:
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._measure()
        return before - _size(self.path)

    def _prepare(self) -> None:
        """Make or check the tables of a database that was opened. Raises `sqlite3.Error` if it is another's."""
        raise NotImplementedError

    def _connect(self) -> None:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        # Twisted's pool of one may end its thread and begin another: still one at a time.
        self._db = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 4194304"):
            self._db.execute(f"PRAGMA {pragma}")
        # Pages of 4 KiB. A checkpoint flushes the disk: with a smaller log, eviction would do that for every slice.
        self._db.execute("PRAGMA wal_autocheckpoint = 1000")
        self._prepare()
        self.unclean = self._db.execute("PRAGMA application_id").fetchone()[0] == _OPEN
        self._db.execute(f"PRAGMA application_id = {_OPEN}")
        self._measure()

    def _ensure(self) -> None:
        """Make the database again if it was deleted under us."""
        if not os.path.exists(self.path):
            self._make_again()

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

    def _measure(self) -> None:
        self.footprint = sum(_size(self.path + ending) for ending in _FILES)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
