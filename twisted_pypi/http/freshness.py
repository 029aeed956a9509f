"""Freshness: what to do for a page, decided from plain values.

Two pure steps. `plan` says what to do before upstream is asked; `settle` says what the client gets once upstream has
answered, failed, or taken too long. The laws (h11-like, each has its property test):

- a fresh copy is served and upstream isn't asked, unless the client may and does insist;
- whoever has a usable copy never waits longer than `stale_wait`, and never gets an error for upstream's failure;
- whoever has none gets upstream's answer or an honest failure;
- a real answer (200, 404, 410) wins over any copy; only an older version doesn't, for `REGRESSION_PATIENCE` seconds;
- offline, upstream is never asked.
"""

from __future__ import annotations

from enum import Enum, auto

from attrs import frozen

from twisted_pypi.answers import CacheState

REGRESSION_PATIENCE = 30 * 60.0
"""Seconds for which a page with a lower version from the same URL is not believed."""


@frozen
class Copy:
    """The stored copy. `age` is in seconds since upstream confirmed it; `ttl` and `max_stale` are durations."""

    age: float
    ttl: float
    max_stale: float | None = None

    @property
    def ttl_left(self) -> float:
        """Seconds of freshness left, negative when expired. A copy from the future (clock set back) has none."""
        return self.ttl - self.age if self.age >= 0 else 0.0

    @property
    def fresh(self) -> bool:
        """Whether it may be served without asking."""
        return self.ttl_left > 0

    @property
    def usable(self) -> bool:
        """Whether it may still be served when upstream fails."""
        return self.fresh or self.max_stale is None or -self.ttl_left <= self.max_stale


@frozen
class Circumstances:
    """What else bears on the decision.

    `down`: upstream is known to be down. `refreshing`: a fetch of this page is under way. `insist`: the client asked
    for revalidation and it is granted.
    """

    offline: bool = False
    down: bool = False
    refreshing: bool = False
    insist: bool = False
    stale_wait: float = 1.0


class Step(Enum):
    """What to do next."""

    SERVE = auto()
    FETCH = auto()
    REFUSE = auto()


@frozen
class Plan:
    """`step`; for SERVE the `state` to report; for FETCH how long to `wait` (None: the client's whole budget)."""

    step: Step
    reason: str
    state: CacheState = CacheState.MISS
    wait: float | None = None


def plan(copy: Copy | None, now: Circumstances) -> Plan:
    """What to do before upstream is asked."""
    if copy is None or not copy.usable:
        if now.offline:
            return Plan(Step.REFUSE, "offline, and no copy")
        return Plan(Step.FETCH, "no copy" if copy is None else "the copy is older than --max-stale")
    if now.offline:
        return Plan(Step.SERVE, "offline", unasked_state(copy))
    if copy.fresh and not now.insist:
        return Plan(Step.SERVE, "fresh", CacheState.HIT)
    if now.refreshing and copy.ttl > 0:
        return Plan(Step.SERVE, "a refresh is running", CacheState.UPDATING)
    if now.down:
        return Plan(Step.SERVE, "upstream is down", unasked_state(copy))
    return Plan(Step.FETCH, "expired" if not copy.fresh else "the client insists", wait=now.stale_wait)


def unasked_state(copy: Copy) -> CacheState:
    """How a copy is reported that is served although (or because) upstream said nothing of it."""
    return CacheState.HIT if copy.fresh else CacheState.STALE


class Outcome(Enum):
    """What came of asking upstream."""

    NEW = auto()
    NOT_MODIFIED = auto()
    OLDER = auto()
    ABSENT = auto()
    FAILED = auto()
    LATE = auto()


class Verdict(Enum):
    """What the client gets."""

    NEW = auto()
    COPY = auto()
    ABSENT = auto()
    UNAVAILABLE = auto()


def settle(copy: Copy | None, outcome: Outcome) -> tuple[Verdict, CacheState]:
    """What the client gets, and in which state, once upstream has answered or the wait is over."""
    if outcome is Outcome.NEW:
        return Verdict.NEW, CacheState.MISS if copy is None else CacheState.EXPIRED
    if outcome is Outcome.ABSENT:
        return Verdict.ABSENT, CacheState.MISS if copy is None else CacheState.EXPIRED
    if outcome is Outcome.NOT_MODIFIED and copy is not None:
        return Verdict.COPY, CacheState.REVALIDATED
    if copy is not None and copy.usable:
        return Verdict.COPY, unasked_state(copy)
    return Verdict.UNAVAILABLE, CacheState.MISS


def believes(ours: int | None, theirs: int | None, regressed_for: float) -> bool:
    """Whether a page of version `theirs` may replace `ours`, from the same URL.

    `regressed_for` is since when (seconds ago) upstream has sent a lower version.
    """
    return ours is None or theirs is None or theirs >= ours or regressed_for > REGRESSION_PATIENCE
