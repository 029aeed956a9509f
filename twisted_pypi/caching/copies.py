"""The pages that are stored for the sources of a route, and how fresh they are."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from twisted_pypi.http.freshness import Copy
from twisted_pypi.interfaces import PageStore
from twisted_pypi.model import PageRoute, PageSource
from twisted_pypi.records import StoredPage


@frozen
class Held:
    """What is stored for a route: the source it came from, the page, and how fresh it is."""

    source: PageSource
    page: StoredPage
    copy: Copy


@define
class Copies:
    """A store's pages by source. `now` is the time of day, `max_stale` the seconds that a stale one may be served."""

    store: PageStore
    now: Callable[[], float]
    max_stale: float | None

    def hot(self, source: PageSource) -> StoredPage | None:
        """The source's page, if that can be told in memory alone."""
        page = self.store.hot(source.key)
        return page if page is not None and _fits(page, source) else None

    async def get(self, source: PageSource) -> StoredPage | None:
        """The source's page, or None."""
        page = await self.store.get(source.key)
        return page if page is not None and _fits(page, source) else None

    def freshness(self, source: PageSource, page: StoredPage) -> Copy:
        """How fresh the source's page is now."""
        return Copy(self.now() - page.validated_at, source.ttl, self.max_stale)

    def hold(self, source: PageSource, page: StoredPage) -> Held:
        """The source's page, and how fresh it is now."""
        return Held(source, page, self.freshness(source, page))

    def hold_for(self, route: PageRoute, page: StoredPage) -> Held:
        """The page, with the one of the route's sources that it was stored for, and how fresh it is now."""
        return self.hold(next(source for source in route.sources if source.key == page.meta.key), page)

    async def make_stale(self, page: StoredPage, ttl: float) -> None:
        """Have a page that is fresh for `ttl` seconds expire now."""
        # Just stale, by the second that file times and sums may be off: --max-stale counts from here.
        just_stale = self.now() - ttl - 1
        await self.store.expire(page.meta.key, min(page.validated_at, just_stale))


def _fits(page: StoredPage, source: PageSource) -> bool:
    """Whether a page that is stored for the URL is the source's own.

    What it said of files was recorded for the index that it was stored for, and its links lead where that one's did:
    neither is right any more when an index was renamed, or is no longer the default.
    """
    return page.meta.index == source.index and page.meta.layout == source.layout
