"""Asking upstream for one page and storing what it said.

The answer is a value (`Asked`), never an exception: a page route decides what a failure means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from attrs import Factory, define, evolve, field, frozen

from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.caching.withheld import Withheld
from twisted_pypi.errors import LedAway, UpstreamFailed
from twisted_pypi.events import FetchFailed, PageRegressed, PageRejected, StoreTrouble
from twisted_pypi.fetching.body import SharedTurns, read_decoded
from twisted_pypi.fetching.pace import PacedBody
from twisted_pypi.http.cache_status import is_stale
from twisted_pypi.http.freshness import Outcome, believes
from twisted_pypi.interfaces import Fetched, Observer, PageStore, Upstream, Workers
from twisted_pypi.model import Document, FetchRequest, PageBody, PageRoute, PageSource
from twisted_pypi.records import PageMeta, StoredPage
from twisted_pypi.urls import without_secrets

VERSION_HEADER = "x-pypi-last-serial"

STALE_TTL = 10.0
"""Seconds for which a page counts as fresh that another cache had but stale: its upstream may be back by then."""


@frozen
class Asked:
    """What came of asking. `page` is the stored page for NEW, NOT_MODIFIED and OLDER, and for FAILED if there is one;
    `index` who said it."""

    outcome: Outcome
    page: StoredPage | None = None
    status: int | None = None
    seconds: float | None = None
    failure: UpstreamFailed | None = None
    parent: str = ""
    index: str = ""


@frozen
class _Edits:
    """In what our page differs from upstream's, as in `PageMeta`; sorted."""

    withheld: tuple[str, ...] = ()
    supplied: tuple[tuple[str, str], ...] = ()


