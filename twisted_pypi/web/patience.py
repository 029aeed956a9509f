"""How long a connection may take, and how much it may have us hold: the channel below `strictness.StrictChannel`.

Laws: a request is here, body and all, within `REQUEST_TIMEOUT` of its first byte, however its bytes come; a connection
idles for the site's `timeOut` at most; a client that doesn't take its answers gets no further ones, so that pipelined
requests can't fill memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from twisted_pypi.web.deadlines import SweptChannel

REQUEST_TIMEOUT = 30
"""Seconds from the first byte of a request to its last."""

UNREAD_TIMEOUT = 300
"""Seconds for which a client may leave its answers unread."""

LINGER = 15.0
"""Seconds in which what was written before a connection is closed can still go out."""


class PatientChannel(SweptChannel):
    """A connection with deadlines, known to its site's `admission`."""

    receiving = False
    """Whether a part of a request is here."""

    _answering = False
    _full = False
    _cut: IDelayedCall | None = None

    @property
    def peer(self) -> str:
        """The address at the other end, "" on a UNIX socket."""
        return str(getattr(self.getPeer(), "host", ""))  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """With the first byte of a request its time begins."""
        first = not (self.receiving or self._answering or self.paused)
        self.receiving = self.receiving or first
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if first and self.receiving:
            self.setTimeout(REQUEST_TIMEOUT)

    def allContentReceived(self) -> None:  # noqa: N802
        """A request is here."""
        self.receiving, self._answering = False, True
        self.site.admission.busy(self)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:  # noqa: N802
        """A request is answered. While the buffer is full, those that wait behind it go on waiting."""
        self._answering = False
        self.site.admission.idle(self)
        self.paused = self._full
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self._full:
            # While a request was being answered, this did not stop reading.
            super().pauseProducing()  # type: ignore[no-untyped-call]
        self._rest()

    def pauseProducing(self) -> None:  # noqa: N802
        """The transport's buffer is full."""
        self._full = True
        super().pauseProducing()  # type: ignore[no-untyped-call]
        self._rest()

    def resumeProducing(self) -> None:  # noqa: N802
        """The transport's buffer has room again."""
        self._full = False
        super().resumeProducing()  # type: ignore[no-untyped-call]
        self._rest()
        if self.paused:
            self.paused = False
            waiting = self.clearLineBuffer()  # type: ignore[no-untyped-call]
            if waiting:
                self.dataReceived(waiting)

    def _rest(self) -> None:
        """Nothing is being asked or answered: from now on the connection idles."""
        if not (self.receiving or self._answering or self._cut):
            self.setTimeout(UNREAD_TIMEOUT if self._full else self.site.timeOut)

    def dismiss(self) -> None:
        """Close. What was written already has `LINGER` seconds to go out."""
        self.cut_after(LINGER)
        self.loseConnection()  # type: ignore[no-untyped-call]

    def cut_after(self, seconds: float) -> None:
        """Nothing more is waited for; unless the connection is closed before, it is broken off in so many seconds."""
        self.receiving = False
        self.setTimeout(None)
        if self._cut is None:
            transport: Any = self.transport
            self._cut = self.callLater(seconds, transport.abortConnection)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """Nothing waits any more."""
        self.receiving = False
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
