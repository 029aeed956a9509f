"""How long a connection may take, and how much it may have us hold: the channel below `site.CacheChannel`.

Laws: a request is here, body and all, within `REQUEST_TIMEOUT` of its first byte, however its bytes come; a connection
idles for the site's `timeOut` at most; a client that doesn't take its answers gets no further ones, so that pipelined
requests can't fill memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web import http

REQUEST_TIMEOUT = 30.0
"""Seconds from the first byte of a request to its last."""

UNREAD_TIMEOUT = 300.0
"""Seconds for which a client with a further request may leave its answers unread."""

LINGER = 15.0
"""Seconds in which what was written before a connection is closed can still go out."""


class PatientChannel(http.HTTPChannel):
    """A connection with deadlines, known to its site's `admission`."""

    site: Any

    receiving = False
    """Whether a part of a request is here."""

    _answering = False
    _blocked = False
    _held: Any = None
    _linger: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """With the first byte of a request its time begins."""
        first = not (self.receiving or self._answering)
        self.receiving = self.receiving or first
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if first and self.receiving:  # most requests come in one piece, and need no timer
            # A new one: to move a timer forward costs a search among those of all connections.
            self.setTimeout(None)  # type: ignore[no-untyped-call]
            self.setTimeout(REQUEST_TIMEOUT)  # type: ignore[no-untyped-call]

    def resetTimeout(self) -> None:  # noqa: N802
        """Further bytes earn no further time."""

    def allContentReceived(self) -> None:  # noqa: N802
        """A request is here."""
        self.receiving, self._answering = False, True
        self.site.admission.busy(self)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:  # noqa: N802
        """A request is answered; the next may be here already."""
        self._answering = False
        self.site.admission.idle(self)
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if not (self.receiving or self._answering) and self.timeOut != self.site.timeOut:
            self.setTimeout(self.site.timeOut)  # type: ignore[no-untyped-call]

    def hold(self, request: Any) -> bool:
        """Whether the request has to wait until the client takes what it has been sent; it is processed again then."""
        if self._blocked:
            self._held = request
            self.setTimeout(UNREAD_TIMEOUT)  # type: ignore[no-untyped-call]
        return self._blocked

    def pauseProducing(self) -> None:  # noqa: N802
        """The transport's buffer is full."""
        self._blocked = True
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:  # noqa: N802
        """The transport's buffer is empty."""
        self._blocked = False
        super().resumeProducing()  # type: ignore[no-untyped-call]
        held, self._held = self._held, None
        if held is not None:
            self.setTimeout(None)  # type: ignore[no-untyped-call]
            held.process()

    def dismiss(self) -> None:
        """Close. What was written already has `LINGER` seconds to go out."""
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        if self._linger is None:
            self._linger = self.callLater(LINGER, self._cut)  # type: ignore[no-untyped-call]
        self.loseConnection()  # type: ignore[no-untyped-call]

    def _cut(self) -> None:
        self._linger = None
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: N802
        """Nothing waits any more."""
        self._held, self.receiving = None, False
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
