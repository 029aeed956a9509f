"""Sending the bytes of a `ByteSource` to one client, at that client's pace.

What lies in a file or in memory goes from there to the socket (`transport.CacheTransport`), if the connection can do
that; anything else is read and written in pieces.

Laws: at most one piece is in memory at a time; every piece is a reactor turn of its own, so that a fast client on a
fast disk starves nobody; the source is closed in the end, whatever happens; a body that stays incomplete ends in a
broken connection, never in one that looks whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from twisted_pypi.answers import ByteSource
from twisted_pypi.web.site import CacheRequest
from twisted_pypi.web.transport import CacheTransport

PIECE = 256 << 10
"""Bytes read and written at a time."""

EAGER = 512 << 10
"""Bytes up to which a body at rest is sent in the turn in which it is asked for, as far as the socket takes it."""

STALL = 300.0
"""Seconds in which a client must take at least one piece."""

_log = Logger()


@define
class MemorySource:
    """A `ByteSource` of bytes at hand."""

    data: bytes
    failure: Exception | None = None

    @property
    def length(self) -> int:
        """All of it."""
        return len(self.data)

    @property
    def finished(self) -> bool:
        """Always."""
        return True

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`."""
        return self.data[position : position + limit]

    def view(self, position: int, size: int | None) -> memoryview:
        """`size` bytes from `position` (None: to the end), not copied."""
        return memoryview(self.data)[position : None if size is None else position + size]

    def extent(self, position: int) -> None:
        """See `answers.ByteSource`: in no file."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes."""

    def close(self) -> None:
        """Give back the bytes."""
        self.data = b""


@implementer(IPushProducer)
@define(eq=False)
class Sender:
    """Sends positions `first` to `last` (inclusive; None: to the end) of `source` as the body of `request`.

    The head is already written. `done(size, complete)` is called once, with the bytes handed to the connection. A
    failed or too short source, and a client that takes nothing for `STALL` seconds, break the connection off.
    """

    request: CacheRequest
    source: ByteSource
    first: int
    last: int | None
    clock: IReactorTime
    done: Callable[[int, bool], None]
    _transport: CacheTransport | None = field(init=False)
    _position: int = field(init=False)
    _paused: bool = False
    _paused_at: float = 0.0
    _ended: bool = False
    _next: IDelayedCall | None = None
    _stall: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        self._position = self.first
        transport = self.request.transport
        # Not by interface: a wrapper such as TLS claims those of what it wraps.
        sends_files = isinstance(transport, CacheTransport) and not self.request.chunked
        self._transport = transport if sends_files else None

    def start(self) -> None:
        """Begin. A short body that the client takes at once is through then."""
        if self._transport is not None and self._is_short():
            self._step()
            if self._ended:
                return
        self.request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self.request.registerProducer(self, True)  # type: ignore[no-untyped-call]
        self.source.subscribe(self._wake)
        self._wake()

    def pauseProducing(self) -> None:  # noqa: N802
        """The client's buffers are full."""
        if not self._paused:
            self._paused, self._paused_at = True, self.clock.seconds()
        if self._stall is None and not self._ended:
            self._stall = self.clock.callLater(STALL, self._look)

    def resumeProducing(self) -> None:  # noqa: N802
        """The client takes more."""
        self._paused = False
        if self._transport is None:
            self._wake()
        elif self._next is None and not self._ended:
            self._step()  # the reactor found the socket writable: this is a turn of its own

    def stopProducing(self) -> None:  # noqa: N802
        """The client has gone."""
        self._end(complete=False)

    def _is_short(self) -> bool:
        return self.last is not None and self.last - self.first < EAGER and self.source.finished

    def _wake(self) -> None:
        if self._next is None and not self._paused and not self._ended:
            self._next = self.clock.callLater(0, self._step)

    def _step(self) -> None:
        self._next = None
        if self._paused:
            return
        try:
            going_on = self._send_piece()
        except (ConnectionError, TimeoutError):
            self._break()
            return
        except Exception:
            _log.failure("A body could not be read")
            self._break()
            return
        if going_on:
            self._wake()

    def _send_piece(self) -> bool:
        """Send what can be sent now; whether there may be more at once."""
        if self.source.failure is not None:
            self._break()
            return False
        # Asked before reading: what is written in between would be taken for missing.
        finished = self.source.finished
        sent = self._send_some()
        self._position += sent
        if self.last is not None and self._position > self.last:
            self._complete()
            return False
        if not sent and finished and not self._paused:
            self._complete() if self.last is None else self._break()
        return sent > 0

    def _send_some(self) -> int:
        """Hand a piece to the connection; how many bytes that were. None when it is full or there is nothing (yet)."""
        left = None if self.last is None else self.last - self._position + 1
        if self._transport is not None and (sent := self._send_through(self._transport, left)) is not None:
            return sent
        data = self.source.read(self._position, PIECE if left is None else min(PIECE, left)) if left != 0 else b""
        if data:
            self.request.write(data)  # type: ignore[no-untyped-call]
        return len(data)

    def _send_through(self, transport: CacheTransport, left: int | None) -> int | None:
        """Let the transport send what comes next, how much of it it did; None for what is neither file nor memory."""
        if isinstance(self.source, MemorySource):
            view = self.source.view(self._position, left)
            size, sent = len(view), transport.send_bytes(view)
        elif (extent := self.source.extent(self._position)) is not None:
            size = extent.size if left is None else min(extent.size, left)
            sent = transport.send_file(extent.fileno, extent.offset, size)
        else:
            return None
        if sent < size and not self._paused:
            self.pauseProducing()  # not registered yet, so the channel didn't pass it on
        return sent

    def _complete(self) -> None:
        if not self._ended:
            self.request.unregisterProducer()  # type: ignore[no-untyped-call]
            # Ended first: finishing tells the channel, which may begin the next request.
            self._end(complete=True)
            self.request.finish()  # type: ignore[no-untyped-call]

    def _look(self) -> None:
        """Has the client taken anything since? Looked at once in a while, as most pauses are over in no time."""
        self._stall = None
        if self._paused and not self._ended:
            left = self._paused_at + STALL - self.clock.seconds()
            if left <= 0:
                self._break()
            else:
                self._stall = self.clock.callLater(left, self._look)

    def _break(self) -> None:
        if not self._ended:
            self.request.unregisterProducer()  # type: ignore[no-untyped-call]
            self._end(complete=False)
            self.request.abort()

    def _end(self, *, complete: bool) -> None:
        if self._ended:
            return
        self._ended = True
        _cancel(self._next)
        _cancel(self._stall)
        self.source.close()
        self.done(self._position - self.first, complete)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def pieces_of(source: ByteSource, length: int) -> Iterator[bytes]:
    """The `length` bytes of a source at rest, which stays open. Raises `LookupError` when fewer are there."""
    position = 0
    while position < length and (piece := source.read(position, min(PIECE, length - position))):
        yield piece
        position += len(piece)
    if position < length:
        raise LookupError("the body is shorter than it was recorded")
