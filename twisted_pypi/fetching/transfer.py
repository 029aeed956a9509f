"""A download that belongs to the cache and grows on disk, while any number of clients reads it.

The last 16 KiB are held back until length and digest are right: whoever has a complete file has the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from attrs import define, field, frozen
from twisted.logger import Logger

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.integrity import HOLD_BACK, first_mismatch, refuse
from twisted_pypi.fetching.relay import RelaySource
from twisted_pypi.interfaces import FetchedBody, Observer, PartialFile, Reader
from twisted_pypi.model import ByteSource

__all__ = ["RelaySource", "Transfer", "TransferResult"]

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
    mind. It begins at what `partial` already holds.
    """

    body: FetchedBody
    partial: PartialFile
    expected: Mapping[str, str]
    length: int | None
    observer: Observer
    url: str
    released: bool = field(default=False, init=False)
    failure: UpstreamFailed | None = field(default=None, init=False)
    _sources: list[_GrowingSource] = field(factory=list, init=False)

    @property
    def available(self) -> int:
        """How many bytes readers may have."""
        return self.partial.size if self.released else max(0, self.partial.size - HOLD_BACK)

    def source(self) -> ByteSource:
        """A further reader, from the beginning and at its own pace."""
        source = _GrowingSource(self, self.partial.reader())
        self._sources.append(source)
        return source

    async def receive(self) -> TransferResult:
        """Take the whole body, check it and release it to the readers; publishing is the caller's.

        Raises `UpstreamFailed` when it breaks, has a wrong length or digest (an `IntegrityFailed` event tells so), or
        the disk won't take it (the `OSError` is its cause). Then, as when it is cancelled, every reader has the failure
        and the partial file was abandoned.
        """
        try:
            await self._pump()
            return self._release()
        except BaseException as error:
            self.body.abandon()
            stopped = UpstreamFailed("the transfer was stopped", self.url)
            self._fail(error if isinstance(error, UpstreamFailed) else stopped)
            await self.partial.abandon()
            raise

    def forget(self, source: _GrowingSource) -> None:
        """A reader left."""
        if source in self._sources:
            self._sources.remove(source)

    async def _pump(self) -> None:
        coming = self.body.length
        if self.length is not None and coming is not None and self.partial.size + coming != self.length:
            self._refuse("length", str(self.length), str(self.partial.size + coming))
        while data := await self.body.read():
            if self.length is not None and self.partial.size + len(data) > self.length:
                self._refuse("length", str(self.length), f"at least {self.partial.size + len(data)}")
            before = self.available
            await self._write(data)
            if self.available > before:
                self._notify()
        if self.length is not None and self.partial.size != self.length:
            self._refuse("length", str(self.length), str(self.partial.size))

    async def _write(self, data: bytes) -> None:
        try:
            await self.partial.write(data)
        except OSError as error:
            raise UpstreamFailed(f"can't be stored: {error.strerror or error}", self.url) from error

    def _release(self) -> TransferResult:
        mismatch, verified = first_mismatch(self.expected, self.partial.hexdigest)
        if mismatch is not None:
            self._refuse(*mismatch)
        self.length = self.partial.size
        self.released = True
        self._notify()
        return TransferResult(self.partial.size, self.partial.hexdigest("sha256"), verified)

    def _refuse(self, algorithm: str, expected: str, got: str) -> NoReturn:
        refuse(self.observer, self.url, algorithm, expected, got)

    def _fail(self, failure: UpstreamFailed) -> None:
        self.failure = failure
        self._notify()

    def _notify(self) -> None:
        for source in list(self._sources):
            source.notify()


@define(eq=False)
class _GrowingSource:
    """One reader of a transfer (a `model.ByteSource`)."""

    _transfer: Transfer
    _read: Reader | None
    _changed: Callable[[], None] | None = field(default=None, init=False)

    @property
    def length(self) -> int | None:
        return self._transfer.length

    @property
    def finished(self) -> bool:
        return self._transfer.released

    @property
    def failure(self) -> Exception | None:
        return self._transfer.failure

    def read(self, position: int, limit: int) -> bytes:
        allowed = min(limit, self._transfer.available - position)
        return self._read(position, allowed) if self._read is not None and allowed > 0 else b""

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        self._changed = None
        reader, self._read = self._read, None
        if reader is not None:
            reader.close()
        self._transfer.forget(self)

    def notify(self) -> None:
        """Tell the subscriber. What goes wrong there is no business of the other readers."""
        if self._changed is None:
            return
        try:
            self._changed()
        except Exception:
            log.failure("a reader of {url} failed", url=self._transfer.url)
