"""The document of `/+status`: what it says, and to whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_pypi.caching.progress import Beginning, Progress, progress
from twisted_pypi.errors import Unavailable
from twisted_pypi.events import BreakerChanged, FetchDone, FetchFailed
from twisted_pypi.figures import sources_of
from twisted_pypi.interfaces.listing import Wanted
from twisted_pypi.status.contents import MOST_SEARCHES, ROWS, Contents, freshness
from twisted_pypi.status.health import Health
from twisted_pypi.status.pages import Shown, StatusPages
from twisted_pypi.status.report import MOST_TRANSFERS, TOP, Report
from twisted_pypi.status.visible import Source, audience
from twisted_pypi.storage.occupancy import Occupancy, Space
from unit.doubles import InlineWorkers
from unit.storage_doubles import now
from unit.test_config import load
from unit.test_status_statistics import HIT, NOW, Bench

PUBLIC = Source("main", (("index", "https://main.example"), ("files", "https://files.example")), False)
SECRET = Source("internal", (("index", "https://internal.example"),), True)
FOLDER = Source("https://folder.invalid/", (), True)
BOTH = (SECRET, PUBLIC)
MIXED = frozenset({"main", "internal"})
TRANSFER = Progress("https://files.example/a/torch%2Bcpu-1.0.whl", "torch", "main", 400, 100, 50.4, 3)
STORED_PAGE = {
    "name": "six",
    "kind": "page",
    "url": "https://main.example/simple/six/",
    "size": 10,
    "stored": NOW - 60,
}
STORED_FILE = {
    "name": "six",
    "kind": "file",
    "url": "https://files.example/six%2B1.whl",
    "size": 9,
    "stored": NOW - 7200,
}
EMPTY = {"total": {"names": 0, "pages": 0, "files": 0, "size": 0}, "entries": [], "names": [], "next": None}


@define
class Kept:
    """A store."""

    condition: str = "ready"
    failure: OSError | None = None

    def usage(self) -> tuple[int, int]:
        return 3, 4096

    def occupancy(self) -> Occupancy:
        return Occupancy(3, 4096, 500, 404, 10_000, (0, 0, 0), {})

    async def space(self) -> Space:
        if self.failure:
            raise self.failure
        return Space(70_000, 100_000, 1000)


@define
class Inventory:
    """What is stored, as it was asked for."""

    document: Mapping[str, object] = field(factory=lambda: dict(EMPTY))
    asked: list[Wanted] = field(factory=list)
    failure: Exception | None = None
    waiting: Deferred[None] | None = None

    async def entries(self, wanted: Wanted) -> Mapping[str, object]:
        self.asked.append(wanted)
        if self.waiting is not None:
            await self.waiting
        if self.failure:
            raise self.failure
        return self.document

    names = entries


@define
class Desk:
    """All that a report is made of."""

    bench: Bench = field(factory=Bench)
    kept: Kept = field(factory=Kept)
    running: list[Progress] = field(factory=list)
    owners: dict[str, str] = field(factory=dict)
    asked: list[str] = field(factory=list)
    inventory: Inventory = field(factory=Inventory)
    offline: bool = False
    health: Health = field(init=False)
    report: Report = field(init=False)
    contents: Contents = field(init=False)

    def __attrs_post_init__(self) -> None:
        clock = self.clock
        self.health = Health(clock.seconds)
        self.report = Report(
            "1.2.3",
            NOW - 90,
            clock,
            clock.seconds,
            self.bench.statistics,
            self.health,
            self.kept,
            lambda: self.running,
            lambda: {"HIT": 2},
            self.owner,
        )
        self.contents = Contents(self.inventory, clock.seconds, clock.seconds)

    @property
    def clock(self) -> Clock:
        return self.bench.clock

    async def owner(self, name: str) -> str | None:
        self.asked.append(name)
        return self.owners.get(name)

    def pages(self, *sources: Source) -> StatusPages:
        return StatusPages(self.report, Shown(sources or BOTH, self.offline, True), self.contents, InlineWorkers())

    def document(self, *sources: Source, admin: bool = False) -> dict[str, object]:
        return json.loads(json.dumps(now(self.pages(*sources).document(admin))))

    def used(self, name: str, indexes: frozenset[str], count: int = 1) -> None:
        self.bench.statistics.usage.add(NOW, {(name, indexes): count})


def test_every_key_is_documented() -> None:
    """`docs/status.md` names each key of the document, and of what is in it, and no other at the top."""
    text = (Path(__file__).parents[2] / "docs" / "status.md").read_text()
    table = text.partition("## `/+status`")[2]
    desk = Desk(running=[TRANSFER])
    desk.used("six", frozenset({"main"}))
    desk.inventory.document = {**EMPTY, "names": [{"name": "six", "files": 1, "size": 2}]}
    document = desk.document()
    first = [key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)]
    assert first == list(dict.fromkeys(first))
    assert set(first) == set(document)
    inner = {key for value in document.values() for each in _mappings(value) for key in each}
    assert inner - set(re.findall(r"`(\w+)`", table)) == {"HIT"}


def _mappings(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _mappings(each)


class TestDocument:
    def test_figures(self) -> None:
        desk = Desk()
        desk.bench.serve(HIT, HIT)
        desk.clock.advance(10)
        document = desk.document()
        assert {
            key: document[key] for key in ("version", "uptime_seconds", "admin", "offline", "entries", "bytes")
        } == {
            "version": "1.2.3",
            "uptime_seconds": 100,
            "admin": False,
            "offline": False,
            "entries": 3,
            "bytes": 4096,
        }
        assert document["disk"] == {
            "used_bytes": 5000,
            "limit_bytes": 10_000,
            "free_bytes": 70_000,
            "keep_free_bytes": 1000,
        }
        assert document["requests"] == {"HIT": 2}
        today = {
            "requests": 2,
            "hits": 2,
            "misses": 0,
            "hit_rate": 1.0,
            "sent_bytes": 2000,
            "upstream_bytes": 0,
            "saved_bytes": 2000,
        }
        ever = {**today, "since": "2084-01-29T16:29:50Z"}
        assert document["totals"] == {"today": today, "30_days": today, "ever": ever}
        assert len(document["hours"]) == 24
        assert document["hours"][-1] == {"hour": "2084-01-29T16:00:00Z", **today}

    def test_before_anything_happened(self) -> None:
        totals = Desk().document()["totals"]
        assert (totals["ever"]["since"], totals["today"]["hit_rate"]) == (None, None)

    def test_while_the_store_is_opened_it_is_not_asked(self) -> None:
        desk = Desk(kept=Kept("opening"))
        desk.used("six", MIXED)
        document = desk.document()
        assert (document["catalogue"], document["disk"]) == ("opening", None)
        assert (desk.asked, desk.inventory.asked) == ([], [])

    @pytest.mark.parametrize("condition", ["ready", "reconciling", "rebuilding"])
    def test_the_state_of_the_catalogue(self, condition: str) -> None:
        assert Desk(kept=Kept(condition)).document()["catalogue"] == condition

    def test_a_disk_that_can_not_be_asked(self) -> None:
        assert Desk(kept=Kept(failure=OSError())).document()["disk"] is None

    def test_a_catalogue_that_can_not_be_asked(self) -> None:
        assert Desk(inventory=Inventory(failure=Unavailable("busy"))).document()["largest"] == []

    def test_a_thousand_reloads_look_once(self) -> None:
        desk = Desk()
        desk.bench.serve(HIT)
        pages = desk.pages()
        documents = {id(now(pages.document(False))) for _ in range(1000)}
        assert (len(documents), len(desk.inventory.asked)) == (1, 1)
        desk.clock.advance(2)
        assert id(now(pages.document(False))) not in documents
        assert len(desk.inventory.asked) == 1

    def test_a_time_of_day_that_is_none(self) -> None:
        desk = Desk()
        desk.clock.rightNow = 1e12
        assert desk.document()["time"] == ""


class TestUpstreams:
    def test_each_place_of_each_index(self) -> None:
        rows = Desk().document(admin=True)["upstreams"]
        assert [(row["index"], row["role"], row["origin"], row["state"]) for row in rows] == [
            ("internal", "index", "https://internal.example", "unknown"),
            ("main", "index", "https://main.example", "unknown"),
            ("main", "files", "https://files.example", "unknown"),
        ]

    def test_how_one_did(self) -> None:
        desk = Desk()
        desk.health.observe(FetchDone("https://main.example/simple/", 200, 0.25, False))
        desk.clock.advance(7)
        desk.health.observe(FetchFailed("https://main.example/simple/six/", "answered 503", False))
        desk.health.observe(BreakerChanged("https://main.example", True))
        desk.clock.advance(2)
        assert desk.document(PUBLIC)["upstreams"][0] == {
            "index": "main",
            "role": "index",
            "origin": "https://main.example",
            "state": "down",
            "last_answer_seconds_ago": 9,
            "latency_seconds": 0.25,
            "last_error": "answered 503",
            "last_error_seconds_ago": 2,
        }

    def test_of_a_private_one_others_hear_neither_name_nor_reason(self) -> None:
        desk = Desk()
        desk.health.observe(FetchFailed("https://internal.example/simple/acme/", "acme is not for you", False))
        (row, *_) = desk.document()["upstreams"]
        assert (row["index"], row["origin"], row["state"], row["last_error"]) == ("private", None, "failing", None)
        assert "acme" not in json.dumps(desk.document())
        assert "acme is not for you" in json.dumps(desk.document(admin=True))

    def test_a_directory(self) -> None:
        (row,) = Desk().document(FOLDER, admin=True)["upstreams"]
        assert (row["role"], row["state"], row["origin"]) == ("directory", "local", None)

    def test_offline(self) -> None:
        assert {row["state"] for row in Desk(offline=True).document()["upstreams"]} == {"offline"}


class TestTransfers:
    def test_how_far_each_is(self) -> None:
        document = Desk(running=[TRANSFER]).document()
        assert document["transfers"] == [
            {
                "project": "torch",
                "file": "torch+cpu-1.0.whl",
                "index": "main",
                "bytes": 100,
                "size_bytes": 400,
                "bytes_per_second": 50,
                "clients": 3,
            }
        ]
        assert document["other_transfers"] == 0

    def test_those_of_private_indexes_are_only_counted(self) -> None:
        desk = Desk(running=[TRANSFER, evolve(TRANSFER, key="https://internal.example/acme-1.whl", index="internal")])
        document = desk.document()
        assert (len(document["transfers"]), document["other_transfers"]) == (1, 1)
        assert "acme" not in json.dumps(document)
        assert len(desk.document(admin=True)["transfers"]) == 2

    def test_they_are_bounded(self) -> None:
        document = Desk(running=[TRANSFER] * 80).document()
        assert (len(document["transfers"]), document["other_transfers"]) == (MOST_TRANSFERS, 30)

    def test_the_rate_is_that_of_what_came_since_it_began(self) -> None:
        @define
        class Moving:
            length: int | None
            received: int
            readers: int

        began = Beginning("six", "main", 100.0, 1000)
        assert progress("k", began, Moving(9000, 3000, 2), 104.0) == Progress("k", "six", "main", 9000, 3000, 500.0, 2)
        assert progress("k", began, Moving(None, 1000, 0), 100.0).rate == 0


class TestMostUsed:
    def test_the_most_used_first(self) -> None:
        desk = Desk()
        for number in range(TOP + 5):
            desk.used(f"p{number}", frozenset({"main"}), number + 1)
        used = desk.document(PUBLIC)["most_used"]
        assert used[0] == {"name": "p14", "requests": 15}
        assert len(used) == TOP

    def test_what_may_be_of_either_is_told_if_a_public_index_owns_the_name(self) -> None:
        desk = Desk(owners={"six": "main", "acme": "internal"})
        for name in ("six", "acme", "unowned"):
            desk.used(name, MIXED)
        assert [each["name"] for each in desk.document()["most_used"]] == ["six"]
        assert {each["name"] for each in desk.document(admin=True)["most_used"]} == {"six", "acme", "unowned"}

    @pytest.mark.parametrize("indexes", [{"internal"}, {"gone"}, set()])
    def test_what_is_of_a_private_or_unknown_index_is_not_told(self, indexes: set[str]) -> None:
        desk = Desk(owners={"acme": "main"})
        desk.used("acme", frozenset(indexes))
        assert desk.document()["most_used"] == []

    def test_one_project_is_one_row(self) -> None:
        desk = Desk(owners={"six": "main"})
        desk.used("six", MIXED, 2)
        desk.used("six", frozenset({"main"}), 3)
        assert desk.document()["most_used"] == [{"name": "six", "requests": 5}]

    def test_the_catalogue_is_asked_for_some_only(self) -> None:
        desk = Desk()
        for number in range(1000):
            desk.used(f"p{number}", MIXED)
        desk.document()
        assert len(desk.asked) <= 100


class TestContents:
    def test_the_largest_of_what_one_may_hear_of(self) -> None:
        heap = {"name": "torch", "pages": 1, "files": 3, "size": 9000, "stored": 1, "used": 2}
        desk = Desk(inventory=Inventory({**EMPTY, "names": [heap]}))
        assert desk.document()["largest"] == [{"name": "torch", "files": 3, "bytes": 9000}]
        desk.document(admin=True)
        assert [wanted.indexes for wanted in desk.inventory.asked] == [frozenset({"main"}), None]
        assert {(wanted.kind, wanted.order) for wanted in desk.inventory.asked} == {("file", "size")}

    def search(self, desk: Desk, admin: bool = False) -> object:
        return now(desk.contents.search("six", audience(BOTH, admin)))

    def test_what_was_seen_while_the_catalogue_was_made_again_is_not_kept(self) -> None:
        desk = Desk(kept=Kept("rebuilding"))
        pages = desk.pages()
        now(pages.document(False))
        desk.kept.condition = "ready"
        desk.clock.advance(2)
        now(pages.document(False))
        assert len(desk.inventory.asked) == 2

    def test_a_search(self) -> None:
        page = {**STORED_PAGE, "confirmed": NOW, "fresh_for": 240}
        file = {**STORED_FILE, "checked": NOW - 86_400 * 3, "verified": True, "sha256": ""}
        total = {"names": 1, "pages": 1, "files": 70, "size": 0}
        desk = Desk(inventory=Inventory({**EMPTY, "total": total, "entries": [page, file]}))
        found = self.search(desk)
        assert [(row.name, row.what, row.size, row.age, row.freshness, row.droppable) for row in found.rows] == [
            ("six", "page", 10, 60, "fresh for 4 min", True),
            ("six", "six+1.whl", 9, 7200, "checked 3 d ago", False),
        ]
        assert found.total == 71
        assert desk.inventory.asked == [Wanted("six", indexes=frozenset({"main"}), limit=ROWS)]

    def test_administrators_search_everything(self) -> None:
        desk = Desk()
        self.search(desk, admin=True)
        assert desk.inventory.asked[0].indexes is None

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ({"kind": "page", "fresh_for": 90, "confirmed": 1}, "fresh for 90 s"),
            ({"kind": "page", "fresh_for": -7200, "confirmed": 1}, "stale for 2 h"),
            ({"kind": "page", "fresh_for": -7200, "confirmed": 0}, "expired"),
            ({"kind": "page", "fresh_for": None, "confirmed": 1}, "not known"),
            ({"kind": "file", "checked": NOW - 60, "verified": False}, "checked 60 s ago, by nobody's digest"),
            ({"kind": "metadata", "checked": NOW + 60, "verified": True}, "checked 0 s ago"),
        ],
    )
    def test_freshness(self, entry: dict[str, object], words: str) -> None:
        assert freshness(entry, NOW) == words

    def test_searches_at_once_are_bounded(self) -> None:
        desk = Desk()
        desk.inventory.waiting = Deferred()
        asked = [
            Deferred.fromCoroutine(desk.contents.search("six", audience(BOTH, False))) for _ in range(MOST_SEARCHES)
        ]
        with pytest.raises(Unavailable, match="Too many searches"):
            self.search(desk)
        desk.inventory.waiting.callback(None)
        assert all(each.called for each in asked)
        desk.inventory.waiting = None
        self.search(desk)


class TestSources:
    def sources(self, *tables: str) -> dict[str, Source]:
        text = "\n".join(f"[[index]]\n{table}" for table in tables)
        found = sources_of(load({"index-url": "https://main.example/simple/"}, toml=text).settings)
        return {source.name: source for source in found}

    @pytest.mark.parametrize(
        ("table", "private"),
        [
            ('url = "https://packages.example/simple/"', False),
            ('url = "https://packages.example/simple/"\nroutes = ["acme-*"]', False),
            ('url = "https://me:secret@packages.example/simple/"', True),
            ('url = "https://packages.example/simple/"\ntoken = "secret"', True),
            ('url = "https://packages.example/simple/"\nmirrors = ["https://u:p@mirror.example/simple/"]', True),
        ],
    )
    def test_private_is_what_takes_a_secret(self, table: str, private: bool) -> None:
        assert self.sources(f'name = "other"\n{table}')["other"].private is private

    def test_a_directory_is_private(self, tmp_path: object) -> None:
        (source,) = (each for each in self.sources(f'name = "own"\npath = "{tmp_path}"').values() if not each.places)
        assert source.private

    def test_npm_registries_are_shown_as_indexes_are(self) -> None:
        text = '[[npm]]\npath = "/acme/"\nurl = "https://packages.example/"\ntoken = "secret"\n'
        found = sources_of(load({"npm-url": "https://registry.example/npm/"}, toml=text).settings)[1:]
        assert {(source.places, source.private) for source in found} == {
            ((("npm", "https://packages.example"),), True),
            ((("npm", "https://registry.example"),), False),
        }

    def test_its_places(self) -> None:
        table = (
            'name = "other"\nurl = "https://packages.example/simple/"\nfiles-url = "https://files.example/"\n'
            'mirrors = ["https://mirror.example/simple/", "https://packages.example/again/"]'
        )
        assert self.sources(table)["other"].places == (
            ("index", "https://packages.example"),
            ("files", "https://files.example"),
            ("mirror", "https://mirror.example"),
        )
