"""Bounded places, handed out fairly: in turn between clients, and of one client's in turn between origins.

Laws: at most `limit` places are held. A place given back goes to the client that waits longest for its turn. Nobody
waits while a place is free. A waiter that is cancelled leaves the queue. At most `most_waiting` wait; of more, the last
of the client with the most is refused (a client may ask and leave, but what it asked for still waits).
"""

from __future__ import annotations

from collections import Counter, deque

from attrs import define, field
from twisted.internet.defer import Deferred

_Turns = dict[str, deque[Deferred[None]]]

MOST_WAITING = 4096


class QueueFull(Exception):
    """Too many wait for a place."""


@define(eq=False)
class FairSlots:
    """`limit` places."""

    limit: int
    most_waiting: int = MOST_WAITING
    _held: int = field(default=0, init=False)
    # A dict keeps its order: the first key is the one whose turn it is, and who was served goes to the end.
    _waiting: dict[str, _Turns] = field(factory=dict, init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)  # of those who wait, by client

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._counts.total()

    async def acquire(self, client: str, origin: str) -> None:
        """Take a place, waiting for one if need be. Raises `QueueFull`."""
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
        self._counts[client] += 1
        if self._counts.total() > self.most_waiting:
            self._refuse_one()
        return waiter

    def _refuse_one(self) -> None:
        """The last to come, of the first origin in turn, of the client with the most."""
        ((client, _),) = self._counts.most_common(1)
        origin, queue = next(iter(self._waiting[client].items()))
        waiter = queue[-1]
        self._forget(client, origin, waiter)
        waiter.errback(QueueFull())

    def _next(self) -> Deferred[None] | None:
        """Take the waiter whose turn it is out of the queue, and put its client and origin at the end of theirs."""
        if not self._waiting:
            return None
        client, origins = next(iter(self._waiting.items()))
        origin, queue = next(iter(origins.items()))
        waiter = queue.popleft()
        self._uncount(client)
        del self._waiting[client], origins[origin]
        if queue:
            origins[origin] = queue
        if origins:
            self._waiting[client] = origins
        return waiter

    def _uncount(self, client: str) -> None:
        self._counts[client] -= 1
        if not self._counts[client]:
            del self._counts[client]

    def _forget(self, client: str, origin: str, waiter: Deferred[None]) -> None:
        origins = self._waiting[client]
        origins[origin].remove(waiter)
        self._uncount(client)
        if not origins[origin]:
            del origins[origin]
        if not origins:
            del self._waiting[client]
