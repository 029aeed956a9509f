"""Companions that an index doesn't have and we make: its pages announce them once they are known to work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define

from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Facts
from twisted_pypi.model import PageSource

_KIND = "supplied"


@define
class Supplied:
    """Which files' companions a page announces though upstream doesn't.

    `now` tells the time in seconds; `wanted` are the indexes whose pages do that at all.
    """

    facts: Facts
    now: Callable[[], float]
    wanted: frozenset[str] = frozenset()

    async def of(self, source: PageSource) -> Mapping[str, str]:
        """SHA-256 of each companion, by the key of its file, of the source's page."""
        if source.index not in self.wanted:
            return {}
        try:
            marks = await self.facts.marks(_KIND, source.key)
        except CacheError:  # the catalogue is out of order: the page is as upstream has it
            return {}
        now = self.now()
        pairs = (value.partition(" ") for value, until in marks.items() if until > now)
        return {file: sha256 for sha256, _, file in pairs}

    async def add(self, page: str, file: str, sha256: str) -> None:
        """From now on the page announces this companion of the file."""
        await self.facts.mark(_KIND, page, f"{sha256} {file}", float("inf"))

    async def drop(self, page: str, file: str, sha256: str) -> None:
        """It doesn't any more."""
        await self.facts.mark(_KIND, page, f"{sha256} {file}", 0.0)
