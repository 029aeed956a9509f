"""Purging by name or pattern: pages expire (they stay for a stale answer), files are deleted.

A few names at a time: whatever the pattern, no more than that and a batch of their entries is in memory, and others
have their turn in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from attrs import define
from twisted.internet.defer import Deferred, FirstError, gatherResults

from twisted_pypi.caching.inventory import pages_of
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.offline import files_named
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.errors import Unavailable
from twisted_pypi.interfaces import Listing, Mount, Store, Workers
from twisted_pypi.interfaces.listing import MOST, Listed, Wanted
from twisted_pypi.interfaces.purging import Purge, Purged
from twisted_pypi.model import PageRoute, PageSource

BATCH = 8
"""Names that are purged at the same time: most of it is waiting for one thread or another."""

_FILE, _PAGE = "file", "page"


@define
class CachePurger:
    """`interfaces.purging.Purger` of what the mount knows under a name, and what is stored under it.

    `settled` waits until the file of a key is recorded, if clients have it whole already: it would come back otherwise.
    """

    mount: Mount
    pages: CachedPages
    knowledge: Knowledge
    store: Store
    listing: Listing
    workers: Workers
    settled: Callable[[str], Awaitable[None]]

    async def purge(self, wanted: Purge, done: Purged) -> None:
        """See `interfaces.purging.Purger`. A name unknown to the mount, of which nothing is stored, counts none."""
        if "*" not in wanted.name:
            await self._count_name(wanted.name, wanted, done)
            return
        last = ""
        while names := await self.listing.names_after(last, Wanted(wanted.name, index=wanted.index, limit=BATCH)):
            work = [Deferred.fromCoroutine(self._count_name(name, wanted, done)) for name in names]
            try:
                await gatherResults(work, consumeErrors=True)
            except FirstError as error:
                error.subFailure.raiseException()
            last = names[-1]
        if wanted.name.strip("*") == "":
            await self._count_name("", wanted, done)  # what has no name

    async def _count_name(self, name: str, wanted: Purge, done: Purged) -> None:
        of_name = Purged()
        try:
            await self._purge_name(name, wanted, of_name)
        finally:
            done.add(of_name)

    async def _purge_name(self, name: str, wanted: Purge, done: Purged) -> None:
        routes = pages_of(self.mount, name)
        counted: set[str] = set()
        for route in routes:
            if wanted.files:
                await self._delete_named(route, wanted.index, done)
            expired = await self.pages.expire(route, wanted.index)
            keys = {source.key for source in _of_index(route, wanted.index)}
            # A mount of one index shows again what another one shows.
            done.pages += 0 if keys <= counted else expired
            counted |= keys
        # As it is stored: the mount knows a name in any spelling.
        for stored in {route.name or name for route in routes} or {name}:
            # What the routes tell needs no catalogue, which may be lost at the moment.
            with suppress(*([Unavailable] if done.entries else [])):
                await self._expire_others(stored, wanted.index, routes, counted, done)
                if wanted.files:
                    await self._delete_stored(stored, wanted.index, done)
                elif not done.entries:
                    done.kept = done.kept or len(await self._stored(stored, _FILE, wanted.index, 0, 1))

    async def _expire_others(
        self, name: str, index: str | None, routes: Iterable[PageRoute], known: set[str], done: Purged
    ) -> None:
        """Pages beside those of the routes: of one version, or of one file."""
        ttls = {source.index: source.ttl for route in routes for source in route.sources}
        skip, more = 0, True
        while more:
            rows = await self._stored(name, _PAGE, index, skip)
            for row in rows:
                if row.key not in known:
                    done.pages += await self.pages.expire_stored(row.key, ttls.get(row.index, 0.0))
            skip, more = skip + len(rows), len(rows) == MOST

    async def _delete_named(self, route: PageRoute, index: str | None, done: Purged) -> None:
        """The files that stored pages name, those that are just being recorded among them."""
        for source in _of_index(route, index):
            page = await self.store.pages.get(source.key)
            if page is None:
                continue
            named = await files_named(route, page, self.store.pages, self.workers)
            named += [f"{key}.metadata" for key in named]
            await self._delete(source.index, named, done)

    async def _delete_stored(self, name: str, index: str | None, done: Purged) -> None:
        """What is stored under the name beside that: files of pages that have gone."""
        skip, more = 0, True
        while more:
            rows, before = await self._stored(name, _FILE, index, skip), done.files
            for each in {row.index for row in rows}:
                await self._delete(each, [row.key for row in rows if row.index == each], done)
            skip, more = skip + len(rows) - (done.files - before), len(rows) == MOST

    async def _stored(self, name: str, kind: str, index: str | None, skip: int, most: int = MOST) -> list[Listed]:
        return (await self.listing.entries(Wanted(name, kind, index, limit=most, skip=skip, exact=True)))[1]

    async def _delete(self, index: str, keys: list[str], done: Purged) -> None:
        for key in keys:
            await self.settled(key)
        await self.knowledge.forget(index, keys)
        dropped = await self.store.files.drop(keys)
        done.files += len(dropped)
        done.size += sum(dropped.values())


def _of_index(route: PageRoute, index: str | None) -> tuple[PageSource, ...]:
    return tuple(source for source in route.sources if index in (None, source.index))
