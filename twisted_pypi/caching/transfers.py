"""Downloads that belong to the cache: one for all who ask, whoever asked first and whoever leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_pypi.caching.knowledge import Known
from twisted_pypi.caching.passing import arrives
from twisted_pypi.errors import Absent, UpstreamFailed
from twisted_pypi.events import StoreTrouble, TransferEnded, TransferStarted
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.fetching.transfer import RelaySource, Transfer, TransferResult
from twisted_pypi.interfaces import Fetched, FileStore, Observer, Upstream
from twisted_pypi.model import ByteSource, FetchRequest, FileRoute, StoredFile
from twisted_pypi.urls import without_secrets

log = Logger()


FirstSeen = Callable[[StoredFile], Awaitable[None]]
"""Is told of a file that was stored though nobody announced a digest of it."""

UNCLAIMED = 15.0
"""Seconds after which a body that passes through, and that nobody claimed, is given up."""


async def _unremembered(file: StoredFile) -> None:
    """The default."""


@define
class Opened:
    """A body on its way: growing on disk for all (`transfer`), or passing through for the one who claims it."""

    fetched: Fetched
    length: int | None
    sha256: str
    transfer: Transfer | None = None
    _relay: ByteSource | None = None

    def claim(self) -> ByteSource | None:
        """The body that passes through; None for everybody but the first."""
        relay, self._relay = self._relay, None
        return relay

    def give_up(self) -> None:
        """Close what nobody claimed."""
        relay = self.claim()
        if relay is not None:
            relay.close()


@define
class Transfers:
    """Starts transfers, at most one a key, and publishes what they bring."""

    upstream: Upstream
    store: FileStore
    observer: Observer
    clock: IReactorTime
    first_seen: FirstSeen = _unremembered
    _opening: Singleflight[Opened] = field(factory=Singleflight, init=False)
    _running: dict[str, Opened] = field(factory=dict, init=False)
    _tasks: dict[str, Deferred[None]] = field(factory=dict, init=False)

    def running(self, key: str) -> Opened | None:
        """The transfer of this key that is under way, or is being published; not one that failed a moment ago."""
        opened = self._running.get(key)
        failed = opened is not None and opened.transfer is not None and opened.transfer.failure is not None
        return None if failed else opened

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

    async def fetch(self, known: Known, client: str, method: str = "GET", range_: str = "") -> Fetched:
        """One upstream request for the file. Raises `Absent` for 404 and 410, else `UpstreamFailed`."""
        headers = {"Range": range_} if range_ else {}
        request = FetchRequest(
            known.url, known.index, headers=headers, client=client, method=method, file=True, named=known.named
        )
        fetched = await self.upstream.fetch(request)
        if fetched.status in (200, 206) and (fetched.status == 200 or range_):
            return fetched
        fetched.body.abandon()
        if fetched.status in (404, 410):
            raise Absent(f"upstream has no such file (answered {fetched.status})")
        raise UpstreamFailed(f"answered {fetched.status}", without_secrets(known.url), fetched.status)

    async def stop(self) -> None:
        """Break off what is under way; the clients see broken transfers."""
        self._opening.cancel_all()
        for task in list(self._tasks.values()):
            task.cancel()

    async def _open(self, route: FileRoute, known: Known, client: str) -> Opened:
        fetched = await self.fetch(known, client)
        length = fetched.body.length
        try:
            into = await self.store.begin(route.key, length if length is not None else known.size, tuple(known.hashes))
        except BaseException:
            fetched.body.abandon()
            raise
        if into is None:
            opened = Opened(fetched, length, known.sha256, relay=self.relay(fetched, known, length))
            self.clock.callLater(UNCLAIMED, opened.give_up)
            return opened
        url = without_secrets(known.url)
        transfer = Transfer(fetched.body, into, known.hashes, length, self.observer, url)
        opened = Opened(fetched, length, known.sha256, transfer)
        self._running[route.key] = opened
        self._tasks[route.key] = Deferred.fromCoroutine(self._carry(route, known, opened, transfer))
        return opened

    def relay(self, fetched: Fetched, known: Known, length: int | None) -> RelaySource:
        """The body, passed straight to one client and checked on the way."""
        return RelaySource(fetched.body, known.hashes, length, without_secrets(known.url), self.observer)

    async def _carry(self, route: FileRoute, known: Known, opened: Opened, transfer: Transfer) -> None:
        """Receive, release to the clients, publish. Failures are events: every client already saw its own."""
        url = without_secrets(known.url)
        self.observer(TransferStarted(url))
        stored, reason = False, ""
        try:
            # Those who wait for the headers take their sources first: a short body may be published in this turn.
            await deferLater(self.clock, 0)
            result = await transfer.receive()
            if _may_be_cut(known, opened, result):
                raise UpstreamFailed("nothing tells whether it came whole", url)
            file = _record(route, known, opened.fetched, result)
            await transfer.partial.publish(file)
            stored = True
        except UpstreamFailed as failure:
            reason = failure.reason
        except CancelledError:
            reason = "stopped"
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
            opened.fetched.body.abandon()
            if not stored:
                await transfer.partial.abandon()
            self.observer(TransferEnded(url, transfer.partial.size, stored, reason))
        if stored and not file.verified:
            await self.first_seen(file)


def _may_be_cut(known: Known, opened: Opened, result: TransferResult) -> bool:
    """Whether the end of the connection alone ended the body (RFC 9112, 6.3): such a file is passed on, not stored."""
    told = result.verified or opened.length is not None or known.size == result.size
    return not (told or opened.fetched.body.delimited)


def _record(route: FileRoute, known: Known, fetched: Fetched, result: TransferResult) -> StoredFile:
    return StoredFile(
        key=route.key,
        index=known.index,
        size=result.size,
        sha256=result.sha256,
        verified=result.verified,
        etag=fetched.headers.get("etag", ""),
        last_modified=fetched.headers.get("last-modified", ""),
        hashes=known.hashes,
    )
