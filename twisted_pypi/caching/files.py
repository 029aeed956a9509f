"""Files: large, immutable, verified; fetched once for all who ask, then served from the store for good.

One request: the store → a transfer under way → what is known of the file → a small range passed through, or a new
transfer that everybody shares.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Asker, CacheState, FileAnswer, Provenance, Still
from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.direct import Direct
from twisted_pypi.caching.knowledge import Ground, Knowledge, Known, agrees
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.opened import Opened
from twisted_pypi.caching.pages import BUDGET
from twisted_pypi.caching.plausible import undisputed
from twisted_pypi.caching.settling import settle
from twisted_pypi.caching.supplying import Supplier
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.errors import Absent, CacheError, Unavailable, UpstreamFailed
from twisted_pypi.events import Decided
from twisted_pypi.fetching.integrity import HOLD_BACK
from twisted_pypi.interfaces import FileStore, Observer
from twisted_pypi.model import FileRoute
from twisted_pypi.records import StoredFile

T = TypeVar("T")
A = TypeVar("A", FileAnswer, FileAnswer | None)


def _nothing(key: str) -> bool:
    return False


@define
class CachedFiles:
    """`interfaces.Files` over a store and an upstream.

    `not_found_ttl` in seconds; `spoiled` tells of a file's key whether wrong bytes of it went out (`spoiled.Spoiled`).
    """

    store: FileStore
    knowledge: Knowledge
    transfers: Transfers
    companions: Companions
    supplier: Supplier
    observer: Observer
    clock: IReactorTime
    offline: bool = False
    not_found_ttl: float = 60.0
    spoiled: Callable[[str], bool] = _nothing
    _absent: Expiring = field(factory=Expiring, init=False)
    _direct: Direct = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.transfers.published = self._published
        self._direct = Direct(self.transfers, self.clock)

    def ready(self, route: FileRoute, asker: Asker) -> FileAnswer | None:
        """A stored file that nothing speaks against, if memory and one look at the disk can tell: no Deferred, no SQL.

        What continues a broken download is left to `answer`.
        """
        file = None if asker.if_range else self.store.hot(route.key)
        at_hand = self.knowledge.at_hand(route) if file is not None and file.sha256 else None
        if file is None or at_hand is None:
            return None
        known, ground = at_hand
        if known.hashes and not agrees(file.digests, known.hashes):
            return None
        body = None if asker.head else self.store.hot_body(file)
        if body is None and not asker.head:
            return None
        self.observer(Decided(route.key, "serve", "stored"))
        still = Still(partial(self._still, route, file, ground), partial(self.store.seal, file))
        answer = FileAnswer(file.size, file.sha256, body, Provenance(CacheState.HIT), still=still)
        return _of(route, file.index, answer)

    def _still(self, route: FileRoute, file: StoredFile, ground: Ground) -> bool:
        same = self.store.hot(route.key) is file and self.knowledge.holds(route, ground)
        return same and self.store.unchanged(file)

    def use(self, offline: bool, not_found_ttl: float) -> None:
        """Answer so from now on. What was absent may not be so for the indexes that are asked now."""
        self.offline, self.not_found_ttl = offline, not_found_ttl
        self._absent.clear()

    async def answer(self, route: FileRoute, asker: Asker) -> FileAnswer:
        """The file. Raises `Absent`, `Forbidden` or `Unavailable`, within the client's budget."""
        if asker.if_range and self.spoiled(route.key):
            return evolve(await self._answer(route, evolve(asker, range="", if_range="")), whole=True)
        return await self._answer(route, asker)

    async def _answer(self, route: FileRoute, asker: Asker) -> FileAnswer:
        stored = await self._stored(route, asker)
        if stored is not None:
            return stored
        if self.offline:
            return await self._offline(route, asker)
        return await self._within_budget(route, self._missing(route, asker))

    async def stop(self) -> None:
        """Break off the transfers under way."""
        self.supplier.stop()
        await self.transfers.stop()

    async def _published(self, route: FileRoute, known: Known, file: StoredFile) -> None:
        if not file.verified:
            await self.knowledge.remember(file)
        await self.supplier.published(route, known, file)

    # -- at rest -------------------------------------------------------------------------------------------------

    async def _stored(self, route: FileRoute, asker: Asker) -> FileAnswer | None:
        file = self.store.hot(route.key) or await self.store.get(route.key)
        if file is not None:
            file = await self._agreed(route, file, asker)
        if file is None:
            return None
        self.observer(Decided(route.key, "serve", "stored"))
        return _of(route, file.index, await self._at_rest(file, asker, CacheState.HIT))

    async def _agreed(self, route: FileRoute, file: StoredFile, asker: Asker) -> StoredFile | None:
        """The file, unless its index's page has come to announce another one, or it isn't for this route.

        No other index's page can have it dropped. Raises `Unavailable` where that page announces another file.
        """
        if not file.sha256:
            return await self._confirmed(route, file, asker)
        try:
            known = await self.knowledge.recorded(route)
        except CacheError:  # the catalogue is out of order: nothing speaks against the file
            if route.alone and not route.open:  # but nothing for it either
                raise
            return file
        if not self.knowledge.allows(route, known):
            return None
        verdict = agrees(file.digests, known.hashes)
        if verdict or not known.hashes:
            return file
        if self.knowledge.overrules(route, known.index, file.index):
            return await self.store.confirm(file, known.hashes)
        if verdict is None:
            return file
        raise Unavailable(f"{route.name}: {known.index} announces another file at this address than {file.index}")

    async def _confirmed(self, route: FileRoute, file: StoredFile, asker: Asker) -> StoredFile | None:
        """A file that was found on disk counts only once a digest from a page or its path confirmed it."""
        known = await self.knowledge.of(route, asker.client)
        return await self.store.confirm(file, known.hashes) if known.hashes else None

    async def _at_rest(self, file: StoredFile, asker: Asker, state: CacheState) -> FileAnswer | None:
        how = Provenance(state)
        if asker.head:
            return FileAnswer(file.size, file.sha256, None, how)
        try:
            return FileAnswer(file.size, file.sha256, await self.store.open(file), how)
        except LookupError:
            return None

    # -- missing -------------------------------------------------------------------------------------------------

    async def _within_budget(self, route: FileRoute, work: Coroutine[Any, Any, T]) -> T:
        """`work`'s result, or `Unavailable` when the first byte takes too long; shared fetches go on then."""
        begun = self.clock.seconds()
        task = Deferred.fromCoroutine(work)
        task.addTimeout(BUDGET, self.clock)
        try:
            return await task
        except (defer.TimeoutError, Absent, Unavailable, UpstreamFailed) as error:
            raise _told(route, error, self.clock.seconds() - begun) from error

    async def _offline(self, route: FileRoute, asker: Asker) -> FileAnswer:
        made = await self.companions.make(route, await self.knowledge.recorded(route), asker)
        if made is None:
            how = Provenance(CacheState.MISS, detail="offline")
            raise Unavailable(f"{route.name}: offline, and not in the cache", retry_after=None, provenance=how)
        return made

    async def _missing(self, route: FileRoute, asker: Asker) -> FileAnswer:
        known = await self.knowledge.of(route, asker.client)
        return _of(route, known.index, await self._had(route, known, asker))

    async def _had(self, route: FileRoute, known: Known, asker: Asker) -> FileAnswer:
        left = self._absent.left(route.key, self.clock.seconds())
        if left and not known.named:  # a page may have come to list it
            raise Absent(f"{route.name}: upstream has no such file", provenance=Provenance(CacheState.HIT, ttl=left))
        try:
            if route.companion_of and known.hashes and (made := await self.companions.make(route, known, asker)):
                return made  # it was checked, and nobody needs to wait for upstream
            if route.companion_of and known.hashes and (made := await self.supplier.make(route, known, asker)):
                return made
            if asker.head:
                return await self._direct.head(route.key, known, asker.client)
            passed = await self._direct.part(route.key, known, asker)
            if passed is not None:
                self.supplier.notice(route, known, asker.client)
                return passed
            return await self._transferred(route, known, asker)
        except (Absent, UpstreamFailed) as error:
            return await self._made(route, known, asker, error)

    async def _transferred(self, route: FileRoute, known: Known, asker: Asker) -> FileAnswer:
        """The body of the one transfer that all who ask share."""
        begun = self.clock.seconds()
        # It may have been published while the page was read; then no transfer is under way any more.
        stored = await self._stored(route, asker)
        if stored is not None:
            return stored
        running = self.transfers.running(route.key)
        collapsed = True
        if running is None:
            opening, collapsed = self.transfers.open(route, known, asker.client)
            running = await opening
        self.observer(Decided(route.key, "fetch", "joined a transfer" if collapsed else "not stored"))
        return await self._follow(route, known, asker, running, collapsed, begun)

    async def _follow(
        self, route: FileRoute, known: Known, asker: Asker, opened: Opened, collapsed: bool, begun: float
    ) -> FileAnswer:
        seconds, parent = self.clock.seconds() - begun, opened.fetched.headers.get("cache-status", "")
        joined = opened.transfer.join() if opened.transfer is not None else None
        told = opened.fetched.body.length if opened.fetched.status == 200 else None
        lengths = [length for length in (opened.length, told, known.size) if length is not None]
        held_back = bool(lengths) and min(lengths) <= HOLD_BACK
        if joined is not None:
            if held_back or route.companion_of:
                await settle(joined, self.clock)
            how = Provenance(
                CacheState.MISS,
                collapsed=collapsed,
                stored=True,
                upstream_status=opened.fetched.status,
                upstream_seconds=seconds,
                parent=parent,
            )
            length = joined.length if joined.finished else opened.length
            return FileAnswer(length, opened.sha256, joined, how)
        if opened.transfer is not None and opened.transfer.unstored is None:
            # All its bytes are here, but it is no more growing and not yet recorded.
            await self.transfers.ended(route.key)
            return await self._transferred(route, known, asker)
        relay = opened.claim()
        if relay is None:
            fetched = await self.transfers.fetch(known, asker.client)
            relay = self.transfers.relay(fetched, known, asker.client)
        if held_back:
            await settle(relay, self.clock)
        status = opened.fetched.status
        how = Provenance(CacheState.MISS, upstream_status=status, upstream_seconds=seconds, parent=parent)
        return FileAnswer(undisputed(relay.length, known), opened.sha256, relay, how)

    async def _made(self, route: FileRoute, known: Known, asker: Asker, error: Absent | UpstreamFailed) -> FileAnswer:
        """What upstream announced but doesn't deliver, made from the file that it accompanies; else the failure.

        Installers give up then, so the page is not to announce it again; an origin that is down says nothing about it.
        """
        made = await self.companions.make(route, known, asker)
        if made is not None:
            return made
        if isinstance(error, Absent) and not known.named:
            self._absent.add(route.key, self.clock.seconds() + self.not_found_ttl)
        promised = route.companion_of and known.named and known.announced
        if promised and not (isinstance(error, UpstreamFailed) and error.unreachable and error.status is None):
            await self.knowledge.withhold(route, known)
        if promised and isinstance(error, Absent):
            raise Unavailable(f"{route.name}: announced, but upstream does not have it") from error
        raise error


def _of(route: FileRoute, index: str, answer: A) -> A:
    """The answer, with the index's name where clients are told that."""
    if answer is None or not route.tells_index or answer.provenance.index:
        return answer
    return evolve(answer, provenance=evolve(answer.provenance, index=index))


def _told(route: FileRoute, error: Exception, seconds: float) -> CacheError:
    """What a client is told that waited so many seconds for nothing."""
    how = Provenance(CacheState.MISS, upstream_seconds=seconds)
    if isinstance(error, CacheError):
        return evolve(error, provenance=error.provenance or how)
    if not isinstance(error, UpstreamFailed):
        return Unavailable(f"{route.name}: upstream did not answer in time", provenance=how)
    how = evolve(how, upstream_status=error.status, detail=error.reason)
    return Unavailable(f"{route.name}: upstream failed: {error.reason}", retry_after=error.retry_in, provenance=how)
