"""One work for all who want the same thing at the same time. The only coalescer.

Laws: under one key at most one work runs. Whoever waits when it ends gets its result or its exception. A waiter that is
cancelled leaves alone; the work goes on, even for nobody. The key is free before the first waiter is told.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


@define(eq=False)
class _Flight(Generic[T]):
    """One work under way and the Deferreds that wait for it."""

    waiters: list[Deferred[T]] = field(factory=list)
    task: Deferred[T] | None = None

    def join(self) -> Deferred[T]:
        """A further waiter."""
        waiter: Deferred[T] = Deferred(self._leave)
        self.waiters.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[T]) -> None:
        # While the waiters are being told, none is in the list.
        if waiter in self.waiters:
            self.waiters.remove(waiter)

    def land(self, outcome: T | Failure) -> None:
        """Tell all who wait now."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            # A waiter that was told may cancel one that wasn't yet.
            if not waiter.called:
                waiter.callback(outcome)


@define(eq=False)
class Singleflight(Generic[T]):
    """Runs works by key, each key's at most once at a time."""

    _flights: dict[Hashable, _Flight[T]] = field(factory=dict, init=False)

    def running(self, key: Hashable) -> bool:
        """Whether work is under way for `key`."""
        return key in self._flights

    def do(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Start `work` if none runs under `key`, else join the one that does; its result or exception.

        Cancelling the returned Deferred fails it with `CancelledError` and touches nobody else.
        """
        flight = self._flights.get(key)
        if flight is not None:
            return flight.join()
        flight = self._flights[key] = _Flight()
        waiter = flight.join()
        flight.task = Deferred.fromCoroutine(work())
        flight.task.addBoth(self._end, key, flight)
        return waiter

    def cancel_all(self) -> None:
        """Cancel every work; who waits gets `CancelledError` (or what the work makes of it)."""
        for flight in list(self._flights.values()):
            if flight.task is not None:
                flight.task.cancel()
            else:
                self._strand(flight)

    def _end(self, outcome: T | Failure, key: Hashable, flight: _Flight[T]) -> None:
        del self._flights[key]
        flight.land(outcome)

    def _strand(self, flight: _Flight[T]) -> None:
        """A work that calls us from its first step can't be cancelled yet, but its waiters can."""
        flight.land(Failure(CancelledError()))  # type: ignore[no-untyped-call]
