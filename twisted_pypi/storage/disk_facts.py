"""What pages said of files and who owns which name, in the catalogue."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred

from twisted_pypi.errors import Unavailable
from twisted_pypi.lru import Lru
from twisted_pypi.model import FileLink
from twisted_pypi.records import NamedLink
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.rows import LinkRow, link_row

_HOT = 8192

T = TypeVar("T")


@define(eq=False)
class DiskFacts:
    """`interfaces.Facts`. With the catalogue out of order, questions raise `Unavailable`: "nobody owns it" and
    "nothing is known of it" are answers that others would act on."""

    engine: Engine
    _links: Lru[str, tuple[NamedLink, ...]] = field(factory=lambda: Lru(_HOT), init=False)
    _marks: Lru[tuple[str, str], Mapping[str, float]] = field(factory=lambda: Lru(_HOT), init=False)

    def __attrs_post_init__(self) -> None:
        self.engine.records["link"] = self._links

    def hot_links(self, key: str) -> tuple[NamedLink, ...] | None:
        """The links of this file, if that can be told in memory alone."""
        return self._links.get(key)

    def hot_marks(self, kind: str, subject: str) -> Mapping[str, float] | None:
        """The marks of the subject, if that can be told in memory alone."""
        return self._marks.get((kind, subject))

    async def links(self, key: str) -> tuple[NamedLink, ...]:
        """What each index's pages last said of the file with this key."""
        links = self._links.get(key)
        if links is None:
            links = await self._sure(self.engine.sql(Catalogue.links, key))
            self._links.put(key, links)
        return links

    async def record_link(self, index: str, link: FileLink) -> None:
        """Record one link outside a page. One whose URL can't be a key is left out."""
        if row := link_row(link):
            await self.engine.tasks.run(self.engine.ask(None, Catalogue.record_links, index, [row]))
            self.changed([row])

    def changed(self, rows: Iterable[LinkRow]) -> None:
        """The catalogue has these links now."""
        for row in rows:
            self._links.pop(row[0])

    async def owner(self, name: str) -> str | None:
        """The index that owns the name."""
        return await self._sure(self.engine.sql(Catalogue.owner, name))

    async def set_owner(self, name: str, index: str) -> None:
        """From now on only `index` is asked for `name`."""
        await self._sure(self.engine.sql(Catalogue.set_owner, name, index))

    async def forget_owner(self, name: str) -> None:
        """The next page fetch decides anew."""
        await self._sure(self.engine.sql(Catalogue.set_owner, name, None))

    async def marks(self, kind: str, subject: str) -> Mapping[str, float]:
        """The values of the subject, each with the time until which it counts."""
        marks = self._marks.get((kind, subject))
        if marks is None:
            marks = await self._sure(self.engine.sql(Catalogue.marks, kind, subject))
            self._marks.put((kind, subject), marks)
        return marks

    async def mark(self, kind: str, subject: str, value: str, until: float) -> None:
        """Add a value, or prolong it."""
        await self.engine.tasks.run(self.engine.ask(None, Catalogue.mark, kind, subject, value, until))
        self._marks.pop((kind, subject))

    async def unmark(self, kind: str, subjects: list[str]) -> None:
        """Drop all values of the subjects."""
        await self.engine.tasks.run(self.engine.ask(None, Catalogue.unmark, kind, subjects))
        for subject in subjects:
            self._marks.pop((kind, subject))

    async def _sure(self, answer: Coroutine[Deferred[Any], Any, T]) -> T:
        try:
            return await self.engine.tasks.run(answer)
        except sqlite3.Error as error:
            raise Unavailable(f"the cache's catalogue is out of order: {error}") from error
