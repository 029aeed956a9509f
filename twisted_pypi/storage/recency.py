"""When entries were last used, written behind in batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

DELAY = 5.0
BATCH = 500

Batch = list[tuple[float, str, str]]
"""(time, kind, key) of each use."""


@define
class Recency:
    """Collects uses and hands them to `write` after `DELAY` seconds, or as soon as there are `BATCH` of them."""

    clock: IReactorTime
    write: Callable[[Batch], Awaitable[None]]
    _pending: dict[tuple[str, str], float] = field(factory=dict, init=False)
    _due: IDelayedCall | None = field(default=None, init=False)

    def used(self, kind: str, key: str) -> None:
        """The entry was used now."""
        self._pending[kind, key] = self.clock.seconds()
        if len(self._pending) >= BATCH:
            self.flush()
        elif self._due is None:
            self._due = self.clock.callLater(DELAY, self.flush)

    @property
    def pending(self) -> dict[tuple[str, str], float]:
        """Uses that aren't written yet: (kind, key) -> time."""
        return self._pending

    def flush(self) -> Awaitable[None] | None:
        """Hand over what is pending; what to wait for, if there was something."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None
        if not self._pending:
            return None
        batch = [(time, *entry) for entry, time in self._pending.items()]
        self._pending = {}
        return self.write(batch)
