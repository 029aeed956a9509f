"""Files of which clients were sent wrong bytes: whoever goes on from what it has must get the whole."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.events import Event, IntegrityFailed
from twisted_pypi.interfaces import Observer
from twisted_pypi.urls import key_of

REMEMBERED = 86400.0
"""Seconds for which a client may come back to go on with what it has."""


@define
class Spoiled:
    """An observer before `observer` that remembers which files failed their check. `now` tells the time in seconds."""

    observer: Observer
    now: Callable[[], float]
    _keys: Expiring = field(factory=Expiring, init=False)

    def __call__(self, event: Event) -> None:
        """Note a failed check, and pass the event on."""
        if isinstance(event, IntegrityFailed):
            self._keys.add(key_of(event.url), self.now() + REMEMBERED)
        self.observer(event)

    def spoiled(self, key: str) -> bool:
        """Whether wrong bytes of this file went out not long ago."""
        return self._keys.left(key, self.now()) > 0
