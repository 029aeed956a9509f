"""How each origin of an upstream did lately, from events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

from twisted_pypi.events import BreakerChanged, Event, FetchDone, FetchFailed
from twisted_pypi.lru import Lru
from twisted_pypi.urls import origin_of

MOST = 500
"""Origins that are remembered: pages may name any number of them."""

_WEIGHT = 0.2  # of the newest answer in the average
_LONGEST = 200


@define
class Record:
    """One origin's. Times are of the clock `seconds`; `latency` is a moving average, in seconds to the headers."""

    answered: float | None = None
    latency: float | None = None
    failed: float | None = None
    reason: str = ""
    down: bool = False

    @property
    def state(self) -> str:
        """ "down" (its breaker is open), "failing" (the last try was in vain), "up", "unknown" (not asked)."""
        if self.down:
            return "down"
        if self.failed is not None and (self.answered is None or self.failed > self.answered):
            return "failing"
        return "unknown" if self.answered is None else "up"


@define(eq=False)
class Health:
    """An observer of events."""

    seconds: Callable[[], float]
    _records: Lru[str, Record] = field(factory=lambda: Lru(MOST), init=False)
    _handlers: dict[type[Event], Callable[[Any], None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._handlers = {FetchDone: self._answered, FetchFailed: self._failed, BreakerChanged: self._turned}

    def observe(self, event: Event) -> None:
        """Note what an origin did; other events are ignored."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _answered(self, event: FetchDone) -> None:
        record = self._record_at(event.url)
        record.answered = self.seconds()
        before = event.seconds if record.latency is None else record.latency
        record.latency = before + _WEIGHT * (event.seconds - before)

    def _failed(self, event: FetchFailed) -> None:
        record = self._record_at(event.url)
        record.failed, record.reason = self.seconds(), event.reason[:_LONGEST]

    def _turned(self, event: BreakerChanged) -> None:
        self._record(event.origin).down = event.open

    def of(self, origin: str) -> Record:
        """What is known of an origin."""
        return self._records.peek(origin) or Record()

    def _record_at(self, url: str) -> Record:
        try:
            return self._record(str(origin_of(url)))
        except ValueError:
            return Record()

    def _record(self, origin: str) -> Record:
        record = self._records.get(origin)
        if record is None:
            record = Record()
            self._records.put(origin, record)
        return record
