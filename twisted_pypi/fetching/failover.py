"""`interfaces.Upstream` for indexes that are in several places: the next one is asked when one is slow or fails.

Laws: a place that failed once is passed over until a look at it, beside the requests, finds it well; one that was slow
or busy, or sent what is broken, for a while. When none is well all are tried. Only the index's first place says of
itself that it lacks a project; the word of another, which may lag behind, counts where it takes nothing away
(`Places.final`). Validators are between us and the first place: nobody else is asked whether something changed, and a
file goes on elsewhere only where a digest decides in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import define, evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.errors import LedAway, UpstreamFailed
from twisted_pypi.fetching.leaving import LeavingBody
from twisted_pypi.interfaces import Fetched, FetchedBody
from twisted_pypi.mirrors import Mirror
from twisted_pypi.model import FetchRequest
from twisted_pypi.urls import Origin, origin_of, without_secrets

FIRST_BYTE = 2.0
"""Seconds within which a place has to answer while there is another."""

RESTING = 60.0
"""Seconds for which a place that was slow, busy or broken is passed over."""

_VALIDATORS = frozenset({"etag", "last-modified"})
_CONDITIONS = frozenset({"If-None-Match", "If-Modified-Since", "If-Range"})
_GOOD = frozenset({200, 206, 304, 416})


@frozen
class Place:
    """One place of an index: the name of its rules in fetching, and what is where there (None: as at the index)."""

    rules: str
    mirror: Mirror | None = None


@frozen
class Places:
    """All places of an index, its own first. `final`: no other index is asked for what this one lacks."""

    places: tuple[Place, ...]
    absent_status: frozenset[int]
    final: bool


class Origins(Protocol):
    """What is asked: `upstream.HttpUpstream`."""

    async def fetch(self, request: FetchRequest) -> Fetched:
        """See `interfaces.Upstream`."""

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`."""

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`."""


@frozen
class _Attempt:
    """A request as one place gets it."""

    place: Place
    request: FetchRequest

    @property
    def origin(self) -> Origin:
        return origin_of(self.request.url)


@define(eq=False)
class _Answer:
    """A `Fetched`, where it came from, and where else it could have."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: FetchedBody
    seconds: float
    attempt: _Attempt
    others: tuple[_Attempt, ...]


class MirroredUpstream:
    """An `interfaces.Upstream`. `places` are those of each index that has several, by its name."""

    def __init__(self, upstream: Origins, clock: IReactorTime, places: Mapping[str, Places]) -> None:
        self._upstream = upstream
        self._clock = clock
        self._resting: dict[tuple[Origin, bool], float] = {}
        self._looks: set[Deferred[None]] = set()
        self.use(places)

    def use(self, places: Mapping[str, Places]) -> None:
        """Ask there from now on."""
        self._places = places

    def stop(self) -> None:
        """Look at nothing any more."""
        for look in list(self._looks):
            look.cancel()

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`: whether all places are."""
        return all(map(self._upstream.is_down, self._urls(url)))

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return any(map(self._upstream.may_probe, self._urls(url)))

    def refuse(self, fetched: Fetched) -> bool:
        """See `interfaces.Upstream`."""
        if not isinstance(fetched, _Answer):
            return False
        self._rest(fetched.attempt)
        return any(map(self._is_well, fetched.others))

    async def fetch(self, request: FetchRequest) -> Fetched:
        """See `interfaces.Upstream`."""
        places = self._places.get(request.index)
        attempts = _attempts(places, request) if places is not None else ()
        if places is None or len(attempts) < 2:
            return await self._upstream.fetch(request)
        well = tuple(filter(self._is_well, attempts))
        unwell = tuple(attempt for attempt in attempts if attempt not in well)
        for attempt in unwell if well else ():
            if self._upstream.may_probe(attempt.request.url):
                self._look_at(attempt)
        return await self._first_of(places, (*well, *unwell), len(well))

    async def _first_of(self, places: Places, order: tuple[_Attempt, ...], well: int) -> Fetched:
        """The first good answer. Else the first of any kind, of a file only if nobody failed. Else a failure.

        The first so many of `order` are `well`: the last of them, too, has time.
        """
        failures: list[UpstreamFailed] = []
        spare: _Answer | None = None
        for number, attempt in enumerate(order):
            hurried = number + 1 < (well if number < well else len(order))
            others = tuple(other for other in order if other is not attempt)
            try:
                answer = await self._ask(places, attempt, others, FIRST_BYTE if hurried else None)
            except UpstreamFailed as failure:
                if attempt.place.mirror is None and _lacks(places, failure):
                    raise
                failures.append(failure)
                continue
            if _is_good(places, attempt.request, answer.status):
                return answer
            # Nobody reads such a body; its place among the fetches may be the one that the next attempt waits for.
            answer.body.abandon()
            spare = spare or answer
        if spare is not None and not (failures and order[0].request.file):
            return spare
        raise _together(failures)

    async def _ask(
        self, places: Places, attempt: _Attempt, others: tuple[_Attempt, ...], patience: float | None
    ) -> _Answer:
        """One place's answer. Raises `UpstreamFailed`, also where it says that something is lacking and may not."""
        try:
            fetched = await self._upstream.fetch(evolve(attempt.request, patience=patience))
        except UpstreamFailed as failure:
            if failure.status == 429:
                self._rest(attempt, failure.retry_after)
            raise
        if _lags(places, attempt, fetched.status):
            fetched.body.abandon()
            problem = f"answered {fetched.status}, but may lag behind"
            raise UpstreamFailed(problem, without_secrets(attempt.request.url))
        watched = attempt.request.file and _is_long(attempt.request)
        body = LeavingBody(
            fetched.body,
            self._clock,
            str(attempt.origin),
            broke=lambda: self._rest(attempt),
            elsewhere=lambda: watched and any(map(self._is_well, others)),
        )
        headers = fetched.headers
        if attempt.place.mirror is not None:
            headers = {name: value for name, value in headers.items() if name not in _VALIDATORS}
        return _Answer(fetched.status, fetched.url, headers, body, fetched.seconds, attempt, others)

    def _is_well(self, attempt: _Attempt) -> bool:
        now = self._clock.seconds()
        key = (attempt.origin, attempt.request.file)
        return self._resting.get(key, now) <= now and not self._upstream.is_down(attempt.request.url)

    def _rest(self, attempt: _Attempt, seconds: int | None = None) -> None:
        pause = RESTING if seconds is None else min(RESTING, max(1.0, seconds))
        self._resting[attempt.origin, attempt.request.file] = self._clock.seconds() + pause

    def _urls(self, url: str) -> list[str]:
        """Where a URL of an index is, at all its places."""
        for places in self._places.values():
            mirrored = [place.mirror.there(url) for place in places.places if place.mirror is not None]
            found = [there for there in mirrored if there is not None]
            if found:
                return [url, *found]
        return [url]

    def _look_at(self, attempt: _Attempt) -> None:
        """See whether who was down is back, without anybody waiting for it."""
        looking = Deferred.fromCoroutine(self._look(attempt))
        self._looks.add(looking)
        looking.addErrback(lambda _: None)  # cancelled
        looking.addBoth(lambda _: self._looks.discard(looking))

    async def _look(self, attempt: _Attempt) -> None:
        """Any answer will do; what it means, fetching notes."""
        try:
            fetched = await self._upstream.fetch(
                evolve(attempt.request, method="HEAD", headers={}, patience=FIRST_BYTE)
            )
        except UpstreamFailed:
            return
        fetched.body.abandon()


