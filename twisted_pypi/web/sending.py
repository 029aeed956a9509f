"""Sending the bytes of a `ByteSource` to one client, at that client's pace.

Laws: at most one piece is in memory at a time; every piece is a reactor turn of its own, so that a fast client on a
fast disk starves nobody; the source is closed in the end, whatever happens; a body that stays incomplete ends in a
broken connection, never in one that looks whole.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from twisted_pypi.answers import ByteSource
from twisted_pypi.web.site import CacheRequest

PIECE = 256 << 10
"""Bytes read and written at a time."""

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
    _position: int = field(init=False)
    _paused: bool = False
    _ended: bool = False
    _next: IDelayedCall | None = None
    _stall: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        self._position = self.first

    def start(self) -> None:
        """Begin. Returns before anything is sent."""
        self.request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self.request.registerProducer(self, True)  # type: ignore[no-untyped-call]
        self.source.subscribe(self._wake)
        self._wake()

    def pauseProducing(self) -> None:  # noqa: N802
        """The client's buffers are full."""
        self._paused = True
        if self._stall is None and not self._ended:
            self._stall = self.clock.callLater(STALL, self._stalled)

    def resumeProducing(self) -> None:  # noqa: N802
        """The client takes more."""
        self._paused = False
        _cancel(self._stall)
        self._stall = None
        self._wake()

    def stopProducing(self) -> None:  # noqa: N802
        """The client has gone."""
        self._end(complete=False)

    def _wake(self) -> None:
        if self._next is None and not self._paused and not self._ended:
            self._next = self.clock.callLater(0, self._step)

    def _step(self) -> None:
        self._next = None
        if self._paused:
            return
        try:
            going_on = self._send_piece()
        except Exception:
            _log.failure("A body could not be read")
            self._break()
            return
        if going_on:
            self._wake()

    def _send_piece(self) -> bool:
        """Send what can be read now; whether there may be more at once."""
        if self.source.failure is not None:
            self._break()
            return False
        # Asked before reading: what is written in between would be taken for missing.
        finished = self.source.finished
        wanted = PIECE if self.last is None else min(PIECE, self.last - self._position + 1)
        data = self.source.read(self._position, wanted) if wanted > 0 else b""
        if data:
            self._position += len(data)
            self.request.write(data)  # type: ignore[no-untyped-call]
        if self.last is not None and self._position > self.last:
            self._complete()
            return False
        if not data and finished:
            self._complete() if self.last is None else self._break()
        return bool(data)

    def _complete(self) -> None:
        if not self._ended:
            self.request.unregisterProducer()  # type: ignore[no-untyped-call]
            # Ended first: finishing tells the channel, which may begin the next request.
            self._end(complete=True)
            self.request.finish()  # type: ignore[no-untyped-call]

    def _stalled(self) -> None:
        self._stall = None
        self._break()

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


def read_whole(source: ByteSource, length: int) -> bytes:
    """The `length` bytes of a source at rest, which is closed then.

    Raises `LookupError` when fewer are there.
    """
    try:
        pieces = []
        position = 0
        while position < length and (piece := source.read(position, min(PIECE, length - position))):
            pieces.append(piece)
            position += len(piece)
    finally:
        source.close()
    if position < length:
        raise LookupError("the body is shorter than it was recorded")
    return b"".join(pieces)
