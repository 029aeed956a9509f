"""One request and the headers of its answer, on a pooled or a fresh connection, within our own times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.addresses import is_global
from twisted_pypi.fetching.connecting import Dial, DialingFactory
from twisted_pypi.fetching.reasons import Trouble, cancelled, explain
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.urls import origin_of, without_secrets

_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
CACHED_CONNECTION = 60


@frozen
class Message:
    """What goes over the wire, and on which connections.

    `any_address`: the address need not be a globally routable one. `tls`: who is believed to be the server.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    any_address: bool
    tls: TlsPolicy


@define(eq=False)
class _Watch:
    """One timer for the phase that a request is in. When it is over the request is cancelled."""

    clock: Any
    expired: str = field(default="", init=False)
    _request: Deferred[IResponse] | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def phase(self, seconds: float, complaint: str) -> None:
        """A new phase begins that may take so long."""
        self.stop()
        self._timer = self.clock.callLater(seconds, self._expire, f"{complaint} within {seconds:g} s")

    def guard(self, request: Deferred[IResponse]) -> Deferred[IResponse]:
        """Watch this request."""
        self._request = request
        return request

    def stop(self) -> None:
        """No more watching."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _expire(self, complaint: str) -> None:
        self.expired = complaint
        if self._request is not None:
            self._request.cancel()


class Exchanger:
    """Sends requests. A pool knows names only, so there is one for each way in which a connection came to be trusted:
    whether its address was judged, and by whose `TlsPolicy` the server was believed."""

    def __init__(self, reactor: Any, connect_timeout: float, read_timeout: float, kept: int) -> None:
        self._reactor = reactor
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._kept = kept
        self._pools: dict[tuple[bool, TlsPolicy], HTTPConnectionPool] = {}

    async def send(self, message: Message) -> IResponse:
        """The answer's headers; its body waits to be delivered.

        What was refused, reset or closed before the headers is tried once more, on a fresh connection and if possible
        at another of the host's addresses. Raises `UpstreamFailed`.
        """
        watch = _Watch(self._reactor)
        first = self._dial(message, watch)
        outcome = await self._try(message, first, watch, self._pool(message))
        if isinstance(outcome, Trouble) and outcome.again:
            second = self._dial(message, watch, avoid=(first.peer,))
            outcome = await self._try(message, second, watch, _new_pool(self._reactor, False))
        if isinstance(outcome, Trouble):
            raise UpstreamFailed(outcome.reason, without_secrets(message.url), unreachable=outcome.unreachable)
        return outcome

    async def close(self) -> None:
        """Close the idle connections."""
        for pool in list(self._pools.values()):
            await pool.closeCachedConnections()  # type: ignore[no-untyped-call]

    def _pool(self, message: Message) -> HTTPConnectionPool:
        key = (message.any_address, message.tls)
        if key not in self._pools:
            self._pools[key] = _new_pool(self._reactor, True, self._kept)
        return self._pools[key]

    async def _try(self, message: Message, dial: Dial, watch: _Watch, pool: HTTPConnectionPool) -> IResponse | Trouble:
        agent: IAgent = Agent.usingEndpointFactory(self._reactor, DialingFactory(dial), pool)  # type: ignore[no-untyped-call]
        headers = Headers({name: [value] for name, value in message.headers.items()})
        watch.phase(self._read_timeout, "no answer")
        try:
            request = agent.request(message.method.encode("ascii"), wire_url(message.url), headers)
            return await watch.guard(request)
        except Exception as error:
            if watch.expired:
                return Trouble(watch.expired)
            if cancelled(error):
                raise CancelledError from error
            if dial.refused and not dial.peer:
                return Trouble(f"forbidden address {dial.refused[0]}", unreachable=False)
            return explain(error)
        finally:
            watch.stop()

    def _dial(self, message: Message, watch: _Watch, avoid: tuple[str, ...] = ()) -> Dial:
        return Dial(
            self._reactor,
            message.tls,
            self._connect_timeout,
            permits=_any if message.any_address else is_global,
            connecting=lambda: watch.phase(self._connect_timeout, "no connection"),
            connected=lambda: watch.phase(self._read_timeout, "no answer"),
            avoid=avoid,
        )


def _new_pool(reactor: Any, persistent: bool, kept: int = 0) -> HTTPConnectionPool:
    pool = HTTPConnectionPool(reactor, persistent)  # type: ignore[no-untyped-call]
    pool.maxPersistentPerHost = kept
    pool.cachedConnectionTimeout = CACHED_CONNECTION
    pool.retryAutomatically = False
    return pool


def wire_url(url: str) -> bytes:
    """The URL as it is asked for: the host in ASCII, the port always there, what no URL may hold percent-encoded."""
    origin, parts = origin_of(url), urlsplit(url)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    path = quote(parts.path, safe=_VISIBLE) or "/"
    query = f"?{quote(parts.query, safe=_VISIBLE)}" if parts.query else ""
    return f"{origin.scheme}://{host}:{origin.port}{path}{query}".encode("ascii")


def _any(address: str) -> bool:
    return True
