"""What the catalogue does that the store's own tests can't see."""

import sqlite3

import pytest

from twisted_pypi.model import FileLink
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.rows import Entry, Stamp, link_row


@pytest.fixture
def catalogue(tmp_path):
    catalogue = Catalogue(str(tmp_path / "catalogue.sqlite"))
    assert catalogue.open() == "there was none"
    yield catalogue
    catalogue.close()


def entry(inode=1, size=10, key="k"):
    return Entry("file", key, "files/k", Stamp(size, 1, inode))


def test_adopting_never_overwrites_what_was_recorded_meanwhile(catalogue):
    catalogue.record(entry(inode=1))
    catalogue.record(entry(inode=2, size=99), (), False)
    assert catalogue.entry("file", "k") == entry(inode=1)
    assert (catalogue.entries, catalogue.size) == (1, 10)


def test_only_the_entry_that_was_seen_is_forgotten(catalogue):
    catalogue.record(entry(inode=1))
    catalogue.record(entry(inode=2, size=30))
    catalogue.forget([("file", "k", 1)])
    assert (catalogue.entries, catalogue.size) == (1, 30)
    catalogue.forget([("file", "k", 2), ("file", "unknown", None)])
    assert (catalogue.entries, catalogue.size) == (0, 0)


def test_unchanged_links_are_not_written_again(catalogue):
    rows = [link_row(FileLink(f"https://f.example/{n}.whl", {"md5": "0"}, metadata={})) for n in range(50)]
    catalogue.record_links("main", rows)
    before = catalogue._db.total_changes
    catalogue.record_links("main", rows)
    assert catalogue._db.total_changes == before
    catalogue.record_links("main", [link_row(FileLink("https://f.example/7.whl", {"md5": "1"}, metadata={}))])
    assert catalogue._db.total_changes == before + 1


def test_a_failed_transaction_leaves_nothing(catalogue):
    with pytest.raises(sqlite3.Error):
        catalogue.record(entry(), [("key", "", "{}", 1, object())])
    assert catalogue.entry("file", "k") is None
    assert (catalogue.entries, catalogue.size) == (0, 0)


def test_a_catalogue_that_is_only_locked_is_kept(catalogue):
    catalogue.record(entry())
    catalogue.close()
    with sqlite3.connect(catalogue.path) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        second = Catalogue(catalogue.path, patience=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            second.open()
    other.close()
    assert catalogue.open() == ""
    assert catalogue.entry("file", "k") == entry()


def test_a_catalogue_whose_header_forbids_writing_is_made_anew(catalogue):
    """Its "file format write version" (SQLite's file format, 1.3) is more than 2: a byte that changed on disk."""
    catalogue.close()
    with open(catalogue.path, "r+b") as file:
        file.seek(18)
        file.write(b"\x10")
    assert "readonly" in catalogue.open()
    catalogue.record(entry())
    assert catalogue.entry("file", "k") == entry()
