"""A download that belongs to the cache and grows on disk, while any number of clients reads it.

The last 16 KiB are held back until length and digest are right: whoever has a complete file has the right one.

When the disk takes no more, the rest passes through a window in memory: who reads already is served to the end,
upstream waits for the slowest of them (but not for ever), and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from twisted_pypi.answers import ByteSource, Extent
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.integrity import HOLD_BACK, WrongBody, first_mismatch, refuse
from twisted_pypi.fetching.relay import RelaySource
from twisted_pypi.fetching.window import Window
from twisted_pypi.interfaces import FetchedBody, Observer, PartialFile, Reader

__all__ = ["RelaySource", "Transfer", "TransferResult"]

WINDOW = 1 << 20
"""Without a place on disk, nothing more is read from upstream while the slowest reader is so many bytes behind."""

PATIENCE = 30.0
"""Seconds for which a reader may hold the others back then."""

log = Logger()


@frozen
class TransferResult:
    """A file that came whole. `verified`: an expected digest was compared, and matched."""

    size: int
    sha256: str
    verified: bool


@define(eq=False)
class Transfer:
    """One download into `partial`. `expected` maps algorithms to hex digests; `length` is the file's, if known.

    `receive` runs it; `source` gives as many readers as there are askers. Readers come and go, the transfer doesn't
    mind. It begins at what `partial` already holds. `unstored` is why the disk did not take all of it.
    """

    body: FetchedBody
    partial: PartialFile
    expected: Mapping[str, str]
    length: int | None
    observer: Observer
    url: str
    clock: IReactorTime
    released: bool = field(default=False, init=False)
    failure: UpstreamFailed | None = field(default=None, init=False)
    unstored: OSError | None = field(default=None, init=False)
    window: Window | None = field(default=None, init=False)
    _sources: list[_GrowingSource] = field(factory=list, init=False)
    _moved: Deferred[None] | None = field(default=None, init=False)

    @property
    def received(self) -> int:
        """How many bytes came."""
        return self.partial.size if self.window is None else self.window.end

    @property
    def available(self) -> int:
        """How many bytes readers may have."""
        return self.received if self.released else max(0, self.received - HOLD_BACK)

    @property
    def readers(self) -> int:
        """How many clients read it."""
        return len(self._sources)

    @property
    def joinable(self) -> bool:
        """Whether everything from the beginning can still be read."""
        return self.window is None or self.window.start == self.partial.size

    def source(self) -> ByteSource:
        """A further reader, from the beginning and at its own pace. Only while `joinable`."""
        source = _GrowingSource(self, self.partial.reader())
        self._sources.append(source)
        return source

    def join(self) -> ByteSource | None:
        """A further reader, if everything from the beginning can still be read."""
        try:
            return self.source() if self.joinable else None
        except (RuntimeError, OSError):  # published or given up this very moment; no descriptor left
            return None

    async def receive(self) -> TransferResult:
        """Take the whole body, check it and release it to the readers; publishing is the caller's, unless `unstored`.

        Raises `WrongBody` when it has a wrong length or digest (an `IntegrityFailed` event tells so) or is another
        file after a break, else `UpstreamFailed` when it breaks, or nobody reads what can't be stored. Then, as when it
        is cancelled, every reader has the failure. After a break or a stop the partial file is kept, else abandoned.
        """
        try:
            await self._pump()
            return self._release()
        except BaseException as error:
            self.body.abandon()
            if isinstance(error, UpstreamFailed):
                self._fail(error)
            self.break_off()
            await (self.partial.keep() if _may_go_on(error) else self.partial.abandon())
            raise

    def break_off(self) -> None:
        """Nothing more comes: every reader has the failure, unless the file is whole or has failed already."""
        if not self.released and self.failure is None:
            self._fail(UpstreamFailed("the transfer was stopped", self.url))

    def forget(self, source: _GrowingSource) -> None:
        """A reader left."""
        if source in self._sources:
            self._sources.remove(source)
        self.moved()

    def moved(self) -> None:
        """A reader went on, or left."""
        if self._moved is not None and not self._late():
            moved, self._moved = self._moved, None
            moved.callback(None)

    async def _pump(self) -> None:
        coming = self.body.length
        if self.length is not None and coming is not None and self.received + coming != self.length:
            self._refuse("length", str(self.length), str(self.received + coming))
        while data := await self.body.read():
            if self.length is not None and self.received + len(data) > self.length:
                self._refuse("length", str(self.length), f"at least {self.received + len(data)}")
            before = self.available
            await self._take(data)
            if self.available > before:
                self._notify()
        if self.length is not None and self.received != self.length:
            self._refuse("length", str(self.length), str(self.received))

    async def _take(self, data: bytes) -> None:
        """Write it to disk; once that was refused, into the window."""
        if self.window is None:
            try:
                await self.partial.write(data)
                return
            except OSError as error:
                self.unstored = error
                self.window = Window(self.partial.size)
        await self._room(self.window)
        await self.partial.digest(data)
        self.window.append(data)

    async def _room(self, window: Window) -> None:
        """Wait for slow readers, but not for ever. Raises `UpstreamFailed` when there are no readers."""
        late = self.clock.callLater(PATIENCE, self._break_off_late)
        try:
            while self._late():
                self._moved = Deferred()
                await self._moved
        finally:
            self._moved = None
            if late.active():
                late.cancel()
        if not self._sources:
            raise UpstreamFailed(f"can't be stored, and nobody reads it: {self.unstored}", self.url)
        window.drop(min(source.position for source in self._sources))

    def _late(self) -> list[_GrowingSource]:
        """The readers for whom the window is full. What lies on disk takes no room there."""
        stored, received = self.partial.size, self.received
        return [source for source in self._sources if received - max(source.position, stored) >= WINDOW]

    def _break_off_late(self) -> None:
        failure = UpstreamFailed("the file can't be stored, and this client is too slow to pass it through", self.url)
        for source in self._late():
            self._sources.remove(source)
            source.break_off(failure)
        self.moved()

    def _release(self) -> TransferResult:
        mismatch, verified = first_mismatch(self.expected, self.partial.hexdigest)
        if mismatch is not None:
            self._refuse(*mismatch)
        self.length = self.received
        self.released = True
        self._notify()
        return TransferResult(self.received, self.partial.hexdigest("sha256"), verified)

    def _refuse(self, algorithm: str, expected: str, got: str) -> NoReturn:
        refuse(self.observer, self.url, algorithm, expected, got)

    def _fail(self, failure: UpstreamFailed) -> None:
        self.failure = failure
        self._notify()

    def _notify(self) -> None:
        for source in list(self._sources):
            source.notify()


def _may_go_on(error: BaseException) -> bool:
    """Whether what there is of the file is worth another try."""
    return isinstance(error, (UpstreamFailed, CancelledError)) and not isinstance(error, WrongBody)


@define(eq=False)
class _GrowingSource:
    """One reader of a transfer (a `answers.ByteSource`). It has everything before `position` behind it."""

    _transfer: Transfer
    _read: Reader | None
    position: int = field(default=0, init=False)
    _failure: Exception | None = field(default=None, init=False)
    _changed: Callable[[], None] | None = field(default=None, init=False)

    @property
    def length(self) -> int | None:
        return self._transfer.length

    @property
    def finished(self) -> bool:
        return self._transfer.released

    @property
    def failure(self) -> Exception | None:
        return self._failure or self._transfer.failure

    def read(self, position: int, limit: int) -> bytes:
        allowed = min(limit, self._transfer.available - position)
        readable = self._read is not None and self._failure is None and allowed > 0
        data = self._piece(self._read, position, allowed) if self._read is not None and readable else b""
        # Who waits for a range further on holds nobody back.
        self.position = max(self.position, position + len(data))
        self._transfer.moved()
        return data

    def extent(self, position: int) -> Extent | None:
        transfer, fileno = self._transfer, self._read.fileno if self._read is not None else None
        if fileno is None or self._failure is not None or (transfer.window and position >= transfer.partial.size):
            return None
        self.position = max(self.position, position)
        transfer.moved()
        return Extent(fileno, position, max(0, min(transfer.available, transfer.partial.size) - position))

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        self._changed = None
        reader, self._read = self._read, None
        if reader is not None:
            reader.close()
        self._transfer.forget(self)

    def break_off(self, failure: Exception) -> None:
        """Nothing more comes for this one."""
        self._failure = failure
        self.notify()

    def notify(self) -> None:
        """Tell the subscriber. What goes wrong there is no business of the other readers."""
        if self._changed is None:
            return
        try:
            self._changed()
        except Exception:
            log.failure("a reader of {url} failed", url=self._transfer.url)

    def _piece(self, read: Reader, position: int, limit: int) -> bytes:
        window, stored = self._transfer.window, self._transfer.partial.size
        if window is None or position < stored:
            # What lies on disk beyond `stored` is the beginning of a write that failed.
            return read(position, min(limit, stored - position))
        return window.read(position, limit)
