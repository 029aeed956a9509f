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
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.offline import restricted
from twisted_pypi.caching.owners import Owners
from twisted_pypi.caching.refresh import Asked, Refresher
from twisted_pypi.errors import Absent, Unavailable
from twisted_pypi.events import Decided, OwnerAbsent
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.http import freshness
from twisted_pypi.http.freshness import Circumstances, Copy, Outcome, Step, Verdict
from twisted_pypi.interfaces import Observer, Store, Upstream, Workers
from twisted_pypi.model import PageRoute, PageSource
from twisted_pypi.records import Representation, StoredPage

BUDGET = 12.0
"""Seconds within which a waiting client has a first byte or a 503 (pip gives up after 15)."""

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

    def __attrs_post_init__(self) -> None:
        self._owners = Owners(self.store.facts)

    def use(self, policy: PagePolicy) -> None:
        """Keep pages so from now on. What was absent may not be so for the indexes that are asked now."""
        self.policy = policy
        self._absent.clear()

    # -- what `web` calls ----------------------------------------------------------------------------------------

    def ready(self, route: PageRoute, asker: Asker) -> PageAnswer | None:
        """A fresh page that is in memory. No Deferred, no thread, no SQL."""
        if asker.no_cache or self.policy.offline or route.follows is not None:
            return None
        source = self._owners.only(route)
        page = self.store.pages.hot(source.key) if source is not None else None
        if source is None or page is None or not _fits(page, source):
            return None
        left = self._copy_of(source, page).ttl_left
        if left <= 0:
            return None
        still = Still(partial(self._still, route, source, page), partial(self.store.pages.seal, page))
        return PageAnswer(page, Provenance(CacheState.HIT, ttl=left), still=still)

    def _still(self, route: PageRoute, source: PageSource, page: StoredPage) -> bool:
        same = self.store.pages.hot(source.key) is page and self._owners.only(route) is source
        return same and self._copy_of(source, page).fresh

    def ready_body(self, answer: PageAnswer, representation: Representation) -> bytes | None:
        """The body, if it is in memory."""
        return self.store.pages.hot_body(answer.page, representation)

    async def body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource:
        """The body. Raises `LookupError` when the page was replaced meanwhile."""
        if answer.restricted:
            return answer.restricted[representation.body, representation.encoding]
        return await self.store.pages.body(answer.page, representation)

    async def answer(self, route: PageRoute, asker: Asker) -> PageAnswer:
        """The page, as `freshness` decides. Raises `Absent` or `Unavailable`."""
        self._refuse_absent(route, asker)
        if route.follows is not None:
            await self.answer(route.follows, Asker(asker.client))
        sources = await self._owners.candidates(route)
        held = await self._held(sources)
        plan = freshness.plan(held.copy if held else None, self._circumstances(route, held, asker))
        self.observer(Decided(route.key, plan.step.name.lower(), plan.reason))
        if plan.step is Step.REFUSE:
            problem = f"{route.name or route.key}: offline, and not in the cache"
            raise Unavailable(problem, retry_after=None, provenance=Provenance(CacheState.MISS, detail="offline"))
        if plan.step is Step.SERVE and held is not None:
            self._probe(route, sources, held, asker)
            return await self._serve(route, held, Provenance(plan.state))
        return await self._fetched(route, sources, held, plan.wait, asker)

    async def expire(self, route: PageRoute) -> int:
        """Make the stored pages stale (how many), and forget who owns the name and that it was absent."""
        self._absent.discard(_question(route))
        await self._owners.forget(route)
        count = 0
        for source in route.sources:
            page = await self.store.pages.get(source.key)
            if page is not None:
                # Just stale, by the second that file times and sums may be off: --max-stale counts from here.
                just_stale = self.now() - source.ttl - 1
                await self.store.pages.expire(source.key, min(page.validated_at, just_stale))
                await self.refresher.announce_all(source.key)
                count += 1
        return count

    async def withhold(self, route: PageRoute, index: str, key: str) -> None:
        """Have the index's page no longer announce the companion of this file: it can't be had."""
        source = next((source for source in route.sources if source.index == index), None)
        if source is not None and await self.refresher.withhold(source.key, key):
            sources = await self._owners.candidates(route)
            self._flights.do(_question(route), partial(self._ask, route, sources, "")).addErrback(lambda _: None)

    def stop(self) -> None:
        """Give up the fetches under way."""
        self._flights.cancel_all()

    # -- what is stored ------------------------------------------------------------------------------------------

    def _refuse_absent(self, route: PageRoute, asker: Asker) -> None:
        left = self._absent.left(_question(route), self.clock.seconds())
        if left and not asker.no_cache and not self.policy.offline:
            self.observer(Decided(route.key, "absent", "upstream said so a moment ago"))
            raise _absence(route, Provenance(CacheState.HIT, ttl=left))

    async def _held(self, sources: tuple[PageSource, ...]) -> _Held | None:
        for source in sources:
            page = await self._stored(source)
            if page is not None:
                return _Held(source, page, self._copy_of(source, page))
        return None

    async def _stored(self, source: PageSource) -> StoredPage | None:
        page = await self.store.pages.get(source.key)
        return page if page is not None and _fits(page, source) else None

    def _copy_of(self, source: PageSource, page: StoredPage) -> Copy:
        return Copy(self.now() - page.validated_at, source.ttl, self.policy.max_stale)

    def _circumstances(self, route: PageRoute, held: _Held | None, asker: Asker) -> Circumstances:
        insist = asker.no_cache and held is not None and self._may_insist(route)
        expired = held is not None and (insist or not held.copy.fresh)
        refreshing = self._flights.running(_question(route))
        return Circumstances(
            offline=self.policy.offline,
            down=expired and not refreshing and held is not None and self._is_down(held.source),
            refreshing=refreshing,
            insist=insist,
            stale_wait=self.policy.stale_wait,
        )

    def _is_down(self, source: PageSource) -> bool:
        return not self.policy.offline and self.upstream.is_down(source.url)

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
            self._flights.do(_question(route), asking).addErrback(lambda _: None)

    async def _fetched(
        self,
        route: PageRoute,
        sources: tuple[PageSource, ...],
        held: _Held | None,
        wait: float | None,
        asker: Asker,
    ) -> PageAnswer:
        collapsed = self._flights.running(_question(route))
        begun = self.clock.seconds()
        flight = self._flights.do(_question(route), partial(self._ask, route, sources, asker.client))
        asked = await self._within(flight, BUDGET if wait is None else wait)
        if held is None and asked.page is not None and asked.outcome is not Outcome.NEW:
            held = self._hold(route, asked.page)  # it was stored between the look and the fetch
        verdict, state = freshness.settle(held.copy if held else None, asked.outcome)
        how = Provenance(
            state,
            collapsed=collapsed,
            stored=verdict is Verdict.NEW,
            upstream_status=asked.status,
            upstream_seconds=self.clock.seconds() - begun,
            detail=asked.failure.reason if asked.failure else "",
            parent=asked.parent,
        )
        if verdict is Verdict.ABSENT:
            raise _absence(route, how)
        if verdict is Verdict.NEW and asked.page is not None:
            return await self._serve(route, self._hold(route, asked.page), how)
        if verdict is Verdict.COPY and held is not None:
            page = asked.page if asked.outcome is Outcome.NOT_MODIFIED and asked.page else held.page
            return await self._serve(route, self._hold(route, page), how)
        raise _unavailable(route, asked, how)

    async def _within(self, flight: Deferred[Asked], seconds: float) -> Asked:
        """The flight's result, or LATE; the flight goes on without this waiter then."""
        flight.addTimeout(seconds, self.clock)
        try:
            return await flight
        except defer.TimeoutError:
            return Asked(Outcome.LATE)

    async def _ask(self, route: PageRoute, sources: tuple[PageSource, ...], client: str) -> Asked:
        """Ask the sources in order until one has the page or fails: down is not absent."""
        asked = Asked(Outcome.ABSENT)
        for source in sources:
            copy = await self._stored(source)
            asked = await self.refresher.ask(route, source, copy, client)
            if asked.page is not None:
                await self._owners.note(route, source)
            if asked.outcome is not Outcome.ABSENT:
                break
        self._note_absence(route, sources, asked)
        return asked

    def _note_absence(self, route: PageRoute, sources: tuple[PageSource, ...], asked: Asked) -> None:
        if asked.outcome is not Outcome.ABSENT:
            self._absent.discard(_question(route))
            return
        ttl = min(source.not_found_ttl for source in sources)
        self._absent.add(_question(route), self.clock.seconds() + ttl)
        if len(sources) < len(route.sources) and route.follows is None:
            self.observer(OwnerAbsent(route.name, sources[0].index))

    # -- serving -------------------------------------------------------------------------------------------------

    def _hold(self, route: PageRoute, page: StoredPage) -> _Held:
        source = next(source for source in route.sources if source.key == page.meta.key)
        return _Held(source, page, self._copy_of(source, page))

    async def _serve(self, route: PageRoute, held: _Held, how: Provenance) -> PageAnswer:
        how = evolve(how, ttl=held.copy.ttl_left)
        if not self.policy.offline:
            return PageAnswer(held.page, how)
        return await restricted(route, held.page, how, self.store.pages, self.store.files, self.workers)


def _fits(page: StoredPage, source: PageSource) -> bool:
    """Whether a page that is stored for the URL is the source's own.

    What it said of files was recorded for the index that it was stored for, and its links lead where that one's did:
    neither is right any more when an index was renamed, or is no longer the default.
    """
    return page.meta.index == source.index and page.meta.layout == source.layout


def _question(route: PageRoute) -> str:
    """What a fetch and an absence are about: the page as these very sources have it, in this order."""
    return " ".join((route.key, *(f"{source.index} {source.key}" for source in route.sources)))


def _absence(route: PageRoute, how: Provenance) -> Absent:
    return Absent(f"{route.name or route.key}: upstream does not have it", provenance=how)


def _unavailable(route: PageRoute, asked: Asked, how: Provenance) -> Unavailable:
    what = route.name or route.key
    if asked.failure is None:
        return Unavailable(f"{what}: upstream did not answer in time", provenance=how)
    problem = f"{what}: upstream failed: {asked.failure.reason}"
    return Unavailable(problem, retry_after=asked.failure.retry_in, provenance=how)
