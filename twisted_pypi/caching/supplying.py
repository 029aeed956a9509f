"""Companions for indexes that have none: made from the file itself, announced once they are known to work.

What is a good citizen's: nothing is read for a page that is merely asked for. A companion is made when its file has
been stored anyhow, or from a few pieces when a client has begun to read pieces of the file, which is what it does where
no companion is announced. Each is made once, kept as any file, and made again the same way when it was evicted.

The pieces are believed for the time being: once the whole file is here, verified, it has the last word.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_pypi.answers import Asker, FileAnswer
from twisted_pypi.caching.companion import Companions, answer_of
from twisted_pypi.caching.knowledge import Known, file_of
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.caching.pieces import PieceReader
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.errors import CacheError, UpstreamFailed
from twisted_pypi.events import IntegrityFailed
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.interfaces import Fetched, Observer, PageStore
from twisted_pypi.model import FileRoute, PageSource
from twisted_pypi.records import StoredFile
from twisted_pypi.urls import without_secrets

log = Logger()

GIVEN_UP = 3600.0
"""Seconds for which no pieces are read of a file from which no companion could be made."""


@define
class Supplier:
    """Makes companions and has pages announce them."""

    supplied: Supplied
    companions: Companions
    transfers: Transfers
    pages: PageStore
    observer: Observer
    clock: IReactorTime
    _flights: Singleflight[None] = field(factory=Singleflight, init=False)
    _given_up: Expiring = field(factory=Expiring, init=False)

    def notice(self, route: FileRoute, known: Known, client: str) -> None:
        """A client reads pieces of this file: spare the next one that. Returns at once."""
        if self._lacks(route, known) and not self._given_up.left(route.key, self.clock.seconds()):
            self._flights.do(route.key, partial(self._learn, route, known, client)).addErrback(lambda _: None)

    async def published(self, route: FileRoute, known: Known, file: StoredFile) -> None:
        """The whole file is here: its companion is made of it, or what was made of pieces is confirmed by it."""
        source = _source(route, known)
        if source is None or route.companion is None:
            return
        try:
            before = (await self.supplied.of(source)).get(route.key)
            if before is None and not self._lacks(route, known):
                return
            companion = route.companion()
            body = await self.companions.derived(companion, file)
            sha256 = hashlib.sha256(body).hexdigest() if body is not None else ""
            if before is not None and before != sha256:
                await self._withdraw(companion, source, route.key, before, sha256)
            if body is not None and before != sha256:
                await self._announce(companion, source, known, body)
        except CacheError:  # the catalogue is out of order: another time
            pass
        except Exception:
            log.failure("companion of {key}", key=route.key)

    async def make(self, route: FileRoute, known: Known, asker: Asker) -> FileAnswer | None:
        """A companion that we announced and that isn't at hand any more; None for any other.

        Raises `Absent` and `UpstreamFailed`, as its file's fetch does.
        """
        source = _source(route, known)
        if source is None or route.companion_of is None:
            return None
        sha256 = (await self.supplied.of(source)).get(route.companion_of)
        if sha256 is None or known.sha256 != sha256:
            return None
        body = await self._read(route, file_of(known), asker.client, verifiable=True)
        if body is None or hashlib.sha256(body).hexdigest() != sha256:
            return None
        await self.companions.keep(route, known, body)
        return answer_of(body, asker)

    def stop(self) -> None:
        """Give up what is being read."""
        self._flights.cancel_all()

    def _lacks(self, route: FileRoute, known: Known) -> bool:
        """Whether a companion of this file is to be made: its index's page names it and announces none."""
        return bool(route.companion and known.named and not known.accompanied and known.index in self.supplied.wanted)

    async def _learn(self, route: FileRoute, known: Known, client: str) -> None:
        source = _source(route, known)
        if source is None or route.companion is None or route.key in await self.supplied.of(source):
            return
        companion = route.companion()
        try:
            body = await self._read(companion, known, client)
        except (CacheError, UpstreamFailed):
            body = None
        if body is None:
            self._given_up.add(route.key, self.clock.seconds() + GIVEN_UP)
        else:
            await self._announce(companion, source, known, body)

    async def _read(self, companion: FileRoute, known: Known, client: str, *, verifiable: bool = False) -> bytes | None:
        """The companion, from pieces of the file; None when upstream has no ranges, or it is nowhere in the file.

        `verifiable`: the companion's own digest is known.
        """
        if companion.derive is None:
            return None

        def fetch(range_: str) -> Awaitable[Fetched]:
            return self.transfers.fetch(known, client, range_=range_, verifiable=verifiable)

        reader = PieceReader(fetch, self.companions.workers, companion.derive, known.size)
        try:
            return await reader.read()
        except (ValueError, OSError):
            return None

    async def _announce(self, companion: FileRoute, source: PageSource, known: Known, body: bytes) -> None:
        """Keep it first: what is announced can be had then. The page says so once it is asked for again."""
        sha256 = hashlib.sha256(body).hexdigest()
        await self.companions.keep(companion, evolve(known, hashes={"sha256": sha256}), body)
        await self.supplied.add(source.key, companion.companion_of or "", sha256)
        await self._outdate(source)

    async def _withdraw(self, companion: FileRoute, source: PageSource, file: str, announced: str, right: str) -> None:
        """The verified file has another companion than its pieces said: whoever served those was lying."""
        self.observer(IntegrityFailed(without_secrets(companion.url), "sha256", announced, right))
        await self.supplied.drop(source.key, file, announced)
        await self.companions.store.delete(companion.key)
        await self._outdate(source)

    async def _outdate(self, source: PageSource) -> None:
        page = await self.pages.get(source.key)
        if page is not None:  # just stale: for --max-stale it is no older than it was
            just_stale = self.supplied.now() - source.ttl - 1  # the time of day, as pages are dated
            await self.pages.expire(source.key, min(page.validated_at, just_stale))


def _source(route: FileRoute, known: Known) -> PageSource | None:
    """The page that names the file."""
    sources = route.pages.sources if route.pages is not None else ()
    return next((source for source in sources if source.index == known.index), None)
