"""A way through an HTTP proxy: CONNECT (RFC 9110, 9.3.6). What goes through it is between us and the origin."""

from __future__ import annotations

import re
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from twisted_pypi.fetching.proxies import Proxy
from twisted_pypi.urls import Origin

MAX_ANSWER = 16 << 10
"""Bytes that the head of a proxy's answer may have."""

USER_AGENT = "pypicache"

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: |\r?\n)")
_END = re.compile(rb"\r?\n\r?\n")


class ProxyRefused(Exception):
    """The proxy doesn't lead to the origin. Its message names the proxy without credentials."""


class _Tunnel(ProtocolWrapper):
    """Asks the proxy for a way; only then is there a connection for the wrapped protocol."""

    factory: Any

    def __init__(self, factory: Any, wrapped: IProtocol) -> None:
        super().__init__(factory, wrapped)
        self.opened: Deferred[None] = Deferred(lambda _: self.abortConnection())
        self._answer = b""
        self._open = False

    def makeConnection(self, transport: ITransport) -> None:  # noqa: N802
        """The proxy is there: ask it."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)  # type: ignore[no-untyped-call]
        self.factory.registerProtocol(self)
        transport.write(question(self.factory.origin, self.factory.proxy))

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """The proxy answers; later, the origin does."""
        if self._open:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
            return
        self._answer += data
        self._read()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """See `IProtocol`."""
        if self._open:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
            return
        self.factory.unregisterProtocol(self)
        self._fail("closed the connection instead of answering CONNECT")

    def abortConnection(self) -> None:  # noqa: N802
        """There is never anything left that is worth being sent."""
        transport: Any = self.transport
        transport.abortConnection()

    def _read(self) -> None:
        while not self.opened.called and (end := _END.search(self._answer)) is not None:
            status = _STATUS.match(self._answer)
            head, self._answer = end.end(), self._answer[end.end() :]
            if status is None or head > MAX_ANSWER:
                self._refuse("gave no proper answer to CONNECT")
            elif status[1][:1] != b"1":  # what is only interim has another after it (RFC 9110, 15.2)
                self._judge(int(status[1]))
        if not self.opened.called and len(self._answer) > MAX_ANSWER:
            self._refuse("gave no proper answer to CONNECT")

    def _judge(self, status: int) -> None:
        if status in (401, 407):  # tinyproxy says 401 to wrong ones
            self._refuse(wants_credentials(self.factory.proxy, status))
        elif not 200 <= status < 300:
            self._refuse(f"answered {status} to CONNECT")
        else:
            self._establish()

    def _establish(self) -> None:
        # A 2xx to CONNECT has no body, whatever its headers say: what follows comes out of the tunnel.
        self._open, rest, self._answer = True, self._answer, b""
        wrapped: Any = self.wrappedProtocol
        wrapped.makeConnection(self)
        self.opened.callback(None)
        if rest and self.wrappedProtocol is not None:
            wrapped.dataReceived(rest)

    def _refuse(self, what: str) -> None:
        self._fail(what)
        self.abortConnection()

    def _fail(self, what: str) -> None:
        self._answer = b""
        if not self.opened.called:
            self.opened.errback(ProxyRefused(f"the proxy {self.factory.proxy} {what}"))


class _TunnelFactory(WrappingFactory):
    protocol = _Tunnel
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, origin: Origin, proxy: Proxy) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.origin, self.proxy = origin, proxy


@implementer(IStreamClientEndpoint)
@define(eq=False)
class TunnelEndpoint:
    """`origin` by way of `proxy`, which `to_proxy` connects to."""

    to_proxy: IStreamClientEndpoint
    origin: Origin
    proxy: Proxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """See `IStreamClientEndpoint`. Fails with `ProxyRefused`; cancelling aborts the connection to the proxy."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        wrapping: Any = _TunnelFactory(factory, self.origin, self.proxy)
        tunnel: Any = await self.to_proxy.connect(wrapping)
        wrapped: IProtocol = tunnel.wrappedProtocol
        await tunnel.opened
        return wrapped


def wants_credentials(proxy: Proxy, status: int = 407) -> str:
    """What a 407 means."""
    return f"answered {status}: it {'does not take the' if proxy.headers else 'wants'} credentials"


def question(origin: Origin, proxy: Proxy) -> bytes:
    """The head by which the proxy is asked for a way (RFC 9110, 9.3.6)."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    target = f"{host}:{origin.port}"
    headers = {"Host": target, "User-Agent": USER_AGENT, **proxy.headers}
    lines = [f"CONNECT {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")
