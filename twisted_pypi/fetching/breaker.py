"""Whether an origin is down: a state machine for each, pure; `now` (seconds) is passed in.

Laws: it opens after three failures in a row (after one, where there is another place to go to) and closes at the first
success. While it is open, one caller at a time is let through as a probe, after 1, 2, 4, 8, 16 and then every 30 s;
only a probe's failure makes the pause longer, so that callers who try anyway don't put the next probe off. A probe that
never reports is replaced after the same pause.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from attrs import define, field

from twisted_pypi.events import BreakerChanged
from twisted_pypi.interfaces import Observer

THRESHOLD = 3
LONGEST_PAUSE = 30.0
MOST = 1024


@define
class Breaker:
    """One origin's."""

    threshold: int = THRESHOLD
    failures: int = 0
    probes: int = 0
    probing: bool = False
    next_probe: float = 0.0

    @property
    def open(self) -> bool:
        """Whether the origin is taken for down."""
        return self.failures >= self.threshold

    def may_probe(self, now: float) -> bool:
        """Whether a probe is due. Answers True once: that caller is the probe."""
        if not self.open or now < self.next_probe:
            return False
        self.probing = True
        self.next_probe = now + self._pause
        return True

    def failed(self, now: float) -> bool:
        """The origin failed; whether the breaker opened by that."""
        was_open = self.open
        self.failures += 1
        if was_open and self.probing:
            self.probing = False
            self.probes += 1
            self.next_probe = now + self._pause
        elif self.open and not was_open:
            self.next_probe = now + self._pause
        return self.open and not was_open

    @property
    def _pause(self) -> float:
        # The exponent is bounded: an origin may be down for months.
        return min(LONGEST_PAUSE, 2.0 ** min(self.probes, 8))


@define(eq=False)
class Breakers:
    """Those of all origins. An origin that is well costs nothing. Of a `replaceable` one a single failure is enough.

    A page may name any number of origins that are down: of more than `MOST`, the one whose last failure is the oldest
    is forgotten.
    """

    _observer: Observer
    replaceable: Collection[Hashable] = ()
    _breakers: dict[Hashable, Breaker] = field(factory=dict, init=False)

    def is_down(self, origin: Hashable) -> bool:
        """Whether the origin is taken for down."""
        breaker = self._breakers.get(origin)
        return breaker is not None and breaker.open

    def may_probe(self, origin: Hashable, now: float) -> bool:
        """See `Breaker.may_probe`."""
        breaker = self._breakers.get(origin)
        return breaker is not None and breaker.may_probe(now)

    def failed(self, origin: Hashable, now: float) -> None:
        """The origin could not be reached, or answered 5xx."""
        breaker = self._breakers.pop(origin, None) or Breaker(1 if origin in self.replaceable else THRESHOLD)
        if len(self._breakers) >= MOST:
            self.succeeded(next(iter(self._breakers)))
        self._breakers[origin] = breaker
        if breaker.failed(now):
            self._observer(BreakerChanged(str(origin), True))

    def succeeded(self, origin: Hashable) -> None:
        """The origin answered."""
        breaker = self._breakers.pop(origin, None)
        if breaker is not None and breaker.open:
            self._observer(BreakerChanged(str(origin), False))
