"""What was read of files, kept across restarts: ten thousand wheels are not hashed twice.

A small SQLite file of its own: lost or damaged, it is begun anew, and the files are read again. Called in one worker
thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress

from attrs import astuple, frozen

from twisted_pypi.directories.listing import Stamp
from twisted_pypi.directories.reading import Reading

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reading (
    directory TEXT NOT NULL, path TEXT NOT NULL,
    device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL, requires_python TEXT NOT NULL, metadata TEXT NOT NULL,
    PRIMARY KEY (directory, path)
) WITHOUT ROWID
"""
_ENDINGS = ("", "-journal", "-wal", "-shm")

Readings = Mapping[str, tuple[Stamp, Reading]]
"""By path relative to the directory: what was read, and of which content."""


@frozen
class Ledger:
    """Readings by directory, in the SQLite file `path`."""

    path: str

    def load(self, directory: str) -> Readings:
        """What is known of the directory's files. A file that can't be used is deleted. Raises `OSError`."""
        try:
            with self._connected() as db:
                rows = db.execute(
                    "SELECT path, device, inode, size, mtime_ns, sha256, requires_python, metadata"
                    " FROM reading WHERE directory = ?",
                    (directory,),
                ).fetchall()
        except sqlite3.DatabaseError:
            for ending in _ENDINGS:
                with suppress(FileNotFoundError):
                    os.unlink(self.path + ending)
            return {}
        return {row[0]: (Stamp(*row[1:5]), Reading(*row[5:])) for row in rows}

    def save(self, directory: str, read: Readings, gone: Iterable[str] = ()) -> None:
        """Keep what was read, and drop what has gone. Raises `sqlite3.Error`."""
        rows = [(directory, path, *astuple(stamp), *astuple(reading)) for path, (stamp, reading) in read.items()]
        with self._connected() as db, db:
            db.executemany("DELETE FROM reading WHERE directory = ? AND path = ?", [(directory, path) for path in gone])
            db.executemany("INSERT OR REPLACE INTO reading VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA synchronous = OFF")  # it can be made again
            db.execute(_SCHEMA)
            yield db
