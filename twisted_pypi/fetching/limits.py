"""Bounded places, handed out fairly: in turn between clients, and of one client's in turn between origins.

Laws: at most `limit` places are held. A place given back goes to the client that waits longest for its turn. Nobody
waits while a place is free. A waiter that is cancelled leaves the queue.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field
from twisted.internet.defer import Deferred

_Turns = dict[str, deque[Deferred[None]]]


@define(eq=False)
class FairSlots:
    """`limit` places."""

    limit: int
    _held: int = field(default=0, init=False)
    # A dict keeps its order: the first key is the one whose turn it is, and who was served goes to the end.
    _waiting: dict[str, _Turns] = field(factory=dict, init=False)

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held

    async def acquire(self, client: str, origin: str) -> None:
        """Take a place, waiting for one if need be."""
        if self._held < self.limit:
            self._held += 1
            return
        await self._enqueue(client, origin)

    def release(self) -> None:
        """Give a place back."""
        waiter = self._next() if self._held <= self.limit else None
        if waiter is None:
            self._held -= 1
        else:
            waiter.callback(None)

    def resize(self, limit: int) -> None:
        """From now on there are `limit` places. Nobody loses one that is taken."""
        self.limit = limit
        while self._held < limit and (waiter := self._next()) is not None:
            self._held += 1
            waiter.callback(None)

    def _enqueue(self, client: str, origin: str) -> Deferred[None]:
        waiter: Deferred[None] = Deferred(lambda gone: self._forget(client, origin, gone))
        self._waiting.setdefault(client, {}).setdefault(origin, deque()).append(waiter)
        return waiter

    def _next(self) -> Deferred[None] | None:
        """Take the waiter whose turn it is out of the queue, and put its client and origin at the end of theirs."""
        if not self._waiting:
            return None
        client, origins = next(iter(self._waiting.items()))
        origin, queue = next(iter(origins.items()))
        waiter = queue.popleft()
        del self._waiting[client], origins[origin]
        if queue:
            origins[origin] = queue
        if origins:
            self._waiting[client] = origins
        return waiter

    def _forget(self, client: str, origin: str, waiter: Deferred[None]) -> None:
        origins = self._waiting[client]
        origins[origin].remove(waiter)
        if not origins[origin]:
            del origins[origin]
        if not origins:
            del self._waiting[client]
