"""Who owns a name that several indexes could have: the first that had it, until the name is purged.

An index that comes to have the name later can't take it over (dependency confusion). An owner that is no longer
configured owns nothing.
"""

from __future__ import annotations

from attrs import define, field

from twisted_pypi.interfaces import Facts
from twisted_pypi.model import PageRoute, PageSource

REMEMBERED = 100_000


@define
class Owners:
    """The owners, as recorded, with those asked for lately in memory."""

    facts: Facts
    _known: dict[str, str] = field(factory=dict, init=False)

    def only(self, route: PageRoute) -> PageSource | None:
        """The source that alone answers for the route, as far as memory can tell."""
        if len(route.sources) == 1:
            return route.sources[0]
        owner = self._known.get(route.owner or "")
        return next((source for source in route.sources if source.index == owner), None)

    async def candidates(self, route: PageRoute) -> tuple[PageSource, ...]:
        """The sources to ask, in order: the owner alone, if there is one."""
        if route.owner is not None and self.only(route) is None:
            owner = await self.facts.owner(route.owner)
            if owner is not None:
                self._remember(route.owner, owner)
        only = self.only(route)
        return route.sources if only is None else (only,)

    async def note(self, route: PageRoute, source: PageSource) -> None:
        """The source has the route's page: from now on it owns the name, if nobody did."""
        if route.owner is not None and route.follows is None and self.only(route) is None:
            self._remember(route.owner, source.index)
            await self.facts.set_owner(route.owner, source.index)

    async def forget(self, route: PageRoute, index: str | None = None) -> None:
        """The next page fetch decides anew; with `index` only where that index is the owner."""
        if route.owner is None or (index is not None and await self.facts.owner(route.owner) != index):
            return
        await self.facts.forget_owner(route.owner)
        # Only now: who read the record before it was gone has remembered it meanwhile.
        self._known.pop(route.owner, None)

    def _remember(self, name: str, index: str) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[name] = index
