"""What is stored, to be looked through by people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

MOST = 1000
"""Rows of one answer."""

ORDERS = ("name", "size", "used", "stored")
"""In which order rows may be wanted: names from a to z, the largest, the last used and the last stored first; with "-"
before it the other way round."""


@frozen
class Wanted:
    """What to list: `limit` rows (at most `MOST`) behind the first `skip`.

    `text` is a pattern for the whole name if it holds `*`, else a part of it, "" for all; case, `_` and `.` (for `-`)
    make no difference. `exact`: `text` is the name as it is stored. `kind` is "page", "file" or "" for both; `index`
    None is any; `indexes`, where they are given, are all that may be told of. `order` is one of `ORDERS`, or that with
    "-" before it.
    """

    text: str = ""
    kind: str = ""
    index: str | None = None
    order: str = "name"
    limit: int = 100
    skip: int = 0
    exact: bool = False
    indexes: frozenset[str] | None = None


@frozen
class Listed:
    """One stored page or file; times are seconds since the epoch.

    `name` is "" where none is known; such an entry is found by its key. `size` is what it takes on disk.
    `confirmed_at` is when a page was last confirmed by its upstream (0: it counts as expired), a file last checked;
    `verified`: a digest that its index announced is that of the file. `sha256` is "" for pages.
    """

    name: str
    kind: str
    key: str
    path: str
    index: str
    size: int
    stored_at: float
    used_at: float
    confirmed_at: float
    verified: bool
    sha256: str


@frozen
class Heap:
    """All that is stored under one name. `used_at` and `stored_at` are the latest of them."""

    name: str
    pages: int
    files: int
    size: int
    stored_at: float
    used_at: float


@frozen
class Totals:
    """All that fits, whatever the limit: how many names, pages and files, and their bytes."""

    names: int
    pages: int
    files: int
    size: int


class Listing(Protocol):
    """Looks through what is stored. Everything raises `Unavailable` where the store can't tell."""

    async def entries(self, wanted: Wanted) -> tuple[Totals, list[Listed]]:
        """Pages and files, each a row."""

    async def names(self, wanted: Wanted) -> tuple[Totals, list[Heap]]:
        """The same, a row for each name."""

    async def names_after(self, name: str, wanted: Wanted) -> list[str]:
        """The next names from a to z, whatever the order that is wanted: for who goes through all."""


class Inventory(Protocol):
    """What is stored, as documents to be written as JSON. Both raise `Unavailable` where the store can't tell."""

    async def entries(self, wanted: Wanted) -> Mapping[str, Any]:
        """Pages and files, each by itself."""

    async def names(self, wanted: Wanted) -> Mapping[str, Any]:
        """The same, all of one name together."""
