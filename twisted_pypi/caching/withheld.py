"""Companions that a page announces and upstream does not deliver: installers give up there, so pages stop saying so."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Facts

WITHHELD = 86400.0
"""Seconds after which a page announces the companion again, for upstream to deliver it then."""

KIND = "withheld"
"""Of the marks (`Facts.mark`)."""


@define
class Withheld:
    """Which files' companions a page doesn't announce. `now` tells the time in seconds."""

    facts: Facts
    now: Callable[[], float]

    async def of(self, page: str) -> frozenset[str]:
        """The keys of the files whose companions the page with this key is to pass over."""
        try:
            marks = await self.facts.marks(KIND, page)
        except CacheError:  # the catalogue is out of order: the page is as upstream has it
            return frozenset()
        now = self.now()
        return frozenset(key for key, until in marks.items() if until > now)

    async def add(self, page: str, file: str) -> None:
        """From now on the page passes over the companion of this file, for a while."""
        await self.facts.mark(KIND, page, file, self.now() + WITHHELD)

    async def forget(self, page: str) -> None:
        """The page is as upstream has it again."""
        await self.facts.unmark(KIND, [page])
