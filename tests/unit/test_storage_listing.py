"""What is stored, looked through: names, patterns, orders, totals, and a catalogue that can't be read."""

from __future__ import annotations

import os

import pytest

from twisted_pypi.errors import Unavailable
from twisted_pypi.interfaces.listing import MOST, ORDERS, Heap, Totals, Wanted
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.layout import page_path
from twisted_pypi.storage.listing import DiskListing, heaped, listed, pattern_of
from twisted_pypi.storage.rows import FILE, PAGE, Entry, Stamp
from unit.doubles import InlineWorkers
from unit.storage_doubles import KEY, Disk, Page, meta, now, put_file

INDEX = "https://index.example/simple/"


def named(index, key):
    """The page's last folder, the file's name up to its first dash."""
    end = key.rstrip("/").rpartition("/")[2]
    return "" if "odd" in end else end.partition("-")[0]


@pytest.fixture
def directory(tmp_path):
    """Three names of which one has two files, and a file that has none."""
    catalogue = Catalogue(str(tmp_path / "catalogue.sqlite"), name_of=named)
    catalogue.open()
    for number, (kind, key, size, index) in enumerate(
        [
            (PAGE, f"{INDEX}acme_one/", 10, "internal"),
            (FILE, "https://f.example/acme_one-1.whl", 500, "internal"),
            (FILE, "https://f.example/acme_one-2.whl", 700, "internal"),
            (FILE, "https://f.example/acme.two-1.whl", 300, "main"),
            (PAGE, f"{INDEX}flask/", 20, "main"),
            (FILE, "https://f.example/odd.bin", 40, "main"),
        ]
    ):
        times = {"stored_at": 100.0 - number, "used_at": 1000.0 + number, "checked_at": 50.0}
        catalogue.record(Entry(kind, key, f"there/{number}", Stamp(size, 1, number), index=index, **times))
    catalogue.close()
    return str(tmp_path)


def keys(directory, **wanted):
    return [row.key.rsplit("/", 2 if row.kind == PAGE else 1)[1] for row in listed(directory, Wanted(**wanted))[1]]


def test_all_is_listed_by_name(directory):
    totals, rows = listed(directory, Wanted())
    assert totals == Totals(4, 2, 4, 1570)
    assert [row.name for row in rows] == ["acme.two", "acme_one", "acme_one", "acme_one", "flask", ""]
    assert [row.kind for row in rows] == [FILE, PAGE, FILE, FILE, PAGE, FILE]
    first = rows[0]
    assert (first.index, first.size, first.stored_at, first.used_at, first.confirmed_at) == ("main", 300, 97, 1003, 50)


@pytest.mark.parametrize(("indexes", "count"), [({"main"}, 3), ({"main", "internal"}, 6), ({"other"}, 0), (set(), 0)])
def test_only_what_may_be_told_of(directory, indexes, count):
    wanted = Wanted(indexes=frozenset(indexes))
    totals, rows = listed(directory, wanted)
    assert totals.pages + totals.files == len(rows) == count
    assert {row.index for row in rows} <= indexes
    heaps = heaped(directory, wanted)[1]
    assert sum(heap.pages + heap.files for heap in heaps) == count


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("flask", ["flask"]),
        ("LAS", ["flask"]),
        ("acme-*", ["acme.two-1.whl", "acme_one", "acme_one-1.whl", "acme_one-2.whl"]),
        ("Acme.One", ["acme_one", "acme_one-1.whl", "acme_one-2.whl"]),
        ("*one", ["acme_one", "acme_one-1.whl", "acme_one-2.whl"]),
        ("*", ["acme.two-1.whl", "acme_one", "acme_one-1.whl", "acme_one-2.whl", "flask", "odd.bin"]),
        ("odd.bin", ["odd.bin"]),
        ("fl?sk", []),
        ("fl[a]sk", []),
        ("", ["acme.two-1.whl", "acme_one", "acme_one-1.whl", "acme_one-2.whl", "flask", "odd.bin"]),
        ("'; DROP TABLE entries; --", []),
    ],
)
def test_names_are_found_by_a_part_or_a_pattern(directory, text, found):
    assert keys(directory, text=text) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"kind": PAGE}, ["acme_one", "flask"]),
        ({"index": "main", "kind": FILE}, ["acme.two-1.whl", "odd.bin"]),
        ({"index": ""}, []),
        ({"order": "size", "limit": 2}, ["acme_one-2.whl", "acme_one-1.whl"]),
        ({"order": "-size", "limit": 2}, ["acme_one", "flask"]),
        ({"order": "used", "limit": 1}, ["odd.bin"]),
        ({"order": "-used", "limit": 1}, ["acme_one"]),
        ({"order": "stored", "limit": 1}, ["acme_one"]),
        ({"order": "-name", "limit": 1}, ["odd.bin"]),
        ({"limit": 2, "skip": 4}, ["flask", "odd.bin"]),
        ({"limit": 0}, []),
        ({"text": "acme_one", "exact": True, "kind": PAGE}, ["acme_one"]),
        ({"text": "acme", "exact": True}, []),
    ],
)
def test_what_is_wanted(directory, wanted, found):
    assert keys(directory, **wanted) == found


