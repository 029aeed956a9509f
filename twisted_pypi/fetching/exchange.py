"""One request and the headers of its answer, on a pooled or a fresh connection, within our own times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.web.client import HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.addresses import Reach
from twisted_pypi.fetching.connecting import Dial, agent_for
from twisted_pypi.fetching.proxies import Proxy
from twisted_pypi.fetching.reasons import Trouble, cancelled, explain
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.urls import origin_of, without_secrets

_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
CACHED_CONNECTION = 60


@frozen
class Message:
    """What goes over the wire, to which addresses it may go, and on which connections.

    `tls`: who is believed to be the server. `proxy`: what leads there. `patience`: seconds within which the headers
    must be there, if that is to be less than usual.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    reach: Reach
    tls: TlsPolicy
    proxy: Proxy | None = None
    patience: float | None = None


@define(eq=False)
class _Watch:
    """One timer for the phase that a request is in. When it is over the request is cancelled.

    `patience` is how many seconds all phases may take together, if that is bounded.
    """

    clock: Any
    patience: float | None = None
    expired: str = field(default="", init=False)
    _request: Deferred[IResponse] | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _until: float | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._until = None if self.patience is None else self.clock.seconds() + self.patience

    def phase(self, seconds: float, complaint: str) -> None:
        """A new phase begins that may take so long."""
        self.stop()
        left = seconds if self._until is None else max(0.0, min(seconds, self._until - self.clock.seconds()))
        told = seconds if left == seconds else self.patience
        self._timer = self.clock.callLater(left, self._expire, f"{complaint} within {told:g} s")

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
    the addresses that it may reach, by whose `TlsPolicy` the server was believed, and which proxy led there."""

    def __init__(self, reactor: Any, connect_timeout: float, read_timeout: float, kept: int) -> None:
        self._reactor = reactor
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._kept = kept
        self._pools: dict[tuple[Reach, TlsPolicy, Proxy | None], HTTPConnectionPool] = {}

    async def send(self, message: Message) -> IResponse:
        """The answer's headers; its body waits to be delivered.

        What was refused, reset or closed before the headers is tried once more, on a fresh connection and if possible
        at another of the host's addresses. Raises `UpstreamFailed`.
        """
        if message.proxy is not None and not message.reach.permits_host(origin_of(message.url).host):
            problem = f"forbidden address {origin_of(message.url).host}"
            raise UpstreamFailed(problem, without_secrets(message.url))
        watch = _Watch(self._reactor, message.patience)
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
        key = (message.reach, message.tls, message.proxy)
        if key not in self._pools:
            self._pools[key] = _new_pool(self._reactor, True, self._kept)
        return self._pools[key]

    async def _try(self, message: Message, dial: Dial, watch: _Watch, pool: HTTPConnectionPool) -> IResponse | Trouble:
        origin = origin_of(message.url)
        agent = agent_for(self._reactor, dial, origin, pool)
        # In absolute form the proxy reads the headers too; through a tunnel, they are not for it.
        own = message.proxy.headers if message.proxy is not None and origin.scheme == "http" else {}
        headers = Headers({name: [value] for name, value in {**message.headers, **own}.items()})
        watch.phase(self._read_timeout, "no answer")
        try:
            request = agent.request(message.method.encode("ascii"), wire_url(message.url), headers)
            return await watch.guard(request)
        except Exception as error:
            if watch.expired:
                return _by_proxy(Trouble(watch.expired), dial)
            if cancelled(error):
                raise CancelledError from error
            if dial.refused and not dial.peer:
                return Trouble(f"forbidden address {dial.refused[0]}", unreachable=False)
            return _by_proxy(explain(error), dial)
        finally:
            watch.stop()

    def _dial(self, message: Message, watch: _Watch, avoid: tuple[str, ...] = ()) -> Dial:
        return Dial(
            self._reactor,
            message.tls,
            self._connect_timeout,
            permits=(Reach.ANY if message.proxy is not None else message.reach).permits,
            connecting=lambda: watch.phase(self._connect_timeout, "no connection"),
            connected=lambda: watch.phase(self._read_timeout, "no answer"),
            avoid=avoid,
            proxy=message.proxy,
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


def _by_proxy(trouble: Trouble, dial: Dial) -> Trouble:
    """What went wrong on the way to the proxy, or beyond it before there was a connection, with its name."""
    if dial.proxy is None or not dial.pending or str(dial.proxy) in trouble.reason:
        return trouble
    return evolve(trouble, reason=f"by way of the proxy {dial.proxy}: {trouble.reason}")
