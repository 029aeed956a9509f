"""One client's connection at a worker. It idles, or is being sent an answer from memory: what else comes is passed on.

Laws: while the client leaves an answer unread, nothing more is read from it; so there is never a request here, and what
is passed on has everything written that was answered before it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pypi.web.deadlines import RECENT
from twisted_pypi.web.patience import LINGER, UNREAD_TIMEOUT
from twisted_pypi.web.site import KEEP_ALIVE
from twisted_pypi.web.transport import CacheTransport

if TYPE_CHECKING:
    from twisted_pypi.processes.worker import Worker


@implementer(IPushProducer)
class Door(Protocol):
    """A connection, known to its worker's `admission`, whose deadlines a sweeper looks after."""

    transport: CacheTransport

    deadline = math.inf
    """When it has idled, or left an answer unread, for too long; by the reactor's clock."""

    client: str | None = None
    """Whose it is, if the worker may answer; to be asked again when the rules change."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._peer = ""
        self._seated = False
        self._paused = False

    def connectionMade(self) -> None:  # noqa: N802
        """Begin."""
        # None for a connection that ended before it was accepted.
        peer: Any = self.transport.getPeer()  # type: ignore[no-untyped-call]
        self._peer = str(getattr(peer, "host", ""))
        self._seated = self._worker.admission.enter(self, self._peer)
        self.setTimeout(KEEP_ALIVE)
        self._worker.opened(self)
        self.transport.registerProducer(self, True)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Answer, or pass the connection on. Whoever finds no seat here may find one at the owner's."""
        worker = self._worker
        if self.client is None and self._seated:
            self.client = worker.leases.client_of(self._peer)
        pieces = None if self.client is None else worker.leases.again(data, self.client)
        if pieces is None:
            worker.pass_on(self.transport.detach(), data)
            return
        worker.admission.answered(self)
        self.setTimeout(KEEP_ALIVE)
        self.transport.writeSequence(pieces)
        self.transport.wait_until_sent()

    def pauseProducing(self) -> None:  # noqa: N802
        """The client doesn't take what was written."""
        if not self._paused:
            self._paused = True
            self.transport.stopReading()  # type: ignore[no-untyped-call]
            self.setTimeout(UNREAD_TIMEOUT)
            self._worker.admission.busy(self)

    def resumeProducing(self) -> None:  # noqa: N802
        """It has taken all."""
        if self._paused:
            self._paused = False
            self.transport.startReading()  # type: ignore[no-untyped-call]
            self.setTimeout(KEEP_ALIVE)
            self._worker.admission.idle(self)

    def stopProducing(self) -> None:  # noqa: N802
        """The connection ends."""

    def setTimeout(self, period: float | None) -> None:  # noqa: N802
        """Idle `period` seconds from now at most, None: for ever."""
        self.deadline = math.inf if period is None else self._worker.reactor.seconds() + period

    def timeoutConnection(self) -> None:  # noqa: N802
        """The deadline has passed."""
        if self._paused:
            self.transport.abortConnection()  # type: ignore[no-untyped-call]
        else:
            self.dismiss()

    def leave(self) -> None:
        """The worker ends: the owner has this one if its next request may be under way; else it is closed."""
        rested = self._worker.reactor.seconds() + KEEP_ALIVE - self.deadline
        if self._paused or rested >= RECENT:
            self.dismiss()
        else:
            self._worker.pass_on(self.transport.detach(), b"")

    def dismiss(self) -> None:
        """Close, once what was written has gone out; that may take `LINGER` seconds."""
        paused, self._paused = self._paused, True  # so that it is not read from again
        self.transport.unregisterProducer()  # type: ignore[no-untyped-call]
        self.transport.stopReading()  # type: ignore[no-untyped-call]
        self.transport.loseConnection()  # type: ignore[no-untyped-call]
        self.setTimeout(LINGER if paused or not self.transport.flushed else None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """End."""
        self._worker.closed(self)
