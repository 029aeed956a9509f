"""The catalogue's tables, and how those of an earlier version become today's.

To change them: change `SCHEMA`, raise `VERSION`, and add to `UPGRADES` the SQL that leads from the version before to
the new one. An upgrade is one transaction: after a crash in its middle it begins again. What an upgrade can't save, and
a catalogue of a later version, gives way to a new one made from the files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import suppress

VERSION = 2

SCHEMA = """
CREATE TABLE entries (
    kind TEXT NOT NULL, key TEXT NOT NULL, path TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL, hashes TEXT NOT NULL, etag TEXT NOT NULL, last_modified TEXT NOT NULL,
    index_name TEXT NOT NULL, verified INTEGER NOT NULL,
    stored_at REAL NOT NULL, used_at REAL NOT NULL, checked_at REAL NOT NULL,
    name TEXT,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX entries_by_use ON entries (used_at, size);
CREATE INDEX entries_by_name ON entries (name);
CREATE TABLE links (
    key TEXT NOT NULL, index_name TEXT NOT NULL, url TEXT NOT NULL, hashes TEXT NOT NULL,
    size INTEGER, metadata TEXT, name TEXT NOT NULL DEFAULT '', seen_at REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (key, index_name)
) WITHOUT ROWID;
CREATE TABLE owners (name TEXT PRIMARY KEY, index_name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (
    kind TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (kind, subject, value)
) WITHOUT ROWID;
"""

UPGRADES: Mapping[int, str] = {
    1: """
ALTER TABLE entries ADD COLUMN name TEXT;
CREATE INDEX entries_by_name ON entries (name);
ALTER TABLE links ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE links ADD COLUMN seen_at REAL NOT NULL DEFAULT 0;
""",
}
"""Version -> SQL that leads from it to the next one."""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables in an empty database, or bring those of an earlier version up to date.

    Raises `sqlite3.DatabaseError` for a version that is unknown, and when that fails; the database is as it was then.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not version and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _run(db, SCHEMA, VERSION)
        return
    while version != VERSION:
        if version not in UPGRADES:
            raise sqlite3.DatabaseError(f"its version {version} is unknown")
        _run(db, UPGRADES[version], version + 1)
        version += 1


def _run(db: sqlite3.Connection, script: str, version: int) -> None:
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {version};\nCOMMIT;")
    except sqlite3.Error:
        with suppress(sqlite3.Error):  # some errors have rolled back already
            db.execute("ROLLBACK")
        raise
