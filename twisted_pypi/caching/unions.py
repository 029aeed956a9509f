"""The union of several pages, each of which is fetched, kept and revalidated on its own.

Laws: it is made anew when a part has changed, and then once for all who wait; a part that is stale serves as it is; one
that can't be had is left out, which `Cache-Status` says, and is asked for again after `PATIENCE`; only the last one
(the default index) is waited for when it is slow, since a list without it is of little use; while a new one is made the
old one serves.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, BinaryIO

from attrs import define, evolve, field
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from twisted_pypi.answers import Asker, CacheState, PageAnswer, Provenance
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.streams import stream_of
from twisted_pypi.errors import Absent, CacheError, Unavailable
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.interfaces import PageStore, Workers
from twisted_pypi.model import PageRoute
from twisted_pypi.records import PageMeta, StoredPage

PATIENCE = 30.0
"""Seconds after which a part that could not be had is asked for again."""

_STATES = (
    CacheState.HIT,
    CacheState.REVALIDATED,
    CacheState.EXPIRED,
    CacheState.MISS,
    CacheState.UPDATING,
    CacheState.STALE,
)

Part = PageAnswer | CacheError


@define
class Unions:
    """Answers routes with `parts`. `ask` answers one part.

    In seconds, `budget` is for the whole, and `stale_wait` for making it where there is an old one.
    """

    store: PageStore
    workers: Workers
    clock: IReactorTime
    ask: Callable[[PageRoute, Asker], Awaitable[PageAnswer]]
    budget: float
    stale_wait: float
    _making: Singleflight[StoredPage] = field(factory=Singleflight, init=False)
    _failed: Expiring = field(factory=Expiring, init=False)

    def ready(self, route: PageRoute, parts: Sequence[PageAnswer | None]) -> PageAnswer | None:
        """The union of parts that are fresh and in memory, if it is so too."""
        found = [part for part in parts if part is not None]
        page = self.store.hot(route.key) if len(found) == len(route.parts) else None
        if page is None or page.meta.etag != _identity(route, found):
            return None
        return PageAnswer(page, self._provenance(route, found))

    async def answer(self, route: PageRoute, asker: Asker) -> PageAnswer:
        """The union of what can be had. Raises `Absent` or `Unavailable` when that is nothing, or takes too long."""
        begun = self.clock.seconds()
        parts = await self._parts(route, asker)
        found = [part for part in parts if isinstance(part, PageAnswer)]
        if not found or (isinstance(parts[-1], Unavailable) and parts[-1].late):
            raise _failure(parts)
        identity = _identity(route, found)
        page = await self.store.get(route.key)
        if page is not None and page.meta.etag == identity:
            return PageAnswer(page, self._provenance(route, parts))
        making = self._making.do(identity, partial(self._make, route, found, identity))
        old = page if page is not None and page.meta.etag.startswith(_recipe(route)) else None
        left = max(1.0, self.budget - (self.clock.seconds() - begun)) if old is None else self.stale_wait
        making.addTimeout(left, self.clock)
        try:
            return PageAnswer(await making, self._provenance(route, parts))
        except (defer.TimeoutError, LookupError) as error:
            if old is None:
                raise Unavailable("the project list is being made", provenance=Provenance(CacheState.MISS)) from error
            return PageAnswer(old, evolve(self._provenance(route, parts), state=CacheState.UPDATING, ttl=0.0))

    def forget_failures(self) -> None:
        """Ask for all parts again."""
        self._failed.clear()

    def use(self, stale_wait: float) -> None:
        """Wait so long from now on. What failed may not do so with the indexes that are asked now."""
        self.stale_wait = stale_wait
        self.forget_failures()

    def stop(self) -> None:
        """Give up what is being made."""
        self._making.cancel_all()

    async def _parts(self, route: PageRoute, asker: Asker) -> list[Part]:
        asking = [Deferred.fromCoroutine(self._part(part, asker)) for part in route.parts]
        results: list[Any] = await DeferredList(asking, consumeErrors=True)
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()
        return [result for _, result in results]

    async def _part(self, part: PageRoute, asker: Asker) -> Part:
        index, now = part.sources[0].index, self.clock.seconds()
        if self._failed.left(index, now) and not asker.no_cache:
            return Unavailable("failed a moment ago")
        try:
            return await self.ask(part, asker)
        except CacheError as error:
            if isinstance(error, Unavailable) and not error.late:
                self._failed.add(index, self.clock.seconds() + PATIENCE)
            return error

    async def _make(self, route: PageRoute, found: Sequence[PageAnswer], identity: str) -> StoredPage:
        """Raises `LookupError` when a part was replaced meanwhile."""
        assert route.merge is not None
        meta = PageMeta(route.key, "", route.key, etag=identity, fetched_at=self.clock.seconds())
        with ExitStack() as stack:
            streams = {part.page.meta.index: await self._stream(route, part.page, stack) for part in found}
            document = await self.workers.run(route.merge, streams)
            return await self.store.put(meta, document, route.bodies, route.templates)

    async def _stream(self, route: PageRoute, page: StoredPage, stack: ExitStack) -> BinaryIO:
        body = await self.store.body(page, page.representations[route.bodies[0], "identity"])
        if isinstance(body, bytes):
            return io.BytesIO(body)
        stack.callback(body.close)
        return stream_of(body)

    def _provenance(self, route: PageRoute, parts: Sequence[Part]) -> Provenance:
        """How the whole came about: as the part that did worst."""
        now = self.clock.seconds()
        found = [part.provenance for part in parts if isinstance(part, PageAnswer)]
        state = max((part.state for part in found), key=_STATES.index)
        ttl = min(part.ttl or 0.0 for part in found)
        for part, answer in zip(route.parts, parts, strict=True):
            if isinstance(answer, Unavailable):
                ttl = min(ttl, self._failed.left(part.sources[0].index, now))
        return evolve(
            Provenance(state, ttl),
            collapsed=any(part.collapsed for part in found),
            stored=any(part.stored for part in found),
            upstream_seconds=max((part.upstream_seconds for part in found if part.upstream_seconds), default=None),
            detail=", ".join(
                f"without {part.sources[0].index}"
                for part, answer in zip(route.parts, parts, strict=True)
                if isinstance(answer, CacheError)
            ),
        )


def _identity(route: PageRoute, found: Sequence[PageAnswer]) -> str:
    """What the union is made of, beginning with how."""
    bodies = [(part.page.meta.index, part.page.representations[route.bodies[0], "identity"].digest) for part in found]
    return _recipe(route) + hashlib.sha256(repr(bodies).encode()).hexdigest()


def _recipe(route: PageRoute) -> str:
    return f"{hashlib.sha256(route.recipe.encode()).hexdigest()[:16]}-"


def _failure(parts: Sequence[Part]) -> CacheError:
    """Why there is nothing: an index that is down may have had something."""
    failures = [part for part in reversed(parts) if isinstance(part, CacheError)]
    return next((failure for failure in failures if not isinstance(failure, Absent)), failures[0])
