"""Pages: small, mutable, revalidated; one shared fetch for all who ask, stale copies when upstream can't answer.

One request: what is stored (`_held`) → `freshness.plan` → serve, or wait for the shared fetch → `freshness.settle`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import Factory, define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Asker, ByteSource, CacheState, PageAnswer, Provenance, Still
from twisted_pypi.caching import wording
from twisted_pypi.caching.asking import Asking
from twisted_pypi.caching.copies import Copies, Held
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.offline import restricted
from twisted_pypi.caching.owners import Owners
from twisted_pypi.caching.refresh import Asked, Refresher
from twisted_pypi.caching.unions import Unions
from twisted_pypi.events import Decided
from twisted_pypi.http import freshness
from twisted_pypi.http.freshness import Circumstances, Outcome, Step, Verdict
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
    _insisted: Expiring = field(factory=Expiring, init=False)
    _owners: Owners = field(init=False)
    _unions: Unions = field(init=False)
    _copies: Copies = field(init=False)
    _asking: Asking = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._owners = Owners(self.store.facts)
        self._copies = Copies(self.store.pages, self.now, self.policy.max_stale)
        self._asking = Asking(self._copies, self.refresher, self._owners, self.observer, self.clock, self._may_ask)
        self._unions = Unions(self.store.pages, self.workers, self.clock, self.answer, BUDGET, self.policy.stale_wait)

    def use(self, policy: PagePolicy) -> None:
        """Keep pages so from now on. What was absent may not be so for the indexes that are asked now."""
        self.policy = policy
        self._copies.max_stale = policy.max_stale
        self._unions.use(policy.stale_wait)
        self.forget_absences()

    def forget_absences(self) -> None:
        """Something was published: what was absent may not be so any more."""
        self._asking.forget_absences()

    # -- what `web` calls ----------------------------------------------------------------------------------------

    def ready(self, route: PageRoute, asker: Asker) -> PageAnswer | None:
        """A fresh page that is in memory. No Deferred, no thread, no SQL."""
        if asker.no_cache or self.policy.offline or route.follows is not None:
            return None
        if route.parts:
            return self._unions.ready(route, [self.ready(part, asker) for part in route.parts])
        source = self._owners.only(route)
        page = self._copies.hot(source) if source is not None else None
        if source is None or page is None:
            return None
        left = self._copies.freshness(source, page).ttl_left
        if left <= 0:
            return None
        still = Still(partial(self._still, route, source, page), partial(self.store.pages.seal, page))
        return PageAnswer(page, wording.told(route, source.index, CacheState.HIT, ttl=left), still=still)

    def _still(self, route: PageRoute, source: PageSource, page: StoredPage) -> bool:
        same = self.store.pages.hot(source.key) is page and self._owners.only(route) is source
        return same and self._copies.freshness(source, page).fresh

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

    async def expire(self, route: PageRoute, index: str | None = None) -> int:
        """Make the stored pages stale (how many), and forget who owns the name and that it was absent.

        With `index` this index's pages alone, and what it owns.
        """
        if route.parts:
            self._unions.forget_failures()
            return sum([await self.expire(part, index) for part in route.parts])
        self._asking.forget_absence(route)
        await self._owners.forget(route, index)
        wanted = (source for source in route.sources if index in (None, source.index))
        return sum([await self.expire_stored(source.key, source.ttl) for source in wanted])

    async def expire_stored(self, key: str, ttl: float) -> bool:
        """Make the page with this key, which is fresh for `ttl` seconds, stale; whether there is one."""
        page = await self.store.pages.get(key)
        if page is None:
            return False
        await self._copies.make_stale(page, ttl)
        await self.refresher.announce_all(key)
        return True

    async def withhold(self, route: PageRoute, index: str, key: str) -> None:
        """Have the index's page no longer announce the companion of this file: it can't be had."""
        source = next((source for source in route.sources if source.index == index), None)
        if source is not None and await self.refresher.withhold(source.key, key):
            sources = await self._owners.candidates(route)
            self._asking.ask_behind(route, sources, "")

    async def renew(self, route: PageRoute, client: str) -> None:
        """See `interfaces.Pages`."""
        if not self.policy.offline:
            await self._asking.ask(route, route.sources, client, BUDGET, anew=True)

    def stop(self) -> None:
        """Give up the fetches under way."""
        self._asking.stop()
        self._unions.stop()

    # -- what is stored ------------------------------------------------------------------------------------------

    def _refuse_absent(self, route: PageRoute, asker: Asker) -> None:
        left = self._asking.absent_for(route)
        if left and not asker.no_cache and not self.policy.offline:
            self.observer(Decided(route.key, "absent", "upstream said so a moment ago"))
            raise wording.absence(route, Provenance(CacheState.HIT, ttl=left))

    async def _held(self, route: PageRoute, sources: tuple[PageSource, ...]) -> Held | None:
        """The copy to go by. While nobody owns the name, that of the first index alone, for it has to be asked first.

        The others' may be there all the same: they are shown alone below their own names. Offline there is no asking.
        """
        for source in sources if self.policy.offline else sources[:1]:
            page = await self._copies.get(source)
            if page is not None:
                if source is sources[0]:
                    await self._owners.note(route, source)
                return self._copies.hold(source, page)
        return None

    def _circumstances(self, route: PageRoute, held: Held | None, asker: Asker, offline: bool) -> Circumstances:
        insist = asker.no_cache and held is not None and self._may_insist(route)
        expired = held is not None and (insist or not held.copy.fresh)
        refreshing = self._asking.running(route)
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

    def _probe(self, route: PageRoute, sources: tuple[PageSource, ...], held: Held, asker: Asker) -> None:
        """Behind a stale answer, now and then, see whether an upstream that is down is back."""
        if not (held.copy.fresh or self.policy.offline) and self.upstream.may_probe(held.source.url):
            self._asking.ask_behind(route, sources, asker.client)

    async def _fetched(
        self,
        route: PageRoute,
        sources: tuple[PageSource, ...],
        held: Held | None,
        wait: float | None,
        asker: Asker,
    ) -> PageAnswer:
        collapsed = self._asking.running(route)
        begun = self.clock.seconds()
        if held is None and len(sources) > 1:
            asked, held = await self._first_asked(route, sources, asker)
        else:
            asked = await self._asking.ask(route, sources, asker.client, BUDGET if wait is None else wait)
        if held is None and asked.page is not None and asked.outcome is not Outcome.NEW:
            held = self._copies.hold_for(route, asked.page)  # it was stored between the look and the fetch
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
            return await self._serve(route, self._copies.hold_for(route, asked.page), how)
        if verdict is Verdict.COPY and held is not None:
            page = asked.page if asked.outcome is Outcome.NOT_MODIFIED and asked.page else held.page
            return await self._serve(route, self._copies.hold_for(route, page), how)
        if self.policy.offline and asked.failure is None:
            raise wording.offline(route)
        raise wording.unavailable(route, asked, how)

    async def _first_asked(
        self, route: PageRoute, sources: tuple[PageSource, ...], asker: Asker
    ) -> tuple[Asked, Held | None]:
        """What the sources say while nobody owns the name, and the copy to go by, if there is one by then.

        Once those before it have said that they lack the page, what a source had does while that one is slow.
        """
        first = min(self.policy.stale_wait, BUDGET)
        asked = await self._asking.ask(route, sources, asker.client, first)
        if asked.outcome is not Outcome.LATE:
            return asked, None
        held = self._asking.at_hand(route)
        if held is not None and held.copy.usable:
            return asked, held
        return await self._asking.ask(route, sources, asker.client, BUDGET - first), None

    # -- serving -------------------------------------------------------------------------------------------------

    async def _serve(self, route: PageRoute, held: Held, how: Provenance) -> PageAnswer:
        how = evolve(how, ttl=held.copy.ttl_left, index=held.source.index if route.tells_index else "")
        if self._may_ask(held.source):
            return PageAnswer(held.page, how)
        return await restricted(route, held.page, how, self.store.pages, self.store.files, self.workers)
