"""Pages: small, mutable, revalidated; one shared fetch for all who ask, stale copies when upstream can't answer.

One request: what is stored (`_copy`) → `freshness.plan` → serve, or wait for the shared fetch → `freshness.settle`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import Factory, define, evolve, field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Asker, ByteSource, CacheState, PageAnswer, Provenance, Still
from twisted_pypi.caching import wording
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.offline import restricted
from twisted_pypi.caching.owners import Owners
from twisted_pypi.caching.refresh import Asked, Refresher
from twisted_pypi.caching.unions import Unions
from twisted_pypi.events import Decided, OwnerAbsent
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.http import freshness
from twisted_pypi.http.freshness import Circumstances, Copy, Outcome, Step, Verdict
from twisted_pypi.interfaces import Observer, Store, Upstream, Workers
from twisted_pypi.model import PageRoute, PageSource
from twisted_pypi.records import Representation, StoredPage

BUDGET = 11.5
"""Seconds after which a waiting client gets a 503, so that it has that or a first byte within 12 (pip: 15)."""

INSIST_INTERVAL = 10.0
"""Seconds in which a client's `no-cache` revalidates a page at most once."""


@frozen
class PagePolicy:
    """How pages are kept fresh; durations in seconds."""

    stale_wait: float = 1.0
    max_stale: float | None = None
    offline: bool = False


@frozen
class _Held:
    """What is stored for a route: the source it came from, the page, and how fresh it is."""

    source: PageSource
    page: StoredPage
    copy: Copy


