"""How late the reactor is: a call that is due now and then comes late by as long as something else held it up."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from twisted_pypi.events import ReactorLagged
from twisted_pypi.interfaces import Observer

EVERY = 0.25
"""Seconds between two samples."""

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds up to which a sample counts as the same."""

_LONGEST = 60.0


@define(eq=False)
class LagSampler:
    """Reports `ReactorLagged` all `EVERY` seconds. Each bound is one event, the same each time: workers count those."""

    reactor: Any
    observer: Observer
    worker: bool = False
    _events: tuple[ReactorLagged, ...] = field(init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._events = tuple(ReactorLagged(bound, self.worker) for bound in (*BOUNDS, _LONGEST))

    def start(self) -> None:
        """Begin to sample."""
        self._call = self.reactor.callLater(EVERY, self._sample, self.reactor.seconds() + EVERY)

    def stop(self) -> None:
        """Sample no more. Idempotent."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _sample(self, due: float) -> None:
        self.observer(self._events[bisect_left(BOUNDS, self.reactor.seconds() - due)])
        self.start()
