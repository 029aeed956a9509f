"""The HTTP server below the resource: twisted.web's channel and request, made slim.

- HTTP/1.1 only (no h2 switch), no twistd access log; `strictness` says which requests come this far.
- An answer's head is one ready-made block of bytes, written at once with a small body.
- The site knows its connections, so that the service can end the idle ones and wait for the others.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import IResource
from twisted.web.server import Site

from twisted_pypi.http.dates import http_date
from twisted_pypi.interfaces import Observer
from twisted_pypi.web.strictness import StrictChannel

KEEP_ALIVE = 120
"""Seconds that a connection may idle: more than the 90 s that uv keeps its own."""

_NO_BODY = frozenset(http.NO_BODY_CODES)
_JOINED = 1 << 16  # up to here a copy costs less than a second write


class CacheRequest(http.Request):
    """One request and its answer, written with `begin`, `write` and `finish`."""

    channel: Any
    transport: Any

    received = False
    """Whether the whole request is here and is being answered."""

    def __init__(self, channel: CacheChannel, queued: object = False) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)

    @property
    def gone(self) -> bool:
        """Whether the client closed the connection. Not to be asked after `finish`."""
        return self.channel is None

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """The headers are in. The channel drops the body: there is never any content."""
        self.content = io.BytesIO()

    def process(self) -> None:
        """The request is complete: hand it to the site's resource."""
        self.received = True
        self.channel.site.resource.render(self)

    def begin(self, status: int, reason: bytes, lines: bytes, body: bytes = b"", *, sized: bool = True) -> None:
        """Write the head: status line, the header `lines` (each with its CRLF) and those that every answer has.

        `body` goes out with it. `sized`: the end of the body is told by a Content-Length among the lines, or there is
        none; else it is chunked for HTTP/1.1 and ended by the connection for HTTP/1.0.
        """
        channel = self.channel
        site = channel.site
        # After a request that isn't proper, what follows on the connection may not be what it seems.
        if site.draining or status == http.BAD_REQUEST:
            channel.persistent = 0
        self.startedWriting = 1
        self.chunked = int(not sized and self.clientproto == b"HTTP/1.1" and self.method != b"HEAD")
        head = b"HTTP/1.1 %d %s\r\n%s%s%s%s\r\n" % (
            status,
            reason,
            site.common_lines(),
            lines,
            b"" if channel.persistent else b"Connection: close\r\n",
            b"Transfer-Encoding: chunked\r\n" if self.chunked else b"",
        )
        self.sentLength = len(body)
        channel.writeSequence((head, body) if len(body) > _JOINED else (head + body,))

    def abort(self) -> None:
        """Break the connection off, so that the client can't take what it has for the whole."""
        self.transport.abortConnection()


class CacheChannel(StrictChannel):
    """One connection of a client."""

    requestFactory: Any = CacheRequest  # noqa: N815
    site: CacheSite

    def connectionMade(self) -> None:  # noqa: N802
        """Begin: the site takes note of the connection."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.site.channels.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """End: the requests under way learn that their client has gone."""
        super().connectionLost(reason)
        self.site.forget(self)


class CacheSite(Site):
    """The factory of client connections. `resource.render(request)` answers every request, whatever its path."""

    protocol = CacheChannel  # type: ignore[assignment]
    displayTracebacks = False  # noqa: N815
    noisy = False

    def __init__(self, resource: IResource, reactor: IReactorTime, observer: Observer) -> None:
        super().__init__(resource, CacheRequest, timeout=KEEP_ALIVE, reactor=reactor)  # type: ignore[no-untyped-call]
        self.observer = observer
        self.channels: set[CacheChannel] = set()
        self.draining = False
        self._waiters: list[Deferred[None]] = []

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802
        """What ALPN offers."""
        return [b"http/1.1"]

    def startFactory(self) -> None:  # noqa: N802
        """Nothing to begin: twisted.web would open its access log here."""

    def stopFactory(self) -> None:  # noqa: N802
        """Nothing to end."""

    def log(self, request: http.Request) -> None:
        """Write nothing: the access log observes `events.Served`."""

    def common_lines(self) -> bytes:
        """The header lines of every answer."""
        return _common(int(self.reactor.seconds()))

    @property
    def busy(self) -> int:
        """How many connections are being answered."""
        return sum(not channel.idle for channel in self.channels)

    def drain(self) -> None:
        """Close idle connections now, and each other one after its answer, which says `Connection: close`."""
        self.draining = True
        for channel in tuple(self.channels):
            channel.persistent = 0
            if channel.idle:
                channel.loseConnection()  # type: ignore[no-untyped-call]

    def when_closed(self) -> Deferred[None]:
        """Fires when there is no connection (any more)."""
        done: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(done)
        self._tell_waiters()
        return done

    def abort(self) -> None:
        """Break all connections off."""
        for channel in tuple(self.channels):
            transport: Any = channel.transport
            transport.abortConnection()

    def forget(self, channel: CacheChannel) -> None:
        """The connection is closed."""
        self.channels.discard(channel)
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        while self._waiters and not self.channels:
            self._waiters.pop().callback(None)


@lru_cache(maxsize=4)
def _common(second: int) -> bytes:
    """The header lines of every answer. `Server` tells no versions."""
    return f"Server: pypicache\r\nDate: {http_date(second)}\r\nX-Content-Type-Options: nosniff\r\n".encode("ascii")
