"""`interfaces.Upstream` over HTTP: who may be asked, when, with which credentials, and what an answer is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.web.iweb import IResponse

from twisted_pypi import hops
from twisted_pypi.errors import LedAway, UpstreamFailed
from twisted_pypi.events import FetchDone, FetchFailed
from twisted_pypi.fetching.addresses import Reach, is_inside, is_private, resolve_host
from twisted_pypi.fetching.answers import headers_of, length_of, retry_after
from twisted_pypi.fetching.body import Drain, HttpBody
from twisted_pypi.fetching.breaker import Breakers
from twisted_pypi.fetching.credentials import authorization
from twisted_pypi.fetching.exchange import Exchanger, Message
from twisted_pypi.fetching.limits import FairSlots, QueueFull
from twisted_pypi.fetching.policy import IndexRules, OriginPolicy
from twisted_pypi.fetching.proxies import Proxy
from twisted_pypi.fetching.redirects import MAX_REDIRECTS, REDIRECTS, target_of
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.tunnel import USER_AGENT, wants_credentials
from twisted_pypi.interfaces import Fetched, FetchedBody, Observer
from twisted_pypi.model import FetchRequest
from twisted_pypi.urls import Origin, origin_of, without_secrets

__all__ = ["HttpFetched", "HttpUpstream", "IndexRules", "UpstreamSettings"]

REFUSALS = frozenset({401, 403})
"""What an index answers to credentials that it doesn't take."""

LOOP = 508
"""What a cache answers to a request that it sent itself (RFC 5842, 7.2): nothing is wrong with it."""

TOLD_EVERY = 60.0
"""Seconds after which it is told again that an index doesn't take its credentials, or that its server asks us."""

PRIVATE_KEPT = 60.0
"""Seconds for which it is remembered whether an index's own address is private."""


@frozen
class UpstreamSettings:
    """How to fetch: timeouts in seconds, rules by index name; `tls` where an index has none of its own.

    `replaceable` are the origins that others stand in for. `identity` is what `hops` tells us by, "": nothing.
    """

    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    max_fetches: int = 32
    tls: TlsPolicy = field(factory=TlsPolicy)
    indexes: Mapping[str, IndexRules] = field(factory=dict)
    replaceable: frozenset[Origin] = frozenset()
    identity: str = ""


