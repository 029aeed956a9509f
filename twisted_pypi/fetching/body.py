"""Upstream bodies: read at the reader's pace, bounded in memory, watched while the reader waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import BinaryIO, cast
from typing import Protocol as Interface

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import BytesFetched
from twisted_pypi.fetching.decoding import decoder_for
from twisted_pypi.interfaces import FetchedBody, Observer, Workers

HIGH_WATER = 512 << 10
LOW_WATER = 256 << 10
READ_SIZE = 256 << 10
TURN = 2 << 20
"""Decoded bytes (5 ms of work) after which the reactor has a turn."""

DRAINED = 64 << 10
"""A body that nobody wants is read to its end up to this size (bytes), to keep the connection."""


class HttpBody(Protocol):
    """An `interfaces.FetchedBody` that is handed to `IResponse.deliverBody`.

    `url` (without secrets) is for messages; `idle` is how many seconds upstream may be silent while the reader waits;
    `ended` is called once, when no more will come from the network.
    """

    def __init__(
        self,
        url: str,
        length: int | None,
        clock: IReactorTime,
        idle: float,
        observer: Observer,
        ended: Callable[[], None],
    ) -> None:
        self.length = length
        self.delimited = True
        self._url = url
        self._clock = clock
        self._idle = idle
        self._observer = observer
        self._ended: Callable[[], None] | None = ended
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._received = 0
        self._paused = False
        self._failure: UpstreamFailed | None = None
        self._reader: Deferred[None] | None = None

    async def read(self) -> bytes:
        """The next bytes, at most 256 KiB; b"" at the end. What came before a failure is given first."""
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._ended is None:
                return b""
            await self._more()
        data = self._take()
        if self._paused and self._buffered < LOW_WATER and self._ended is not None:
            self._paused = False
            cast(IPushProducer, self.transport).resumeProducing()
        return data

    def abandon(self) -> None:
        """See `interfaces.FetchedBody`."""
        self._chunks.clear()
        self._buffered = 0
        self._failure = self._failure or UpstreamFailed("given up", self._url)
        self._break(self._failure)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Upstream sent something."""
        if self._ended is None:
            return
        self._chunks.append(data)
        self._buffered += len(data)
        self._received += len(data)
        self._observer(BytesFetched(len(data)))
        if self._buffered >= HIGH_WATER:
            self._paused = True
            cast(IPushProducer, self.transport).pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """The body is over, in one way or another (see `IResponse.deliverBody`)."""
        if self._ended is None:
            return
        if isinstance(reason.value, PotentialDataLoss):
            self.delimited = False
        elif not isinstance(reason.value, ResponseDone):
            self._failure = UpstreamFailed(f"connection broke after {self._received} bytes", self._url)
        self._finish()

    def _stall(self) -> None:
        self._break(UpstreamFailed(f"no data within {self._idle:g} s", self._url))

    def _break(self, failure: UpstreamFailed) -> None:
        if self._ended is None:
            return
        self._failure = failure
        transport = cast(ITransport, self.transport)
        self._finish()
        transport.loseConnection()

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        self._wake()
        if ended is not None:
            ended()

    def _take(self) -> bytes:
        first = self._chunks.popleft()
        if len(first) > READ_SIZE:
            self._chunks.appendleft(first[READ_SIZE:])
        taken = [first[:READ_SIZE]]
        size = len(taken[0])
        while self._chunks and size + len(self._chunks[0]) <= READ_SIZE:
            taken.append(self._chunks.popleft())
            size += len(taken[-1])
        self._buffered -= size
        return b"".join(taken)

    async def _more(self) -> None:
        """Wait until something changes, but no longer than `idle` for upstream."""
        self._reader = Deferred()
        timer: IDelayedCall = self._clock.callLater(self._idle, self._stall)
        try:
            await self._reader
        finally:
            self._reader = None
            if timer.active():
                timer.cancel()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)


class Drain(Protocol):
    """Reads a small body that nobody wants, so that its connection can be used again; drops a large or slow one."""

    def __init__(self, clock: IReactorTime, patience: float) -> None:
        self._left = DRAINED
        self._timer = clock.callLater(patience, self._drop)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Count it and forget it."""
        self._left -= len(data)
        if self._left < 0:
            self._drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """The body is over."""
        if self._timer.active():
            self._timer.cancel()

    def _drop(self) -> None:
        cast(ITransport, self.transport).loseConnection()


class Writable(Interface):
    """A file in binary mode, or something whose `write` is to be awaited."""

    def write(self, data: bytes, /) -> int | Awaitable[None]:
        """Append `data`."""


@define
class SharedTurns:
    """A `Writable` around a file that has a thread write now and then, so that a body which decodes to a thousand times
    its size doesn't keep the reactor from everything else."""

    _file: BinaryIO
    _workers: Workers
    _since: int = field(default=0, init=False)

    def write(self, data: bytes, /) -> int | Awaitable[None]:
        """See `Writable`."""
        self._since += len(data)
        if self._since < TURN:
            return self._file.write(data)
        self._since = 0
        return self._written(data)

    async def _written(self, data: bytes) -> None:
        await self._workers.run(self._file.write, data)


async def read_decoded(body: FetchedBody, content_encoding: str, limit: int, out: Writable, url: str = "") -> int:
    """Write the whole body to `out`, decoded of its content coding; how many bytes that were.

    Raises `UpstreamFailed` (about `url`) when it breaks, isn't of that coding, or is larger than `limit` bytes, encoded
    or decoded. Whatever is raised, the body was abandoned.
    """
    coded = size = 0
    try:
        decoder = decoder_for(content_encoding)
        while data := await body.read():
            coded += len(data)
            _check_size(coded, limit, url)
            for piece in decoder.decode(data):
                size += len(piece)
                _check_size(size, limit, url)
                written = out.write(piece)
                if isinstance(written, Awaitable):
                    await written
        decoder.finish()
    except ValueError as error:
        body.abandon()
        raise UpstreamFailed(str(error), url) from error
    except BaseException:
        body.abandon()
        raise
    return size


def _check_size(size: int, limit: int, url: str) -> None:
    if size > limit:
        raise UpstreamFailed(f"body larger than {limit} bytes", url)
