"""Asking the sources of a page: in order, once for all who wait, remembering what none of them has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, evolve, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.caching import wording
from twisted_pypi.caching.copies import Copies, Held
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.owners import Owners
from twisted_pypi.caching.refresh import Asked, Refresher
from twisted_pypi.events import OwnerAbsent
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.http.freshness import Outcome
from twisted_pypi.interfaces import Observer
from twisted_pypi.model import PageRoute, PageSource
from twisted_pypi.records import StoredPage


@define
class Asking:
    """What is asked of sources right now, and what they were found not to have.

    `may_ask` tells whether a source may be asked at the moment; times are the clock's seconds.
    """

    copies: Copies
    refresher: Refresher
    owners: Owners
    observer: Observer
    clock: IReactorTime
    may_ask: Callable[[PageSource], bool]
    _flights: Singleflight[Asked] = field(factory=Singleflight, init=False)
    _absent: Expiring = field(factory=Expiring, init=False)
    _at_hand: dict[str, Held] = field(factory=dict, init=False)

    def running(self, route: PageRoute) -> bool:
        """Whether the route's sources are being asked."""
        return self._flights.running(_key(route, anew=False))

    def at_hand(self, route: PageRoute) -> Held | None:
        """The copy of the source that is being asked just now, after all before it said that they lack the page."""
        return self._at_hand.get(_key(route, anew=False))

    async def ask(
        self, route: PageRoute, sources: tuple[PageSource, ...], client: str, seconds: float, *, anew: bool = False
    ) -> Asked:
        """What these sources of the route say, or LATE after so many seconds; the asking goes on without us then.

        `anew`: even what is fresh is read as if nothing were stored.
        """
        flight = self._flight(route, sources, client, anew)
        flight.addTimeout(seconds, self.clock)
        try:
            return await flight
        except defer.TimeoutError:
            return Asked(Outcome.LATE)

    def ask_behind(self, route: PageRoute, sources: tuple[PageSource, ...], client: str) -> None:
        """Ask these sources though nobody waits for what they say. Returns at once."""
        self._flight(route, sources, client).addErrback(lambda _: None)

    def absent_for(self, route: PageRoute) -> float:
        """For how many more seconds it counts that no source has the page; 0 when that is not known."""
        return self._absent.left(wording.question(route), self.clock.seconds())

    def forget_absence(self, route: PageRoute) -> None:
        """The sources may have come to have this page."""
        self._absent.discard(wording.question(route))

    def forget_absences(self) -> None:
        """The sources may have come to have any page."""
        self._absent.clear()

    def stop(self) -> None:
        """Give up the fetches under way."""
        self._flights.cancel_all()

    def _flight(
        self, route: PageRoute, sources: tuple[PageSource, ...], client: str, anew: bool = False
    ) -> Deferred[Asked]:
        return self._flights.do(_key(route, anew), partial(self._ask, route, sources, client, anew))

    async def _ask(self, route: PageRoute, sources: tuple[PageSource, ...], client: str, anew: bool) -> Asked:
        """Ask the sources in order until one has the page or fails: down is not absent."""
        asked = Asked(Outcome.ABSENT)
        for source in sources:
            if not self.may_ask(source):
                return Asked(Outcome.FAILED)
            copy = await self.copies.get(source)
            asked = evolve(await self._ask_one(route, source, copy, client, anew), index=source.index)
            if asked.outcome is Outcome.FAILED and copy is not None:
                # All before it lack the page, and what it had is there: as good an answer as it can give for now.
                asked = evolve(asked, page=copy)
            if asked.page is not None:
                await self.owners.note(route, source)
            if asked.outcome is not Outcome.ABSENT:
                break
            if copy is not None:  # it may have been fresh, and must not be taken for an answer any more
                await self.copies.make_stale(copy, source.ttl)
        self._note_absence(route, sources, asked)
        return asked if asked.outcome is not Outcome.ABSENT or len(sources) == 1 else evolve(asked, index="")

    async def _ask_one(
        self, route: PageRoute, source: PageSource, copy: StoredPage | None, client: str, anew: bool
    ) -> Asked:
        key = _key(route, anew)
        if copy is not None:
            self._at_hand[key] = self.copies.hold(source, copy)
        try:
            return await self.refresher.ask(route, source, copy, client, anew)
        finally:
            self._at_hand.pop(key, None)

    def _note_absence(self, route: PageRoute, sources: tuple[PageSource, ...], asked: Asked) -> None:
        if asked.outcome is not Outcome.ABSENT:
            self.forget_absence(route)
            return
        ttl = min(source.not_found_ttl for source in sources)
        self._absent.add(wording.question(route), self.clock.seconds() + ttl)
        if len(sources) < len(route.sources) and route.follows is None:
            self.observer(OwnerAbsent(route.name, sources[0].index))


def _key(route: PageRoute, anew: bool) -> str:
    return f"{wording.question(route)} anew" if anew else wording.question(route)
