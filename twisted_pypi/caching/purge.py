"""Purging by name: pages expire (they stay for a stale answer), files are deleted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from attrs import define

from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.offline import files_named
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Mount, Store, Workers
from twisted_pypi.model import PageRoute


@define
class Purger:
    """Purges what the mounts know under a name.

    `settled` waits until the file of a key is recorded, if clients have it whole already: it would come back otherwise.
    """

    mounts: tuple[Mount, ...]
    pages: CachedPages
    knowledge: Knowledge
    store: Store
    workers: Workers
    settled: Callable[[str], Awaitable[None]]

    async def purge(self, name: str, files: bool) -> int:
        """Expire the pages of `name` ("list": the project list), with `files` delete the files that they name.

        How many entries that were. A name that no mount can know counts none.
        """
        count = 0
        counted: set[str] = set()
        for route in self._routes(name):
            if files:
                count += await self._delete_files(route)
            expired = await self.pages.expire(route)
            keys = {source.key for source in route.sources}
            # A mount of one index shows again what another one shows.
            count += 0 if keys <= counted else expired
            counted |= keys
        return count

    def _routes(self, name: str) -> Iterable[PageRoute]:
        for mount in self.mounts:
            try:
                yield from mount.pages_of(name)
            except CacheError:
                continue

    async def _delete_files(self, route: PageRoute) -> int:
        count = 0
        for source in route.sources:
            page = await self.store.pages.get(source.key)
            if page is None:
                continue
            named = await files_named(route, page, self.store.pages, self.workers)
            named += [f"{key}.metadata" for key in named]
            for key in named:
                await self.settled(key)
            await self.knowledge.forget(source.index, named)
            held = await self.store.files.held(named)
            for key in held:
                await self.store.files.delete(key)
            count += len(held)
        return count