def test_a_row_for_each_name(directory):
    totals, heaps = heaped(directory, Wanted(order="size"))
    assert totals.names == 4
    assert heaps[0] == Heap("acme_one", 1, 2, 1210, 100.0, 1002.0)
    assert [heap.name for heap in heaps] == ["acme_one", "acme.two", "https://f.example/odd.bin", "flask"]
    assert [heap.name for heap in heaped(directory, Wanted("acme", order="-used"))[1]] == ["acme_one", "acme.two"]


@pytest.mark.parametrize("order", [*ORDERS, *(f"-{order}" for order in ORDERS)])
def test_every_order_is_one_of_rows_and_of_names(directory, order):
    assert len(listed(directory, Wanted(order=order))[1]) == 6
    assert len(heaped(directory, Wanted(order=order))[1]) == 4


def test_there_are_never_more_rows_than_an_answer_holds(tmp_path):
    catalogue = Catalogue(str(tmp_path / "catalogue.sqlite"))
    catalogue.open()
    for number in range(MOST + 1):
        catalogue.record(Entry(FILE, f"https://f.example/{number}", "p", Stamp(1, 1, 1)))
    catalogue.close()
    totals, rows = listed(str(tmp_path), Wanted(limit=MOST * 9))
    assert (totals.files, len(rows)) == (MOST + 1, MOST)


def test_when_a_page_was_confirmed_is_told_by_its_file(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    store = disk.start()
    page = now(store.pages.put(meta(), Page(), ("json",)))
    now(store.pages.confirm(page, 1_700_000_333.0))
    listing = DiskListing(disk.path, InlineWorkers())
    assert [row.confirmed_at for row in now(listing.entries(Wanted()))[1]] == [1_700_000_333.0]
    os.unlink(os.path.join(disk.path, *page_path(meta().key)))
    assert [row.confirmed_at for row in now(listing.entries(Wanted()))[1]] == [0.0]
    now(store.stop())


def test_what_is_being_stored_is_listed_at_once(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    store = disk.start()
    store.use_names(named)
    put_file(store)
    assert [row.name for row in listed(disk.path, Wanted())[1]] == ["flask"]
    assert now(DiskListing(disk.path, InlineWorkers()).names(Wanted()))[0] == Totals(1, 0, 1, 5)
    now(store.stop())


def test_at_rest_nothing_is_written_beside_the_catalogue(directory):
    before = sorted(os.listdir(directory))
    os.chmod(directory, 0o500)
    try:
        assert listed(directory, Wanted(), at_rest=True)[0].files == 4
    finally:
        os.chmod(directory, 0o700)
    assert sorted(os.listdir(directory)) == before


def test_what_a_crash_left_in_the_log_is_listed_too(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    put_file(disk.start())
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("catalogue.sqlite", "catalogue.sqlite-wal"):
        (crashed / name).write_bytes((tmp_path / "cache" / name).read_bytes())
    now(disk.store.stop())
    assert [row.key for row in listed(str(crashed), Wanted(), at_rest=True)[1]] == [KEY]


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 999])
def test_a_catalogue_that_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "catalogue.sqlite").write_bytes(content)
    with pytest.raises(Unavailable, match="catalogue can't be read"):
        listed(str(tmp_path), Wanted())
    assert (tmp_path / "catalogue.sqlite").exists() == (content is not None)


def test_entries_of_an_earlier_version_are_named_in_the_background(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    put_file(disk.start())
    disk.store._engine.catalogue._db.execute("UPDATE entries SET name = NULL")
    now(disk.store.stop())
    store = disk.start(settle=False)
    store.use_names(named)
    disk.settle()
    assert [row.name for row in listed(disk.path, Wanted())[1]] == ["flask"]
    now(store.stop())


def test_a_pattern_has_no_other_signs_than_its_star():
    assert pattern_of("A_b.c") == "*a-b-c*"
    assert pattern_of("a*[b]?") == "a*[[]b][?]"
