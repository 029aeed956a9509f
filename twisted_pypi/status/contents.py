"""What the cache holds, for the page: the largest packages, and what a search finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

from attrs import define, field, frozen

from twisted_pypi.errors import Unavailable
from twisted_pypi.interfaces import Inventory
from twisted_pypi.interfaces.listing import Wanted
from twisted_pypi.status.recent import Recent
from twisted_pypi.status.visible import Audience
from twisted_pypi.status.wording import ago_text, duration_text

LARGEST = 10
ROWS = 50
"""Entries that a search shows."""

LASTING = 60.0
"""Seconds for which the list of the largest is good: the whole catalogue is looked through for it, behind an answer."""

MOST_SEARCHES = 4
"""Searches at once, which wait for one thread."""


@frozen
class Row:
    """One entry: `what` it is in words, its size in bytes, its age in seconds, how fresh it is in words.

    `droppable`: with it a package is first named that can be dropped.
    """

    name: str
    what: str
    size: int
    age: float
    freshness: str
    droppable: bool


@frozen
class Found:
    """The first entries that match, of `total`."""

    rows: tuple[Row, ...]
    total: int


@define(eq=False)
class Contents:
    """Asks the inventory. `steady` and `wall` tell the time."""

    inventory: Inventory
    steady: Callable[[], float]
    wall: Callable[[], float]
    _largest: Recent[list[Mapping[str, Any]]] = field(init=False)
    _searching: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._largest = Recent(self.steady, LASTING, behind=True)

    async def largest(self, audience: Audience, condition: str) -> list[Mapping[str, Any]]:
        """The packages with the most bytes in files, as JSON has them; none while the catalogue can't be read.

        `condition` is the catalogue's: what was seen while it was another one is not shown for longer.
        """
        try:
            return await self._largest.get((audience, condition), partial(self._look, audience))
        except Unavailable:
            return []

    async def search(self, query: str, audience: Audience) -> Found:
        """Entries whose name fits: a part of it, or with `*` a pattern. Raises `Unavailable`."""
        if self._searching >= MOST_SEARCHES:
            raise Unavailable("Too many searches at the moment")
        self._searching += 1
        try:
            document = await self.inventory.entries(Wanted(text=query, indexes=_indexes(audience), limit=ROWS))
        finally:
            self._searching -= 1
        total = document["total"]
        return Found(tuple(_rows(document["entries"], self.wall())), total["pages"] + total["files"])

    async def _look(self, audience: Audience) -> list[Mapping[str, Any]]:
        wanted = Wanted(kind="file", indexes=_indexes(audience), order="size", limit=LARGEST)
        document = await self.inventory.names(wanted)
        return [{"name": each["name"], "files": each["files"], "bytes": each["size"]} for each in document["names"]]


def _indexes(audience: Audience) -> frozenset[str] | None:
    return None if audience.all_seeing else audience.public


def _rows(entries: list[Mapping[str, Any]], now: float) -> list[Row]:
    named: set[str] = set()
    rows = []
    for entry in entries:
        name = entry["name"]
        what = "page" if entry["kind"] == "page" else unquote(entry["url"].rpartition("/")[2])
        first = bool(name) and name not in named
        named.add(name)
        age = max(0.0, now - entry["stored"])
        rows.append(Row(name or entry["url"], what, entry["size"], age, freshness(entry, now), first))
    return rows


def freshness(entry: Mapping[str, Any], now: float) -> str:
    """How fresh a listed entry is, in words: a page's time goes by, a file is checked now and then."""
    if entry["kind"] != "page":
        checked = f"checked {ago_text(max(0.0, now - entry['checked']))}"
        return checked if entry["verified"] else f"{checked}, by nobody's digest"
    left = entry["fresh_for"]
    if left is None:
        return "not known"
    if left > 0:
        return f"fresh for {duration_text(left)}"
    return "expired" if not entry["confirmed"] else f"stale for {duration_text(-left)}"
