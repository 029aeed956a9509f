"""What pages said of files is dropped when nobody needs it any more, and not before."""

from __future__ import annotations

import pytest

from twisted_pypi.model import FileLink
from twisted_pypi.storage import links
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.pruning import DAY, FIRST
from unit.storage_doubles import KEY, PAGE, Disk, Page, meta, now, put_file

LIMITS = Limits(min_free=0, inactive=10 * DAY)


def named(index, key):
    return "flask" if "flask" in key else ""


@pytest.fixture
def disk(tmp_path):
    disk = Disk(str(tmp_path / "cache"), LIMITS)
    disk.start().use_names(named)
    yield disk
    now(disk.store.stop())


def say(disk, key=PAGE):
    now(disk.store.pages.put(meta(key, fetched_at=disk.clock.seconds()), Page(named=[FileLink(KEY)]), ("json",)))


def said(disk):
    return disk.store._engine.catalogue.links(KEY)


def days(disk, count):
    for _ in range(count):
        disk.clock.advance(DAY)
        disk.settle()


def test_what_was_said_of_a_name_that_is_gone_is_dropped_in_time(disk):
    say(disk)
    now(disk.store.pages.delete(PAGE))
    days(disk, 9)
    assert said(disk)
    days(disk, 3)
    assert not said(disk)


def test_it_stays_while_the_page_does(disk):
    say(disk)
    for _ in range(4):
        now(disk.store.pages.get(PAGE))
        days(disk, 9)
    assert said(disk)


def test_it_stays_while_a_file_of_the_name_does(disk):
    say(disk)
    now(disk.store.pages.delete(PAGE))
    put_file(disk.store)
    for _ in range(4):
        now(disk.store.files.get(KEY))
        days(disk, 9)
    assert said(disk)


def test_it_stays_while_the_very_file_does_whatever_its_name(disk):
    say(disk)
    now(disk.store.pages.delete(PAGE))
    disk.store.use_names(lambda index, key: "other")
    put_file(disk.store)
    for _ in range(4):
        now(disk.store.files.get(KEY))
        days(disk, 9)
    assert said(disk)


def test_what_was_said_again_lately_stays(disk):
    say(disk)
    disk.clock.advance(links.COARSE + 1)
    say(disk)
    now(disk.store.pages.delete(PAGE))
    days(disk, 9)
    assert said(disk)


@pytest.mark.parametrize("why", ["no name", "no page", "no limit"])
def test_what_nobody_can_tell_stays(disk, why):
    if why == "no page":
        now(disk.store.facts.record_link("main", FileLink(KEY)))
    else:
        disk.store.use_names((lambda index, key: "") if why == "no name" else named)
        say(disk)
        now(disk.store.pages.delete(PAGE))
    if why == "no limit":
        disk.store.use(Limits(min_free=0, inactive=None))
    days(disk, 40)
    assert said(disk)


def test_a_page_that_changes_often_has_its_rows_written_seldom(disk):
    say(disk)
    catalogue = disk.store._engine.catalogue
    before = catalogue._db.total_changes
    disk.clock.advance(DAY)
    say(disk)
    assert catalogue._db.total_changes == before + 1  # the entry alone


def test_all_rows_are_looked_at_slice_by_slice(disk):
    catalogue = disk.store._engine.catalogue
    with catalogue._transaction():
        for number in range(25):
            row = (f"https://f.example/{number}.whl", "", "{}", None, None)
            links.record_links(catalogue._db, "main", [row], "gone" if number % 2 else "", 5.0)
    place, dropped, slices = links.BEGINNING, 0, 0
    while place is not None:
        place, count = catalogue.prune(place, 6.0, 10)
        dropped, slices = dropped + count, slices + 1
    assert (dropped, slices) == (12, 3)
    assert catalogue._db.execute("SELECT count(*) FROM links").fetchone() == (13,)


def test_notes_that_count_no_more_are_dropped(disk):
    start = disk.clock.seconds()
    now(disk.store.facts.mark("kind", "a", "v", start + 10))
    now(disk.store.facts.mark("kind", "b", "v", float("inf")))
    disk.clock.advance(FIRST + 1)
    rows = disk.store._engine.catalogue._db.execute("SELECT subject FROM marks").fetchall()
    assert rows == [("b",)]


def test_a_store_that_stops_does_not_wait_for_it(disk):
    say(disk)
    disk.clock.advance(FIRST)
    now(disk.store.stop())
    assert disk.clock.getDelayedCalls() == []
