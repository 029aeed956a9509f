"""Catalogues of other versions: upgraded with all that they hold, or made again from the files."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from twisted_pypi.storage import schema
from twisted_pypi.storage.catalogue import Catalogue
from unit.storage_doubles import KEY, Disk, content, now

# What daemons out there have on disk. It stays as it is; a later version's is added below it.
VERSION_1 = """
CREATE TABLE entries (
    kind TEXT NOT NULL, key TEXT NOT NULL, path TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    sha256 TEXT NOT NULL, hashes TEXT NOT NULL, etag TEXT NOT NULL, last_modified TEXT NOT NULL,
    index_name TEXT NOT NULL, verified INTEGER NOT NULL,
    stored_at REAL NOT NULL, used_at REAL NOT NULL, checked_at REAL NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE INDEX entries_by_use ON entries (used_at, size);
CREATE TABLE links (
    key TEXT NOT NULL, index_name TEXT NOT NULL, url TEXT NOT NULL, hashes TEXT NOT NULL,
    size INTEGER, metadata TEXT,
    PRIMARY KEY (key, index_name)
) WITHOUT ROWID;
CREATE TABLE owners (name TEXT PRIMARY KEY, index_name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE marks (
    kind TEXT NOT NULL, subject TEXT NOT NULL, value TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (kind, subject, value)
) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
VERSION_2 = f"""
{VERSION_1}
ALTER TABLE entries ADD COLUMN name TEXT;
CREATE INDEX entries_by_name ON entries (name);
ALTER TABLE links ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE links ADD COLUMN seen_at REAL NOT NULL DEFAULT 0;
PRAGMA user_version = 2;
"""
TODAY = schema.VERSION
FILE = "files/files.example/packages/aa/bb/cc/flask-3.0-py3-none-any.whl"
NEXT = "ALTER TABLE entries ADD COLUMN note TEXT NOT NULL DEFAULT 'old'"


@pytest.fixture(params=[VERSION_1, VERSION_2], ids=["1", "2"])
def disk(tmp_path, request):
    """A directory as a daemon of that version left it, with one file, what was said of it, and an owner."""
    cache = tmp_path / "cache"
    (cache / FILE).parent.mkdir(parents=True)
    (cache / FILE).write_bytes(b"wheel")
    state = (cache / FILE).stat()
    sha256 = hashlib.sha256(b"wheel").hexdigest()
    said = f'{{"sha256":"{sha256}"}}'
    row = ("file", KEY, FILE, 5, state.st_mtime_ns, state.st_ino, sha256, said, '"1"', "", "main", 1)
    with sqlite3.connect(cache / "catalogue.sqlite") as db:
        db.executescript(request.param)
        columns = [row[1] for row in db.execute("PRAGMA table_info(entries)")][:15]
        db.execute(
            f"INSERT INTO entries ({', '.join(columns)}) VALUES ({', '.join('?' * 15)})", (*row, 1.7e9, 1.7e9, 1.7e9)
        )
        said_of = "INSERT INTO links (key, index_name, url, hashes, size, metadata) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(said_of, (KEY, "main", "", said, 5, None))
        db.execute("INSERT INTO owners VALUES (?, ?)", ("flask", "main"))
    db.close()
    return Disk(str(cache))


def next_version(monkeypatch, *upgrades):
    """Versions that come after today's."""
    more = {schema.VERSION + n: upgrade for n, upgrade in enumerate(upgrades)}
    monkeypatch.setattr(schema, "UPGRADES", {**schema.UPGRADES, **more})
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + len(upgrades))


def assert_all_there(disk):
    """Everything is known without any page: the digest, what was said, the owner."""
    store = disk.start()
    file = now(store.files.get(KEY))
    assert (file.verified, file.etag) == (True, '"1"')
    assert content(store, file) == b"wheel"
    assert [each.index for each in now(store.facts.links(KEY))] == ["main"]
    assert now(store.facts.owner("flask")) == "main"
    now(store.stop())
    assert disk.events == []


def ask(disk, query):
    with sqlite3.connect(f"{disk.path}/catalogue.sqlite") as db:
        rows = db.execute(query).fetchall()
    db.close()
    return rows


def test_each_version_is_read(disk):
    assert_all_there(disk)


def test_an_upgrade_loses_nothing(disk, monkeypatch):
    next_version(monkeypatch, NEXT)
    assert_all_there(disk)
    assert ask(disk, "PRAGMA user_version") == [(TODAY + 1,)]
    assert ask(disk, "SELECT key, note FROM entries") == [(KEY, "old")]


def test_upgrades_follow_one_another(disk, monkeypatch):
    next_version(monkeypatch, NEXT, "UPDATE entries SET note = note || 'er'; CREATE TABLE more (x)")
    assert_all_there(disk)
    assert ask(disk, "PRAGMA user_version") == [(TODAY + 2,)]
    assert ask(disk, "SELECT note FROM entries") == [("older",)]


def test_an_upgrade_that_fails_leaves_the_catalogue_as_it_was(disk, monkeypatch):
    now(disk.start().stop())
    next_version(monkeypatch, "DROP TABLE owners; DELETE FROM no_such_table")
    with sqlite3.connect(f"{disk.path}/catalogue.sqlite", isolation_level=None) as db:
        with pytest.raises(sqlite3.OperationalError, match="no_such_table"):
            schema.prepare(db)
        assert not db.in_transaction
    db.close()
    assert ask(disk, "SELECT * FROM owners") == [("flask", "main")]
    assert ask(disk, "PRAGMA user_version") == [(TODAY,)]


def test_what_cannot_be_upgraded_is_made_again_from_the_files(disk, monkeypatch):
    next_version(monkeypatch, "DELETE FROM no_such_table")
    store = disk.start()
    assert [event.what for event in disk.events] == ["catalogue made again"]
    assert now(store.files.get(KEY)).sha256 == "", "to be confirmed"
    now(store.stop())


def test_an_older_daemon_makes_a_newer_catalogue_again(disk, monkeypatch):
    with monkeypatch.context() as newer:
        next_version(newer, NEXT)
        assert_all_there(disk)
    store = disk.start()
    assert [(event.what, event.reason) for event in disk.events] == [
        ("catalogue made again", f"its version {TODAY + 1} is unknown")
    ]
    now(store.stop())


def test_a_new_catalogue_is_what_upgrades_lead_to(disk, tmp_path):
    """Whoever changes the tables and forgets the version or the upgrade fails here."""
    now(disk.start().stop())
    fresh = Catalogue(str(tmp_path / "fresh.sqlite"))
    fresh.open()
    fresh.close()
    shapes = []
    for path in (f"{disk.path}/catalogue.sqlite", fresh.path):
        db = sqlite3.connect(path)
        names = db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2")
        shape = {
            each: db.execute(f"SELECT * FROM pragma_{'table' if each[0] == 'table' else 'index'}_xinfo('{each[1]}')")
            for each in names.fetchall()
        }
        shapes.append({each: sorted(row[1:6] for row in rows) for each, rows in shape.items()})
        db.close()
    assert shapes[0] == shapes[1]
