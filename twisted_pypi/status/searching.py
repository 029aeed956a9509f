"""What a search of the cache shows. Pure."""

from __future__ import annotations

from attrs import frozen


@frozen
class Row:
    """One entry: `what` it is in words, its size in bytes, its age in seconds, how fresh it is in words.

    `droppable`: there is a project of this name to drop.
    """

    name: str
    what: str
    size: int
    age: float
    freshness: str
    droppable: bool


@frozen
class Found:
    """The first entries that match; `more`: there are others."""

    rows: tuple[Row, ...]
    more: bool
