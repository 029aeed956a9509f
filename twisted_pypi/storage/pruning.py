"""What pages said of files, and what was noted until a time: dropped once nobody needs it, in slices, once a day.

Needed is what was said of a name of which anything is stored, and what was said in the time that entries may lie
unused. What nobody needs is told again when the name's page is read again.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.links import BEGINNING, Place

DAY = 86400.0
FIRST = 600.0
"""Seconds from the start to the first time."""

SLICE = 1000
PAUSE = 0.05
"""Seconds between two slices, which take some milliseconds each."""


@define(eq=False)
class Pruner:
    """Prunes the catalogue while it is open."""

    engine: Engine
    _next: IDelayedCall | None = field(default=None, init=False)
    _pausing: Deferred[None] | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin some minutes from now."""
        self._next = self.engine.clock.callLater(FIRST, self._daily)

    def stop(self) -> None:
        """End, after the slice under way."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None
        if self._pausing is not None:
            self._pausing.cancel()

    def _daily(self) -> None:
        self._next = self.engine.clock.callLater(DAY, self._daily)
        self.engine.tasks.run(self._prune())

    async def _prune(self) -> None:
        now, inactive = self.engine.clock.seconds(), self.engine.limits.inactive
        await self.engine.ask(0, Catalogue.unmark_until, now)
        place: Place | None = BEGINNING if inactive is not None else None
        before = now - (inactive or 0.0)
        broken: tuple[Place | None, int] = None, 0
        while place is not None and await self._go_on():
            place, _ = await self.engine.ask(broken, Catalogue.prune, place, before, SLICE)

    async def _go_on(self) -> bool:
        """Let others work; whether to go on."""
        if self._next is None:
            return False
        self._pausing = Deferred()
        due = self.engine.clock.callLater(PAUSE, self._pausing.callback, None)
        try:
            await self._pausing
        except CancelledError:
            due.cancel()
        self._pausing = None
        return self._next is not None