@define(eq=False)
class HttpFetched:
    """An `interfaces.Fetched`."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: FetchedBody
    seconds: float


@define(eq=False)
class _Place:
    """A place among the running fetches, given back once."""

    _slots: FairSlots | None

    def leave(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()


class HttpUpstream:
    """Fetches over HTTP/1.1. `reactor` provides time, TCP and a name resolver.

    Files and pages take their places from pools of their own, so that a page never queues behind files.
    """

    def __init__(self, reactor: Any, settings: UpstreamSettings, observer: Observer) -> None:
        self._reactor = reactor
        self._observer = observer
        self._breakers = Breakers(observer)
        self._slots = {is_file: FairSlots(settings.max_fetches) for is_file in (False, True)}
        self._most_kept = settings.max_fetches
        self.use(settings)

    def keep(self, most: int) -> None:
        """Keep no more than so many idle connections to one host: each takes a descriptor that others may need."""
        self._most_kept = most
        self.use(self._settings)

    def use(self, settings: UpstreamSettings) -> None:
        """Fetch so from now on. What is under way goes on as it began; connections that idle are not used again."""
        self._settings = settings
        self._breakers.replaceable = settings.replaceable
        for slots in self._slots.values():
            slots.resize(settings.max_fetches)
        self._policy = OriginPolicy(settings.indexes)
        self._private: dict[str, tuple[float, bool]] = {}
        self._told: dict[str, float] = {}
        times = (settings.connect_timeout, settings.read_timeout)
        self._exchanger = Exchanger(self._reactor, *times, kept=min(settings.max_fetches, self._most_kept))

    def load(self, file: bool) -> tuple[int, int]:
        """How many fetches of files, or of pages, are under way, and how many wait for their turn."""
        slots = self._slots[file]
        return slots.held, slots.waiting

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self._breakers.is_down(origin_of(url))

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self._breakers.may_probe(origin_of(url), self._reactor.seconds())

    def refuse(self, fetched: Fetched) -> bool:
        """See `interfaces.Upstream`. There is one place only."""
        return False

    async def fetch(self, request: FetchRequest) -> HttpFetched:
        """See `interfaces.Upstream`."""
        try:
            rules = self._policy.rules(request.index, request.url)
            origin = self._policy.enter(request.url, request.named)
            slots = self._slots[request.file]
            await self._enter(slots, request, str(origin))
            place = _Place(slots)
            try:
                return await self._follow(request, rules, place.leave)
            except BaseException:
                place.leave()
                raise
        except UpstreamFailed as failure:
            self._report(request, failure)
            raise

    async def _enter(self, slots: FairSlots, request: FetchRequest, origin: str) -> None:
        try:
            await slots.acquire(request.client, origin)
        except QueueFull:
            raise UpstreamFailed("too many fetches wait", without_secrets(request.url)) from None

    async def close(self) -> None:
        """Close the idle connections."""
        await self._exchanger.close()

    def _report(self, request: FetchRequest, failure: UpstreamFailed) -> None:
        """Tell the observer. Credentials that fail do so with every request, as siblings that ask each other come to
        that: it is told anew once a minute. That another index is to be asked is no failure."""
        if isinstance(failure, LedAway) and failure.other:
            return
        refused, now = failure.status in REFUSALS | {LOOP}, self._reactor.seconds()
        repeated = refused and now - self._told.get(request.index, -TOLD_EVERY) < TOLD_EVERY
        if refused and not repeated:
            self._told[request.index] = now
        self._observer(FetchFailed(failure.url, failure.reason, request.file, repeated))

    async def _follow(self, request: FetchRequest, rules: IndexRules, leave: Callable[[], None]) -> HttpFetched:
        """Ask, and ask where the answer sends us."""
        url, started = request.url, self._reactor.seconds()
        trusted = True
        for _ in range(MAX_REDIRECTS + 1):
            secret = authorization(rules.credential, rules.url, url, request.named) if trusted else None
            response = await self._ask(request, rules, url, secret)
            if response.code in REFUSALS - rules.absent_status and secret is not None:
                self._discard(response)
                problem = f"answered {response.code}: it does not take the credentials that are configured"
                raise UpstreamFailed(problem, without_secrets(url), response.code)
            if response.code not in REDIRECTS:
                return self._accept(request, url, response, self._reactor.seconds() - started, leave)
            self._discard(response)
            target = target_of(url, _header(response, "location"))
            self._refuse_away(request, target, response.code)
            # Once a redirect has led away from an origin, whoever was met there must not get our secrets back.
            trusted = trusted and origin_of(target) == origin_of(url)
            url = target
        raise UpstreamFailed(f"more than {MAX_REDIRECTS} redirects", without_secrets(request.url))

    def _refuse_away(self, request: FetchRequest, target: str, status: int) -> None:
        """Raises `LedAway` for a redirect that leaves the index where the request may not."""
        other = self._policy.away(request.index, target) if request.confined else None
        if other is not None:
            raise LedAway(f"redirects away, to {origin_of(target)}", without_secrets(request.url), status, other=other)

    async def _ask(self, request: FetchRequest, rules: IndexRules, url: str, secret: str | None) -> IResponse:
        """One exchange with one origin, on its record with the breaker. Raises `UpstreamFailed`, also for 5xx, 429."""
        origin = origin_of(url)
        tls = (rules.tls if rules.trusts(origin) else None) or self._settings.tls
        reach = await self._reach(rules, origin)
        proxy = rules.proxies.proxy_for(origin)
        headers = _request_headers(request, secret, self._settings.identity)
        message = Message(request.method, url, headers, reach, tls, proxy, request.patience)
        try:
            response = await self._exchanger.send(message)
            self._judge(url, response, proxy)
        except UpstreamFailed as failure:
            if failure.unreachable:
                self._breakers.failed(origin, self._reactor.seconds())
            raise
        self._breakers.succeeded(origin)
        return response

    def _judge(self, url: str, response: IResponse, proxy: Proxy | None) -> None:
        status = response.code
        if status == 407 and proxy is not None:
            self._discard(response)
            raise UpstreamFailed(
                f"the proxy {proxy} {wants_credentials(proxy)}", without_secrets(url), unreachable=True
            )
        if status == 429 or not 200 <= status < 500:
            self._discard(response)
            unreachable = status >= 500 and status != LOOP
            after = retry_after(_header(response, "retry-after"), self._reactor.seconds())
            raise UpstreamFailed(f"answered {status}", without_secrets(url), status, after, unreachable)

    def _accept(
        self, request: FetchRequest, url: str, response: IResponse, seconds: float, leave: Callable[[], None]
    ) -> HttpFetched:
        shown = without_secrets(url)
        length = length_of(response, request.method)
        body = HttpBody(shown, length, self._reactor, self._settings.read_timeout, self._observer, leave)
        fetched = HttpFetched(response.code, url, headers_of(response.headers, length), body, seconds)
        self._observer(FetchDone(shown, response.code, seconds, request.file))
        response.deliverBody(body)  # type: ignore[no-untyped-call]
        return fetched

    def _discard(self, response: IResponse) -> None:
        """Read a small body to its end to keep the connection, break a large one off."""
        response.deliverBody(Drain(self._reactor, self._settings.read_timeout))  # type: ignore[no-untyped-call]

    async def _reach(self, rules: IndexRules, origin: Origin) -> Reach:
        """Which addresses of an origin may be connected to on behalf of an index."""
        if self._policy.trusted(origin):
            return Reach.ANY
        return Reach.PRIVATE if await self._is_private(rules) else Reach.GLOBAL

    async def _is_private(self, rules: IndexRules) -> bool:
        """Whether all of the index's own addresses are private: its pages may then name private ones."""
        now: float = self._reactor.seconds()
        until, private = self._private.get(rules.name, (now, False))
        if now < until:
            return private
        origin = origin_of(rules.url)
        if rules.proxies.proxy_for(origin) is not None:
            return is_inside(origin.host)  # names are the proxy's business, and may not even be known here
        looking = resolve_host(self._reactor.nameResolver, origin.host)
        addresses = await _within(looking, self._settings.connect_timeout, self._reactor)
        private = bool(addresses) and all(map(is_private, addresses))
        self._private[rules.name] = (self._reactor.seconds() + PRIVATE_KEPT, private)
        return private


def _request_headers(request: FetchRequest, secret: str | None, identity: str) -> dict[str, str]:
    headers = {
        "User-Agent": USER_AGENT,
        "Accept": request.accept,
        "Accept-Encoding": "identity" if request.file else "gzip",
        **request.headers,
        **hops.headers(identity),
    }
    return headers if secret is None else {**headers, "Authorization": secret}


def _header(response: IResponse, name: str) -> str | None:
    values = response.headers.getRawHeaders(name.encode("ascii"))
    return values[0].decode("latin-1") if values else None


async def _within(looking: Deferred[list[str]], seconds: float, clock: Any) -> list[str]:
    """What a look-up finds within so many seconds; nothing if it takes longer."""
    looking.addTimeout(seconds, clock)
    try:
        return await looking
    except TookTooLong:
        return []
