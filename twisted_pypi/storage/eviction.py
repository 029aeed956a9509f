"""Which entries go, and their going. The plan is pure."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from twisted_pypi.events import Evicted
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.dropping import Droppable, drop
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.rows import Aged

TARGET = 0.95
"""Down to this share of the limit, so that eviction isn't run at each publish."""

_SLICE = 100
_HOUR = 3600.0


def excess(used: int, limit: int) -> int:
    """How many bytes must go: none within the limit, else down to `TARGET` of it."""
    return used - int(limit * TARGET) if used > limit else 0


def plan(oldest_first: Iterable[Aged], needed: int, in_use: Container[tuple[str, str]]) -> list[Aged]:
    """The victims: the oldest that nobody has open, until `needed` bytes are found."""
    victims = []
    for entry in oldest_first:
        if needed <= 0:
            break
        if (entry.kind, entry.key) not in in_use:
            victims.append(entry)
            needed -= entry.size
    return victims


@define(eq=False)
class Evictor:
    """Keeps the store within its limits."""

    engine: Engine
    kinds: Mapping[str, Droppable]
    _running: bool = field(default=False, init=False)
    _stopped: bool = field(default=False, init=False)
    _hourly: IDelayedCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Drop what is over the limit and what nobody asked for, now and every hour."""
        self._stopped = False
        self._hourly = self.engine.clock.callLater(_HOUR, self.start)
        self.engine.tasks.run(self._drop_inactive())

    def stop(self) -> None:
        """Drop nothing more."""
        self._stopped = True
        if self._hourly is not None and self._hourly.active():
            self._hourly.cancel()

    def check(self) -> None:
        """Begin to drop entries if the store is over its limit. Cheap: it is called for every piece that is written."""
        if not self._running and not self._stopped and excess(self.used(), self.engine.limits.total) > 0:
            self._running = True
            self.engine.tasks.run(self._shrink(self._surplus, None))

    def used(self) -> int:
        """The bytes of everything below the directory; what entries can't make up for counts up to half the limit."""
        catalogue, limit = self.engine.catalogue, self.engine.limits.total
        fixed = min(
            catalogue.footprint + self.engine.foreign_bytes, limit // 2
        )  # never empty a cache for its catalogue
        return catalogue.size + fixed + self.engine.partial_bytes

    def _surplus(self) -> int:
        limit = self.engine.limits.total
        return self.used() - int(limit * TARGET)

    async def _drop_inactive(self) -> None:
        if self.engine.limits.inactive is not None and not self._running:
            self._running = True
            before = self.engine.clock.seconds() - self.engine.limits.inactive
            await self._shrink(lambda: self.engine.catalogue.size + 1, before)
        self.check()

    async def _shrink(self, needed: Callable[[], int], before: float | None) -> None:
        """Drop the oldest entries (of those last used before `before`) while bytes are `needed`, slice by slice."""
        entries = size = skip = 0
        try:
            if (flushed := self.engine.recency.flush()) is not None:
                await flushed
            while (goal := needed()) > 0 and not self._stopped:
                slice_: list[Aged] = await self.engine.ask([], Catalogue.oldest, skip, _SLICE, before)
                if not slice_:
                    break
                in_use = ChainMap[tuple[str, str], Any](self.engine.readers, self.engine.recency.pending)
                victims = plan(slice_, goal, in_use)
                skip += sum((entry.kind, entry.key) in in_use for entry in slice_)
                if victims and not await drop(self.engine, self.kinds, victims):
                    break
                entries += len(victims)
                size += sum(victim.size for victim in victims)
        finally:
            self._running = False
        if entries:
            self.engine.observer(Evicted(entries, size))
