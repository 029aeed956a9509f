"""What is stored, as a document: kinds, freshness, and where to go on."""

from __future__ import annotations

from unittest.mock import Mock

from attrs import define
from twisted.internet.defer import Deferred

from twisted_pypi.caching.inventory import Inventory
from twisted_pypi.interfaces.listing import Heap, Listed, Totals, Wanted
from twisted_pypi.pypi.mount import IndexMount
from unit.doubles import InlineWorkers
from unit.storage_doubles import now
from unit.test_config import load

INDEX = "https://index.example/simple/"
SETTINGS = load({"index-url": INDEX, "index-ttl": "300"}).settings
MOUNT = IndexMount(SETTINGS.indexes)
TIME = 10_000.0
ALL, ONE = Wanted(), Totals(1, 1, 0, 9)


@define
class Given:
    """A listing that is given."""

    rows: list[Listed | Heap]
    totals: Totals

    async def entries(self, wanted):
        return self.totals, self.rows

    async def names(self, wanted):
        return self.totals, self.rows


def row(kind, key, confirmed_at=TIME, name="flask"):
    return Listed(name, kind, key, "there", "main", 9, 1.2, 2.6, confirmed_at, True, "ab" if kind == "file" else "")


def entries(*rows, wanted=ALL, totals=ONE):
    return now(Inventory(Given(list(rows), totals), MOUNT, InlineWorkers(), lambda: TIME).entries(wanted))


def test_a_page_says_for_how_long_it_is_fresh():
    url = f"{INDEX}flask/"
    ages = {confirmed: entries(row("page", url, TIME - confirmed))["entries"][0]["fresh_for"] for confirmed in (0, 999)}
    assert ages == {0: 300, 999: -699}
    (shown,) = entries(row("page", url))["entries"]
    assert shown == {
        "name": "flask",
        "kind": "page",
        "index": "main",
        "url": url,
        "path": "there",
        "size": 9,
        "stored": 1,
        "used": 3,
        "confirmed": 10_000,
        "fresh_for": 300,
    }


def test_a_page_of_which_no_mount_knows_anything():
    assert entries(row("page", "https://gone.example/simple/flask/"))["entries"][0]["fresh_for"] is None
    assert entries(row("page", f"{INDEX}x/", name="*nonsense*"))["entries"][0]["fresh_for"] is None


def test_a_file_and_its_metadata():
    file, metadata = entries(row("file", "https://f.example/a.whl"), row("file", "https://f.example/a.whl.metadata"))[
        "entries"
    ]
    assert (file["kind"], metadata["kind"]) == ("file", "metadata")
    assert (file["checked"], file["verified"], file["sha256"]) == (10_000, True, "ab")
    assert "fresh_for" not in file


def test_where_to_go_on():
    page = row("page", f"{INDEX}flask/")
    assert entries(page, page, totals=Totals(9, 3, 2, 0))["next"] == 2
    assert entries(page, page, wanted=Wanted(skip=3), totals=Totals(9, 3, 2, 0))["next"] is None
    assert entries(wanted=Wanted(limit=0), totals=Totals(9, 3, 2, 0))["next"] is None


def test_a_row_for_each_name():
    given = Given([Heap("flask", 1, 2, 30, 4.0, 5.0)], Totals(2, 1, 2, 30))
    inventory = Inventory(given, MOUNT, InlineWorkers(), lambda: TIME)
    document = now(inventory.names(Wanted()))
    assert document["names"] == [{"name": "flask", "pages": 1, "files": 2, "size": 30, "stored": 4, "used": 5}]
    assert (document["total"], document["next"]) == ({"names": 2, "pages": 1, "files": 2, "size": 30}, 1)


def test_what_takes_long_is_done_by_a_worker():
    asked, workers = [], Mock(run=lambda work, *args: asked.append((work, args)) or Deferred())
    inventory = Inventory(Given([row("page", f"{INDEX}flask/")], ONE), MOUNT, workers, lambda: TIME)
    shown = Deferred.fromCoroutine(inventory.entries(ALL))
    ((work, args),) = asked
    assert not shown.called
    assert work(*args)[0]["fresh_for"] == 300
