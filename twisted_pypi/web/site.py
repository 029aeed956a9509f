"""The HTTP server below the resource: twisted.web's channel and request, made slim.

- HTTP/1.1 only (no h2 switch), no twistd access log; `strictness` says which requests come this far.
- An answer's head is one ready-made block of bytes, written at once with a small body.
- The site knows its connections, so that the service can end the idle ones and wait for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http import BAD_REQUEST
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface import implementer

from twisted_pypi.http.dates import http_date
from twisted_pypi.http.request_head import Refused
from twisted_pypi.interfaces import Observer
from twisted_pypi.web.admission import Admission
from twisted_pypi.web.deadlines import RECENT, Sweeper
from twisted_pypi.web.patience import REQUEST_TIMEOUT
from twisted_pypi.web.repeating import RepeatingChannel, Repeats

KEEP_ALIVE = 120
"""Seconds that a connection may idle: more than the 90 s that uv keeps its own."""

_JOINED = 1 << 16  # up to here a copy costs less than a second write


class CacheRequest(http.Request):
    """One request and its answer, written with `begin`, `write` and `finish`."""

    channel: Any
    transport: Any

    received = False
    """Whether the whole request is here and is being answered."""

    fields: Mapping[str, str] = MappingProxyType({})
    """The header lines by lower-case name, repeated ones joined (`RequestHead`). `requestHeaders` stays empty."""

    _whole = False

    def __init__(self, channel: CacheChannel, queued: object = False) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        channel.addresses = self.client, self.host

    @property
    def head(self) -> bytes:
        """All bytes of the request, where the same bytes on any connection are the same request; else b""."""
        plain = self._whole and self.channel.persistent and "expect" not in self.fields
        return self.channel.head if plain else b""

    @property
    def gone(self) -> bool:
        """Whether the client closed the connection. Not to be asked after `finish`."""
        return self.channel is None

    def isSecure(self) -> bool:  # noqa: N802
        """Whether the connection is encrypted."""
        return bool(self.channel.secure)

    def parseCookies(self) -> None:  # noqa: N802
        """Nobody asks for cookies."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """The request is complete; neither form nor query are looked at here."""
        self.method, self.uri, self.clientproto = command, path, version
        self.process()

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """The headers are in. The channel drops the body: there is never any content."""
        self._whole = not self.channel.has_body

    def process(self) -> None:
        """The request is complete: hand it to the site's resource."""
        self.received = True
        self.channel.resource.render(self)

    def begin(self, status: int, reason: bytes, lines: bytes, body: bytes = b"", *, sized: bool = True) -> None:
        """Write the head: status line, the header `lines` (each with its CRLF) and those that every answer has.

        `body` goes out with it. `sized`: the end of the body is told by a Content-Length among the lines, or there is
        none; else it is chunked for HTTP/1.1 and ended by the connection for HTTP/1.0.
        """
        channel = self.channel
        site = channel.site
        # After a request that isn't proper, what follows on the connection may not be what it seems.
        if site.draining or status == BAD_REQUEST:
            channel.persistent = 0
        self.startedWriting = 1
        self.chunked = int(not sized and self.clientproto == b"HTTP/1.1" and self.method != b"HEAD")
        if not channel.persistent:
            lines += b"Connection: close\r\n"
        if self.chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        head = response_head(status, reason, lines, int(site.wall.seconds()))
        self.sentLength = len(body)
        channel.writeSequence((head, body) if len(body) > _JOINED else (head + body,))

    def abort(self) -> None:
        """Break the connection off, so that the client can't take what it has for the whole."""
        self.transport.abortConnection()


