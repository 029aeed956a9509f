"""Connections to upstreams: judged addresses, TLS finished before it counts as connected, closing without waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from twisted_pypi.fetching.addresses import JudgedReactor, JudgingResolver
from twisted_pypi.fetching.proxies import Proxy
from twisted_pypi.fetching.reasons import HeadTooLarge
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.tunnel import TunnelEndpoint
from twisted_pypi.urls import Origin

READ_BUFFER = 256 << 10
MAX_HEAD = 64 << 10
"""Bytes that may come before the end of an answer's headers."""

ATTEMPT_DELAY = 0.1
"""Seconds until the next address is tried beside the last (RFC 8305, 8: at least 0.1). A lone address that refuses
costs as much."""


@implementer(IHandshakeListener)
class Connection(ProtocolWrapper):
    """A connection below Twisted's HTTP client protocol.

    To close it is to abort it: an upstream that is still sending, or that doesn't answer a TLS goodbye, would keep a
    descriptor otherwise, and there is never anything of ours left to be sent.
    """

    _secured = False
    _waiting: Deferred[None] | None = None
    _lost: Failure | None = None
    _head: int | None = None
    """Bytes of an answer whose headers have not ended; None when none is awaited."""

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """The TCP connection is there."""
        below: Any = transport
        if ISSLTransport.providedBy(transport):
            below = below.transport
        below.bufferSize = READ_BUFFER
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def writeSequence(self, data: Sequence[bytes]) -> None:  # noqa: N802
        """A request goes out."""
        self._head = 0
        super().writeSequence(data)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Upstream sent something: no more than `MAX_HEAD` before its headers end, Twisted would keep it all."""
        if self._head is not None:
            self._head += len(data)
        super().dataReceived(data)  # type: ignore[no-untyped-call]
        if self._head is not None and self._head > MAX_HEAD:
            self.loseConnection()

    def pauseProducing(self) -> None:  # noqa: N802
        """The headers have ended: Twisted's client waits here until somebody takes the body."""
        self._head = None
        cast(Any, self.transport).pauseProducing()

    def handshakeCompleted(self) -> None:  # noqa: N802
        """The TLS connection is there too, and whom it leads to was verified."""
        self._secured = True
        self._tell(None)

    def secured(self) -> Deferred[None]:
        """Fires when the TLS handshake is done, or fails with why the connection was lost."""
        waiting: Deferred[None] = Deferred(lambda _: self.loseConnection())
        if self._lost is not None:
            waiting.errback(self._lost)
        elif self._secured:
            waiting.callback(None)
        else:
            self._waiting = waiting
        return waiting

    def loseConnection(self) -> None:  # noqa: N802
        """Abort."""
        self.disconnecting = 1
        cast(Any, self.transport).abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """See `IProtocol`."""
        if self.disconnecting and (self._head or 0) > LineReceiver.MAX_LENGTH:
            reason = Failure(HeadTooLarge())  # type: ignore[no-untyped-call]
        self._lost = reason
        self._tell(reason)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def _tell(self, outcome: Failure | None) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(cast(None, outcome))


class _ConnectionFactory(WrappingFactory):
    protocol = Connection
    noisy = False


@define(eq=False)
class Dial:
    """How one request connects, if no connection is at hand, and what came of it.

    `connecting` and `connected` are called when it begins and ends. `permits` judges addresses; those in `avoid` are
    tried last. Where there is a `proxy`, these are its addresses: the origin's are its own business. Afterwards
    `refused` are the host's addresses if none is permitted, `peer` is the one connected to. `pending`: between the two.
    """

    reactor: Any
    tls: TlsPolicy
    timeout: float
    permits: Callable[[str], bool]
    connecting: Callable[[], None]
    connected: Callable[[], None]
    avoid: tuple[str, ...] = ()
    proxy: Proxy | None = None
    pending: bool = field(default=False, init=False)
    refused: list[str] = field(factory=list, init=False)
    peer: str = field(default="", init=False)

    async def connect(self, origin: Origin, factory: IProtocolFactory) -> IProtocol:
        """A ready connection to `origin`, TLS included for https. Raises what the endpoint or TLS raises."""
        self.pending = True
        self.connecting()
        via = origin if self.proxy is None else self.proxy.origin
        resolver = JudgingResolver(self.reactor.nameResolver, self.permits, self.avoid, self.refused)
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            JudgedReactor(self.reactor, resolver), via.host, via.port, self.timeout, attemptDelay=ATTEMPT_DELAY
        )
        if origin.scheme == "https":
            if self.proxy is not None:
                endpoint = TunnelEndpoint(endpoint, origin, self.proxy)
            endpoint = wrapClientTLS(self.tls.creator_for(origin), endpoint, self.reactor)
        wrapping: Any = _ConnectionFactory
        connection: Any = await endpoint.connect(wrapping(factory))
        self.peer = str(getattr(connection.getPeer(), "host", ""))
        if origin.scheme == "https":
            await connection.secured()
        self.pending = False
        self.connected()
        return cast(IProtocol, connection.wrappedProtocol)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _Endpoint:
    dial: Dial
    origin: Origin

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return Deferred.fromCoroutine(self.dial.connect(self.origin, protocolFactory))

    def __repr__(self) -> str:
        return f"<{self.origin}>"


@implementer(IAgentEndpointFactory)
@define(eq=False)
class DialingFactory:
    """Makes an `Agent` connect by way of one `Dial`."""

    dial: Dial

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802
        """See `IAgentEndpointFactory`."""
        return _Endpoint(self.dial, Origin(uri.scheme.decode("ascii"), uri.host.decode("ascii"), uri.port))


@implementer(IStreamClientEndpoint)
@define(eq=False)
class _ProxyEndpoint:
    """The proxy that requests for http URLs go to. Equal ones share their kept connections (see `ProxyAgent`)."""

    dial: Dial
    proxy: Proxy
    origin: Origin

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return Deferred.fromCoroutine(self.dial.connect(self.origin, protocolFactory))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ProxyEndpoint) and self.proxy == other.proxy

    def __hash__(self) -> int:
        return hash(self.proxy)


def agent_for(reactor: Any, dial: Dial, origin: Origin, pool: HTTPConnectionPool) -> IAgent:
    """What sends a request to `origin` on a connection of the pool, or one that `dial` makes.

    To a proxy, requests for http URLs go in absolute form (RFC 9112, 3.2.2).
    """
    if dial.proxy is not None and origin.scheme == "http":
        endpoint = _ProxyEndpoint(dial, dial.proxy, origin)
        return cast(IAgent, ProxyAgent(endpoint, reactor, pool))  # type: ignore[no-untyped-call]
    return cast(IAgent, Agent.usingEndpointFactory(reactor, DialingFactory(dial), pool))  # type: ignore[no-untyped-call]