@define
class CachedPages:
    """`interfaces.Pages` over a store and an upstream.

    `now` is the time of day, of which pages on disk have their age; by default the clock's.
    """

    store: Store
    upstream: Upstream
    refresher: Refresher
    workers: Workers
    observer: Observer
    clock: IReactorTime
    policy: PagePolicy = PagePolicy()
    now: Callable[[], float] = field(default=Factory(lambda self: self.clock.seconds, takes_self=True))
    _flights: Singleflight[Asked] = field(factory=Singleflight, init=False)
    _absent: Expiring = field(factory=Expiring, init=False)
    _insisted: Expiring = field(factory=Expiring, init=False)
    _owners: Owners = field(init=False)
    _unions: Unions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._owners = Owners(self.store.facts)
        self._unions = Unions(self.store.pages, self.workers, self.clock, self.answer, BUDGET, self.policy.stale_wait)

    def use(self, policy: PagePolicy) -> None:
        """Keep pages so from now on. What was absent may not be so for the indexes that are asked now."""
        self.policy = policy
        self._unions.use(policy.stale_wait)
        self.forget_absences()

    def forget_absences(self) -> None:
        """Something was published: what was absent may not be so any more."""
        self._absent.clear()

    # -- what `web` calls ----------------------------------------------------------------------------------------

    def ready(self, route: PageRoute, asker: Asker) -> PageAnswer | None:
        """A fresh page that is in memory. No Deferred, no thread, no SQL."""
        if asker.no_cache or self.policy.offline or route.follows is not None:
            return None
        if route.parts:
            return self._unions.ready(route, [self.ready(part, asker) for part in route.parts])
        source = self._owners.only(route)
        page = self.store.pages.hot(source.key) if source is not None else None
        if source is None or page is None or not _fits(page, source):
            return None
        left = self._copy_of(source, page).ttl_left
        if left <= 0:
            return None
        still = Still(partial(self._still, route, source, page), partial(self.store.pages.seal, page))
        return PageAnswer(page, wording.told(route, source.index, CacheState.HIT, ttl=left), still=still)

    def _still(self, route: PageRoute, source: PageSource, page: StoredPage) -> bool:
        same = self.store.pages.hot(source.key) is page and self._owners.only(route) is source
        return same and self._copy_of(source, page).fresh

    def ready_body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource | None:
        """The body, if it can be had at once."""
        return self.store.pages.hot_body(answer.page, representation)

    async def body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource:
        """The body. Raises `LookupError` when the page was replaced meanwhile."""
        if answer.restricted:
            return answer.restricted[representation.body, representation.encoding]
        return await self.store.pages.body(answer.page, representation)

    async def answer(self, route: PageRoute, asker: Asker) -> PageAnswer:
        """The page, as `freshness` decides. Raises `Absent` or `Unavailable`."""
        if route.parts:
            return await self._unions.answer(route, asker)
        self._refuse_absent(route, asker)
        if route.follows is not None:
            await self.answer(route.follows, Asker(asker.client))
        sources = await self._owners.candidates(route)
        held = await self._held(route, sources)
        # What is on this machine is asked offline too, unless an index before it could have the project.
        offline = self.policy.offline and not sources[0].local
        plan = freshness.plan(held.copy if held else None, self._circumstances(route, held, asker, offline))
        self.observer(Decided(route.key, plan.step.name.lower(), plan.reason))
        if plan.step is Step.REFUSE:
            raise wording.offline(route)
        if plan.step is Step.SERVE and held is not None:
            self._probe(route, sources, held, asker)
            return await self._serve(route, held, Provenance(plan.state))
        return await self._fetched(route, sources, held, plan.wait, asker)

    async def expire(self, route: PageRoute) -> int:
        """Make the stored pages stale (how many), and forget who owns the name and that it was absent."""
        if route.parts:
            self._unions.forget_failures()
            return sum([await self.expire(part) for part in route.parts])
        self._absent.discard(wording.question(route))
        await self._owners.forget(route)
        count = 0
        for source in route.sources:
            page = await self.store.pages.get(source.key)
            if page is not None:
                await self._make_stale(source, page)
                await self.refresher.announce_all(source.key)
                count += 1
        return count

    async def _make_stale(self, source: PageSource, page: StoredPage) -> None:
        # Just stale, by the second that file times and sums may be off: --max-stale counts from here.
        just_stale = self.now() - source.ttl - 1
        await self.store.pages.expire(source.key, min(page.validated_at, just_stale))

    async def withhold(self, route: PageRoute, index: str, key: str) -> None:
        """Have the index's page no longer announce the companion of this file: it can't be had."""
        source = next((source for source in route.sources if source.index == index), None)
        if source is not None and await self.refresher.withhold(source.key, key):
            sources = await self._owners.candidates(route)
            self._flights.do(wording.question(route), partial(self._ask, route, sources, "")).addErrback(lambda _: None)

    async def renew(self, route: PageRoute, client: str) -> None:
        """See `interfaces.Pages`."""
        anew = f"{wording.question(route)} anew"
        now = self.clock.seconds()
        if self.policy.offline or (self._insisted.left(anew, now) and not self._flights.running(anew)):
            return
        self._insisted.add(anew, now + INSIST_INTERVAL)
        flight = self._flights.do(anew, partial(self._ask, route, route.sources, client, True))
        await self._within(flight, BUDGET)

    def stop(self) -> None:
        """Give up the fetches under way."""
        self._flights.cancel_all()
        self._unions.stop()

    # -- what is stored ------------------------------------------------------------------------------------------

    def _refuse_absent(self, route: PageRoute, asker: Asker) -> None:
        left = self._absent.left(wording.question(route), self.clock.seconds())
        if left and not asker.no_cache and not self.policy.offline:
            self.observer(Decided(route.key, "absent", "upstream said so a moment ago"))
            raise wording.absence(route, Provenance(CacheState.HIT, ttl=left))

    async def _held(self, route: PageRoute, sources: tuple[PageSource, ...]) -> _Held | None:
        """The copy to go by. While nobody owns the name, that of the first index alone, for it has to be asked first.

        The others' may be there all the same: they are shown alone below their own names. Offline there is no asking.
        """
        for source in sources if self.policy.offline else sources[:1]:
            page = await self._stored(source)
            if page is not None:
                if source is sources[0]:
                    await self._owners.note(route, source)
                return _Held(source, page, self._copy_of(source, page))
        return None

    async def _stored(self, source: PageSource) -> StoredPage | None:
        page = await self.store.pages.get(source.key)
        return page if page is not None and _fits(page, source) else None

    def _copy_of(self, source: PageSource, page: StoredPage) -> Copy:
        return Copy(self.now() - page.validated_at, source.ttl, self.policy.max_stale)

    def _circumstances(self, route: PageRoute, held: _Held | None, asker: Asker, offline: bool) -> Circumstances:
        insist = asker.no_cache and held is not None and self._may_insist(route)
        expired = held is not None and (insist or not held.copy.fresh)
        refreshing = self._flights.running(wording.question(route))
        return Circumstances(
            offline=offline,
            down=expired and not refreshing and held is not None and self._is_down(held.source),
            refreshing=refreshing,
            insist=insist,
            stale_wait=self.policy.stale_wait,
        )

    def _is_down(self, source: PageSource) -> bool:
        return self._may_ask(source) and self.upstream.is_down(source.url)

    def _may_ask(self, source: PageSource) -> bool:
        return source.local or not self.policy.offline

    def _may_insist(self, route: PageRoute) -> bool:
        now = self.clock.seconds()
        if self._insisted.left(route.key, now):
            return False
        self._insisted.add(route.key, now + INSIST_INTERVAL)
        return True

    # -- asking upstream -----------------------------------------------------------------------------------------

    def _probe(self, route: PageRoute, sources: tuple[PageSource, ...], held: _Held, asker: Asker) -> None:
        """Behind a stale answer, now and then, see whether an upstream that is down is back."""
        if not (held.copy.fresh or self.policy.offline) and self.upstream.may_probe(held.source.url):
            asking = partial(self._ask, route, sources, asker.client)
            self._flights.do(wording.question(route), asking).addErrback(lambda _: None)

    async def _fetched(
        self,
        route: PageRoute,
        sources: tuple[PageSource, ...],
        held: _Held | None,
        wait: float | None,
        asker: Asker,
    ) -> PageAnswer:
        collapsed = self._flights.running(wording.question(route))
        begun = self.clock.seconds()
        flight = self._flights.do(wording.question(route), partial(self._ask, route, sources, asker.client))
        asked = await self._within(flight, BUDGET if wait is None else wait)
        if held is None and asked.page is not None and asked.outcome is not Outcome.NEW:
            held = self._hold(route, asked.page)  # it was stored between the look and the fetch
        verdict, state = freshness.settle(held.copy if held else None, asked.outcome)
        how = wording.told(
            route,
            asked.index,
            state,
            collapsed=collapsed,
            stored=verdict is Verdict.NEW,
            upstream_status=asked.status,
            upstream_seconds=self.clock.seconds() - begun,
            detail=asked.failure.reason if asked.failure else "",
            parent=asked.parent,
        )
        if verdict is Verdict.ABSENT:
            raise wording.absence(route, how)
        if verdict is Verdict.NEW and asked.page is not None:
            return await self._serve(route, self._hold(route, asked.page), how)
        if verdict is Verdict.COPY and held is not None:
            page = asked.page if asked.outcome is Outcome.NOT_MODIFIED and asked.page else held.page
            return await self._serve(route, self._hold(route, page), how)
        if self.policy.offline and asked.failure is None:
            raise wording.offline(route)
        raise wording.unavailable(route, asked, how)

    async def _within(self, flight: Deferred[Asked], seconds: float) -> Asked:
        """The flight's result, or LATE; the flight goes on without this waiter then."""
        flight.addTimeout(seconds, self.clock)
        try:
            return await flight
        except defer.TimeoutError:
            return Asked(Outcome.LATE)

    async def _ask(self, route: PageRoute, sources: tuple[PageSource, ...], client: str, anew: bool = False) -> Asked:
        """Ask the sources in order until one has the page or fails: down is not absent."""
        asked = Asked(Outcome.ABSENT)
        for source in sources:
            if not self._may_ask(source):
                return Asked(Outcome.FAILED)
            copy = await self._stored(source)
            asked = evolve(await self.refresher.ask(route, source, copy, client, anew), index=source.index)
            if asked.page is not None:
                await self._owners.note(route, source)
            if asked.outcome is not Outcome.ABSENT:
                break
            if copy is not None:  # it may have been fresh, and must not be taken for an answer any more
                await self._make_stale(source, copy)
        self._note_absence(route, sources, asked)
        return asked if asked.outcome is not Outcome.ABSENT or len(sources) == 1 else evolve(asked, index="")

    def _note_absence(self, route: PageRoute, sources: tuple[PageSource, ...], asked: Asked) -> None:
        if asked.outcome is not Outcome.ABSENT:
            self._absent.discard(wording.question(route))
            return
        ttl = min(source.not_found_ttl for source in sources)
        self._absent.add(wording.question(route), self.clock.seconds() + ttl)
        if len(sources) < len(route.sources) and route.follows is None:
            self.observer(OwnerAbsent(route.name, sources[0].index))

    # -- serving -------------------------------------------------------------------------------------------------

    def _hold(self, route: PageRoute, page: StoredPage) -> _Held:
        source = next(source for source in route.sources if source.key == page.meta.key)
        return _Held(source, page, self._copy_of(source, page))

    async def _serve(self, route: PageRoute, held: _Held, how: Provenance) -> PageAnswer:
        how = evolve(how, ttl=held.copy.ttl_left, index=held.source.index if route.tells_index else "")
        if self._may_ask(held.source):
            return PageAnswer(held.page, how)
        return await restricted(route, held.page, how, self.store.pages, self.store.files, self.workers)


def _fits(page: StoredPage, source: PageSource) -> bool:
    """Whether a page that is stored for the URL is the source's own.

    What it said of files was recorded for the index that it was stored for, and its links lead where that one's did:
    neither is right any more when an index was renamed, or is no longer the default.
    """
    return page.meta.index == source.index and page.meta.layout == source.layout