@define
class Refresher:
    """Fetches, interprets and stores pages. `scratch` makes an empty binary file for a body (bounded in memory).

    `now` is the time of day, which may be set; `steady` is not, and tells how fast a body comes.
    """

    upstream: Upstream
    store: PageStore
    workers: Workers
    observer: Observer
    now: Callable[[], float]
    scratch: Callable[[], BinaryIO]
    withheld: Withheld | None = None
    supplied: Supplied | None = None
    steady: Callable[[], float] = field(default=Factory(lambda self: self.now, takes_self=True))
    _regressed: dict[str, float] = field(factory=dict, init=False)

    async def ask(
        self, route: PageRoute, source: PageSource, copy: StoredPage | None, client: str, anew: bool = False
    ) -> Asked:
        """One source's answer, stored if it is a page.

        `copy` is what is stored for this very source; `anew`: that it is unchanged would not do.
        """
        edits = await self._edits(route, source)
        usable = copy is not None and not anew and _still_right(copy, source, edits)
        conditions = _conditions(copy) if copy is not None and usable else {}
        request = FetchRequest(
            source.url,
            source.index,
            source.accept,
            conditions,
            client,
            confined=source.confined,
            held=copy is not None,
        )
        while True:
            try:
                fetched = await self.upstream.fetch(request)
            except LedAway as away:
                lacks = away.other or away.status in source.absent_status
                return Asked(Outcome.ABSENT if lacks else Outcome.FAILED, status=away.status, failure=away)
            except UpstreamFailed as failure:
                return Asked(Outcome.FAILED, status=failure.status, failure=failure)
            try:
                return await self._interpret(route, source, copy if conditions else None, copy, fetched)
            except UpstreamFailed as failure:
                if not self.upstream.refuse(fetched):
                    return Asked(Outcome.FAILED, status=fetched.status, seconds=fetched.seconds, failure=failure)

    async def withhold(self, page: str, file: str) -> bool:
        """Announce the companion of this file no more; whether the stored page with this key still does."""
        if self.withheld is None:
            return False
        await self.withheld.add(page, file)
        copy = await self.store.get(page)
        return copy is not None and file not in copy.meta.withheld

    async def announce_all(self, page: str) -> None:
        """The page is to be as upstream has it again."""
        if self.withheld is not None:
            await self.withheld.forget(page)

    async def _edits(self, route: PageRoute, source: PageSource) -> _Edits:
        """In what the page is to differ from upstream's."""
        withheld = await self.withheld.of(source.key) if self.withheld and route.withhold else frozenset()
        supplied = await self.supplied.of(source) if self.supplied and route.supply else {}
        return _Edits(tuple(sorted(withheld)), tuple(sorted(supplied.items())))

    async def _edited(self, route: PageRoute, document: Document, edits: _Edits) -> Document:
        if edits.supplied and route.supply:
            document = await self.workers.run(route.supply, document, dict(edits.supplied))
        if edits.withheld and route.withhold:
            document = await self.workers.run(route.withhold, document, frozenset(edits.withheld))
        return document

    async def _interpret(
        self,
        route: PageRoute,
        source: PageSource,
        asked_about: StoredPage | None,
        copy: StoredPage | None,
        fetched: Fetched,
    ) -> Asked:
        parent = fetched.headers.get("cache-status", "")
        if fetched.status == 200:
            page, outcome = await self._take(route, source, copy, fetched)
            return Asked(outcome, page, 200, fetched.seconds, parent=parent)
        fetched.body.abandon()
        if fetched.status == 304 and asked_about is not None:
            page = await self.store.confirm(asked_about, self._validated(source, fetched))
            return Asked(Outcome.NOT_MODIFIED, page, 304, fetched.seconds, parent=parent)
        if fetched.status in source.absent_status:
            return Asked(Outcome.ABSENT, None, fetched.status, fetched.seconds, parent=parent)
        raise self._reported(UpstreamFailed(f"answered {fetched.status}", without_secrets(source.url), fetched.status))

    def _reported(self, failure: UpstreamFailed) -> UpstreamFailed:
        """The same, told to the observer: fetching tells only of what happens before the body."""
        self.observer(FetchFailed(failure.url, failure.reason, file=False))
        return failure

    async def _take(
        self, route: PageRoute, source: PageSource, copy: StoredPage | None, fetched: Fetched
    ) -> tuple[StoredPage, Outcome]:
        """Read the whole body before anything of it counts. Raises `UpstreamFailed`."""
        url = without_secrets(source.url)
        with self.scratch() as stream:
            coding = fetched.headers.get("content-encoding", "")
            try:
                paced = PacedBody(fetched.body, url, self.steady)
                await read_decoded(paced, coding, route.max_body, SharedTurns(stream, self.workers), url)
                stream.seek(0)
                body = PageBody(stream, fetched.headers.get("content-type", ""), fetched.url, fetched.body.delimited)
                return await self._keep(route, source, copy, fetched, body)
            except UpstreamFailed as failure:
                raise self._reported(failure) from None
            except (ValueError, RecursionError) as error:
                self.observer(PageRejected(url, str(error)))
                problem = f"sent no usable page: {error}"
            except MemoryError:
                self.observer(PageRejected(url, "out of memory"))
                problem = "sent a page that there is no memory for"
            except OSError as error:
                self.observer(StoreTrouble("page", f"{url}: {error}"))
                problem = "sent a page that can't be stored here"
        raise UpstreamFailed(problem, url, fetched.status)

    async def _keep(
        self, route: PageRoute, source: PageSource, copy: StoredPage | None, fetched: Fetched, body: PageBody
    ) -> tuple[StoredPage, Outcome]:
        document = await self.workers.run(source.interpret, body)
        edits = await self._edits(route, source)
        document = await self._edited(route, document, edits)
        meta = evolve(self._meta(source, document, fetched), withheld=edits.withheld, supplied=edits.supplied)
        if copy is not None and not self._believes(copy.meta, meta):
            return copy, Outcome.OLDER
        return await self.store.put(meta, document, route.bodies, route.templates), Outcome.NEW

    def _meta(self, source: PageSource, document: Document, fetched: Fetched) -> PageMeta:
        header = fetched.headers.get(VERSION_HEADER, "")
        version = int(header) if header.isascii() and header.isdecimal() and len(header) < 19 else document.version
        return PageMeta(
            key=source.key,
            index=source.index,
            url=source.url,
            etag=fetched.headers.get("etag", ""),
            last_modified=fetched.headers.get("last-modified", ""),
            version=version,
            fetched_at=self._validated(source, fetched),
            layout=source.layout,
        )

    def _validated(self, source: PageSource, fetched: Fetched) -> float:
        """As of when the page counts as confirmed: now, unless who sent it could not ask itself."""
        return self.now() - (max(0.0, source.ttl - STALE_TTL) if is_stale(fetched.headers) else 0.0)

    def _believes(self, ours: PageMeta, theirs: PageMeta) -> bool:
        """Whether `theirs` may replace `ours`: a mirror that lags behind must not take releases away again."""
        same_url = ours.url == theirs.url
        since = self._regressed.get(ours.key, self.now())
        if not same_url or believes(ours.version, theirs.version, self.now() - since):
            regressed = self._regressed.pop(ours.key, None) is not None
            if regressed and ours.version and theirs.version and theirs.version < ours.version:
                self.observer(PageRegressed(without_secrets(ours.url), ours.version, theirs.version, accepted=True))
            return True
        if ours.key not in self._regressed and ours.version and theirs.version:
            self.observer(PageRegressed(without_secrets(ours.url), ours.version, theirs.version, accepted=False))
        self._regressed[ours.key] = since
        return False


def _still_right(copy: StoredPage, source: PageSource, edits: _Edits) -> bool:
    """Whether a 304 would do: not for a page in memory alone, which the disk may take now."""
    made = _Edits(copy.meta.withheld, copy.meta.supplied)
    return bool(copy.inode) and copy.meta.url == source.url and made == edits


def _conditions(copy: StoredPage) -> dict[str, str]:
    """The conditional headers for what we have (RFC 9110, 13.1). Both, when upstream gave both."""
    conditions = {}
    if copy.meta.etag:
        conditions["If-None-Match"] = copy.meta.etag
    if copy.meta.last_modified:
        conditions["If-Modified-Since"] = copy.meta.last_modified
    return conditions