@implementer(IHandshakeListener)
class CacheChannel(RepeatingChannel):
    """One connection of a client, whose requests `resource` answers."""

    requestFactory: Any = CacheRequest  # noqa: N815
    site: CacheSite

    addresses: tuple[Any, Any] | None = None
    """Those of the client and of this end, once there was a request: not sooner, because of the PROXY protocol."""

    @cached_property
    def secure(self) -> bool:
        """Whether it is encrypted."""
        return ISSLTransport.providedBy(self.transport)

    def getPeer(self) -> Any:  # noqa: N802
        """The client's address."""
        return self.addresses[0] if self.addresses else super().getPeer()  # type: ignore[no-untyped-call]

    def getHost(self) -> Any:  # noqa: N802
        """This end's address."""
        return self.addresses[1] if self.addresses else super().getHost()  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:  # noqa: N802
        """Close it, after the answer that is being sent if there is one: cut short it might look whole."""
        if self.requests and self.requests[0].startedWriting:
            self.persistent = 0
        else:
            super().loseConnection()  # type: ignore[no-untyped-call]
            if self.secure:
                # TLS's own end has been sent. Clients that keep a connection for later don't look for it, and need not
                # answer it (RFC 8446, 6.1): who waits for that, waits for the whole grace at every restart.
                encrypted: Any = self.transport
                encrypted.transport.loseConnection()

    def connectionMade(self) -> None:  # noqa: N802
        """Begin: the site takes note of the connection."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.seated = self.site.admission.enter(self, self.peer)
        self.site.watch(self)
        if self.secure:
            self.setTimeout(REQUEST_TIMEOUT)  # until it is known that it speaks TLS

    def handshakeCompleted(self) -> None:  # noqa: N802
        """TLS is agreed upon; from now on it idles, or asks. See `IHandshakeListener`."""
        self._rest()

    @property
    def resource(self) -> Any:
        """What answers its requests."""
        return self.site.resource if self.seated else self.site.crowded

    def timeoutConnection(self) -> None:  # noqa: N802
        """Close a connection that idled, or whose request (408) or whose client takes too long."""
        if self.receiving:
            self.refuse(Refused(408, f"The request did not come within {REQUEST_TIMEOUT} seconds"))
            self.site.admission.turned_away(self.peer, "slow")
        else:
            self.dismiss()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """End: the requests under way learn that their client has gone."""
        super().connectionLost(reason)
        self.site.forget(self)


class CacheSite(Site):
    """The factory of client connections. `resource.render(request)` answers every request, whatever its path.

    `memo` answers those that it knows before they are parsed. `crowded` answers on connections that `admission` has no
    seat for. Deadlines follow `reactor`, dates `wall`.
    """

    protocol = CacheChannel  # type: ignore[assignment]
    displayTracebacks = False  # noqa: N815
    noisy = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        observer: Observer,
        *,
        wall: IReactorTime | None = None,
        admission: Admission | None = None,
        crowded: IResource | None = None,
        memo: Repeats | None = None,
    ) -> None:
        super().__init__(resource, CacheRequest, timeout=KEEP_ALIVE, reactor=reactor)  # type: ignore[no-untyped-call]
        self.observer = observer
        self.wall = wall or reactor
        self.admission = admission or Admission(observer, reactor)
        self.crowded = crowded or resource
        self.memo = memo
        self.channels: set[CacheChannel] = set()
        self._sweeper = Sweeper(reactor)
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
        return _common(int(self.wall.seconds()))

    @property
    def busy(self) -> int:
        """How many connections are being answered."""
        return sum(not channel.idle for channel in self.channels)

    def drain(self) -> None:
        """Close idle connections now, and each other one after its answer, which says `Connection: close`.

        One that is new or was used a moment ago does not idle: the next request may be under way.
        """
        self.draining = True
        for channel in tuple(self.channels):
            if not channel.idle:
                channel.persistent = 0
            elif channel.rested < RECENT:
                channel.expect_soon()
            else:
                channel.loseConnection()

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

    def watch(self, channel: CacheChannel) -> None:
        """The connection is open. It may be one that a worker had, which ends."""
        self.channels.add(channel)
        if self.draining:
            channel.expect_soon()
        self._sweeper.watch(channel)

    def forget(self, channel: CacheChannel) -> None:
        """The connection is closed."""
        self.channels.discard(channel)
        self._sweeper.forget(channel)
        self.admission.leave(channel)
        self._tell_waiters()

    def _tell_waiters(self) -> None:
        while self._waiters and not self.channels:
            self._waiters.pop().callback(None)


def response_head(status: int, reason: bytes, lines: bytes, second: int) -> bytes:
    """The head of an answer: status line, the header `lines` (each with its CRLF) and those that every answer has."""
    return b"HTTP/1.1 %d %s\r\n%s%s\r\n" % (status, reason, _common(second), lines)


@lru_cache(maxsize=4)
def _common(second: int) -> bytes:
    """The header lines of every answer. `Server` tells no versions."""
    return f"Server: pypicache\r\nDate: {http_date(second)}\r\nX-Content-Type-Options: nosniff\r\n".encode("ascii")