def _attempts(places: Places, request: FetchRequest) -> tuple[_Attempt, ...]:
    """The request as each place gets it, without those that have nothing of the kind."""
    attempts: list[_Attempt] = []
    for place in places.places:
        url = request.url if place.mirror is None else place.mirror.there(request.url)
        if url is not None and all(url != other.request.url for other in attempts):
            headers = request.headers if place.mirror is None else _elsewhere(request)
            attempts.append(_Attempt(place, evolve(request, url=url, index=place.rules, headers=headers)))
    return tuple(attempts)


def _elsewhere(request: FetchRequest) -> dict[str, str]:
    """The headers for a place that the validators in them are not of (RFC 9110, 8.8.3: they are of one resource)."""
    headers = {name: value for name, value in request.headers.items() if name not in _CONDITIONS}
    if "If-Range" in request.headers and not request.verifiable:
        headers.pop("Range", None)
    return headers


def _is_good(places: Places, request: FetchRequest, status: int) -> bool:
    """Whether nobody else has to be asked."""
    return status in _GOOD or (not request.file and status in places.absent_status)


def _lacks(places: Places, failure: UpstreamFailed) -> bool:
    """Whether a place says, by a redirect out of the index, that a project is lacking."""
    return isinstance(failure, LedAway) and (bool(failure.other) or failure.status in places.absent_status)


def _lags(places: Places, attempt: _Attempt, status: int) -> bool:
    """Whether a place says that a project is lacking, and is not to be believed."""
    if attempt.place.mirror is None or attempt.request.file or status not in places.absent_status:
        return False
    return attempt.request.held or not places.final


def _is_long(request: FetchRequest) -> bool:
    """Whether all of a file is wanted, or the rest of it: what breaks then is gone on with."""
    return request.method == "GET" and request.headers.get("Range", "-").endswith("-")


def _together(failures: list[UpstreamFailed]) -> UpstreamFailed:
    """The failure of the first that was asked, and a word about the others."""
    first, *others = failures
    if not others:
        return first
    told = "; ".join(f"{origin_of(failure.url)}: {failure.reason}" for failure in others)
    return UpstreamFailed(f"{first.reason}; {told}", first.url, first.status, first.retry_after, first.unreachable)
