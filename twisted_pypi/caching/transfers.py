"""Downloads that belong to the cache: one for all who ask, whoever asked first and whoever leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_pypi.caching.knowledge import Known
from twisted_pypi.caching.opened import Opened, record_of
from twisted_pypi.caching.passing import arrives
from twisted_pypi.caching.plausible import contradiction, may_be_cut, undisputed
from twisted_pypi.caching.progress import Beginning, Progress, progress
from twisted_pypi.errors import Absent, UpstreamFailed
from twisted_pypi.events import FetchFailed, StoreTrouble, TransferEnded, TransferResumed, TransferStarted
from twisted_pypi.fetching.integrity import WrongBody, refuse, verifiable
from twisted_pypi.fetching.resume import Verdict, again, content_range, judge, validator_of
from twisted_pypi.fetching.resuming import ResumingBody
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.fetching.transfer import RelaySource, Transfer
from twisted_pypi.interfaces import Fetched, FileStore, Observer, PartialFile, Upstream
from twisted_pypi.model import FetchRequest, FileRoute
from twisted_pypi.records import PartialOrigin, StoredFile
from twisted_pypi.urls import without_secrets

log = Logger()

Published = Callable[[FileRoute, Known, StoredFile], Awaitable[None]]
"""Is told of a file that was stored, and of what was known of it before."""

UNCLAIMED = 15.0
"""Seconds after which a body that passes through, and that nobody claimed, is given up."""


async def _untold(route: FileRoute, known: Known, file: StoredFile) -> None:
    """The default."""


@define
class Transfers:
    """Starts transfers, at most one a key, and publishes what they bring."""

    upstream: Upstream
    store: FileStore
    observer: Observer
    clock: IReactorTime
    published: Published = _untold
    _opening: Singleflight[Opened] = field(factory=Singleflight, init=False)
    _running: dict[str, Opened] = field(factory=dict, init=False)
    _tasks: dict[str, Deferred[None]] = field(factory=dict, init=False)

    def running(self, key: str) -> Opened | None:
        """The transfer of this key that is under way, and has not failed."""
        opened = self._running.get(key)
        return None if opened is None or opened.failed else opened

    def under_way(self) -> list[Progress]:
        """How far each transfer is, the oldest first."""
        now = self.clock.seconds()
        return [
            progress(key, opened.began, opened.transfer, now)
            for key, opened in self._running.items()
            if opened.began is not None and opened.transfer is not None and not opened.failed
        ]

    def nears(self, key: str, range_: str) -> bool:
        """Whether a transfer of this key has a range (the header) already, or will have it in a moment."""
        opened = self.running(key)
        if opened is None or opened.transfer is None or opened.length is None:
            return self.has(key)
        return arrives(range_, opened.length, opened.transfer.available)

    def has(self, key: str) -> bool:
        """Whether a transfer of this key is under way or being opened."""
        return self.running(key) is not None or self._opening.running(key)

    def open(self, route: FileRoute, known: Known, client: str) -> tuple[Deferred[Opened], bool]:
        """Start or join the transfer; fires once upstream's headers are in. And whether it was joined."""
        joined = self._opening.running(route.key)
        return self._opening.do(route.key, partial(self._open, route, known, client)), joined

    async def fetch(
        self, known: Known, client: str, method: str = "GET", range_: str = "", *, verifiable: bool = False
    ) -> Fetched:
        """One upstream request for the file. Raises `Absent` for 404 and 410, else `UpstreamFailed` (`WrongBody`).

        `verifiable`: a digest decides in the end, though not one of the file itself.
        """
        headers = {"Range": range_} if range_ else {}
        request = _request(known, client, headers, method)
        request = evolve(request, verifiable=request.verifiable or verifiable)
        fetched = await self.upstream.fetch(request)
        if fetched.status in (200, 206) and (fetched.status == 200 or range_):
            wrong = None if request.verifiable else contradiction(fetched, known)
            if wrong is not None:
                fetched.body.abandon()
                refuse(self.observer, without_secrets(known.url), *wrong)
            return fetched
        absent = fetched.status in (404, 410)
        # What no page promised may be missing, and a client may ask for a piece beyond the end.
        expected = (absent and not (known.named and known.announced)) or (fetched.status == 416 and range_)
        failure = self._unusable(fetched, known, quiet=bool(expected))
        if absent:
            raise Absent(f"upstream has no such file ({failure.reason})")
        raise failure

    async def stop(self) -> None:
        """Break off what is under way; the clients see broken transfers."""
        self._opening.cancel_all()
        for task in list(self._tasks.values()):
            task.cancel()

    async def _open(self, route: FileRoute, known: Known, client: str) -> Opened:
        await self.ended(route.key)
        kept = await self.store.resume(route.key, tuple(known.hashes))
        fetched = await self._go_on(known, client, kept) if kept is not None else None
        if kept is not None and fetched is not None and fetched.status == 206:
            self.observer(TransferResumed(without_secrets(known.url), kept.size))
            return self._begin(route, known, client, fetched, kept)
        return await self._start(route, known, client, fetched or await self.fetch(known, client))

    async def ended(self, key: str) -> None:
        """Wait until a transfer that gets no more bytes is recorded, or its partial file put away."""
        task = self._tasks.get(key)
        if task is not None:
            ended: Deferred[None] = Deferred()
            task.addBoth(lambda _: ended.callback(None))
            await ended

    async def settled(self, key: str) -> None:
        """Wait until a file that clients may have whole already is recorded."""
        opened = self._running.get(key)
        if opened is not None and opened.transfer is not None and opened.transfer.released:
            await self.ended(key)

    async def _start(self, route: FileRoute, known: Known, client: str, fetched: Fetched) -> Opened:
        """A transfer from the beginning, or, where the store won't have it, the body for the one who claims it."""
        length = fetched.body.length
        origin = PartialOrigin(known.index, validator_of(fetched.headers), length, known.hashes)
        expected = length if length is not None else known.size
        try:
            into = await self.store.begin(route.key, expected, tuple(known.hashes), origin)
        except BaseException:
            fetched.body.abandon()
            raise
        if into is not None:
            return self._begin(route, known, client, fetched, into)
        opened = Opened(fetched, undisputed(length, known), known.sha256, relay=self.relay(fetched, known, client))
        self.clock.callLater(UNCLAIMED, opened.give_up)
        return opened

    async def _go_on(self, known: Known, client: str, kept: PartialFile) -> Fetched | None:
        """A 206 with what is missing of a file that broke off; else the file is gone, and a 200 or nothing comes.

        Nobody has got a byte of it since, so that starting over costs nothing but the bytes.
        """
        asked = again(kept.origin, known.index, known.hashes, kept.size)
        try:
            fetched = await self._again(known, client, asked) if asked else None
        except UpstreamFailed as failure:
            await kept.keep()
            if failure.status not in (404, 410):
                raise
            return None  # asked for from the beginning, the answer is told in its own words
        except BaseException:
            await kept.keep()
            raise
        length = kept.origin.length if kept.origin is not None else None
        if fetched is not None:
            coming = fetched.body.length
            if judge(fetched.status, fetched.headers, coming, asked, kept.size, length) is Verdict.CONTINUE:
                return fetched
        await kept.abandon()
        if fetched is None or fetched.status == 200:
            return fetched
        fetched.body.abandon()
        return None

    def _begin(self, route: FileRoute, known: Known, client: str, fetched: Fetched, into: PartialFile) -> Opened:
        """The transfer into a partial file, which goes on where that ends."""
        body = self._resuming(fetched, known, client, into.hexdigest, into.size)
        length = known.size if body.whole is None and not verifiable(known.hashes) else body.whole
        transfer = Transfer(body, into, known.hashes, length, self.observer, body.url, self.clock)
        began = Beginning(route.pages.name if route.pages else "", known.index, self.clock.seconds(), into.size)
        opened = Opened(fetched, undisputed(body.whole, known), known.sha256, transfer, began=began)
        self._running[route.key] = opened
        self._tasks[route.key] = Deferred.fromCoroutine(self._carry(route, known, opened, transfer, body))
        return opened

    def relay(self, fetched: Fetched, known: Known, client: str) -> RelaySource:
        """The whole body, passed straight to one client, checked on the way and resumed when it breaks."""
        source: RelaySource
        body = self._resuming(fetched, known, client, lambda algorithm: source.hexdigest(algorithm))
        source = RelaySource(body, known.hashes, body.whole, body.url, self.observer)
        return source

    def relay_part(self, fetched: Fetched, known: Known, length: int) -> RelaySource:
        """A piece of `length` bytes, passed straight to one client; no digest is known of that."""
        return RelaySource(fetched.body, {}, length, without_secrets(known.url), self.observer)

    def _resuming(
        self, fetched: Fetched, known: Known, client: str, hexdigest: Callable[[str], str], position: int = 0
    ) -> ResumingBody:
        """The body from `position` on. `hexdigest` tells the digests of everything that was read so far."""
        part, coming = content_range(fetched.headers) if position else None, fetched.body.length
        return ResumingBody(
            without_secrets(known.url),
            position,
            part[2] if part else coming,
            validator_of(fetched.headers),
            verifiable(known.hashes),
            self.clock,
            fetched,
            self.observer,
            partial(self._again, known, client),
            partial(hexdigest, "sha256"),
        )

    async def _again(self, known: Known, client: str, headers: Mapping[str, str]) -> Fetched:
        """See `fetching.resuming.Reopen`."""
        fetched = await self.upstream.fetch(_request(known, client, headers))
        if fetched.status in (200, 206, 416):
            return fetched
        raise self._unusable(fetched, known)

    def _unusable(self, fetched: Fetched, known: Known, quiet: bool = False) -> UpstreamFailed:
        """Why this answer is of no use; reported, unless nobody could expect another."""
        fetched.body.abandon()
        failure = UpstreamFailed(f"answered {fetched.status}", without_secrets(known.url), fetched.status)
        if not quiet:
            self.observer(FetchFailed(failure.url, failure.reason, file=True))
        return failure

    async def _carry(
        self, route: FileRoute, known: Known, opened: Opened, transfer: Transfer, body: ResumingBody
    ) -> None:
        """Receive, release to the clients, publish. Failures are events: every client already saw its own."""
        url = without_secrets(known.url)
        self.observer(TransferStarted(url))
        stored, stopped, reason = False, False, ""
        try:
            # Those who wait for the headers take their sources first: a short body may be published in this turn.
            await deferLater(self.clock, 0)
            result = await transfer.receive()
            if transfer.unstored is not None:
                raise UpstreamFailed(f"can't be stored: {transfer.unstored}", url)
            if may_be_cut(known, opened.length, transfer.body.delimited, result):
                raise UpstreamFailed("nothing tells whether it came whole", url)
            file = record_of(route, known, opened.fetched, result)
            await transfer.partial.publish(file)
            stored = True
        except UpstreamFailed as failure:
            reason = failure.reason
            if isinstance(failure, WrongBody):  # the places that broke off before rest already
                self.upstream.refuse(body.fetched)
        except CancelledError:
            stopped, reason = True, "stopped"
            transfer.break_off()  # `receive` may not have begun
        except OSError as error:
            reason = str(error)
            self.observer(StoreTrouble("publish", f"{url}: {error}"))
        except Exception as error:
            reason = repr(error)
            log.failure("transfer of {url}", url=url)
        finally:
            if self._running.get(route.key) is opened:  # after a failure the next may have begun
                del self._running[route.key]
                del self._tasks[route.key]
            transfer.body.abandon()
            if not stored:  # after `receive` it has ended already
                await transfer.partial.keep()
            self.observer(TransferEnded(url, transfer.received, stored, reason, stopped))
        if stored:
            await self.published(route, known, file)


def _request(known: Known, client: str, headers: Mapping[str, str], method: str = "GET") -> FetchRequest:
    decides = verifiable(known.hashes)
    return FetchRequest(
        known.url, known.index, "*/*", headers, client, method, file=True, named=known.named, verifiable=decides
    )
