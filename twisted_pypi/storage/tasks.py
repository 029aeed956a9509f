"""Work that outlives its waiter, and the order of work on one key."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.python.failure import Failure

T = TypeVar("T")


@define
class Tasks:
    """Work under way. Cancelling who waits for it stops the waiting alone."""

    _running: set[Deferred[Any]] = field(factory=set, init=False)

    def run(self, work: Coroutine[Deferred[Any], Any, T], unwanted: Callable[[T], object] | None = None) -> Deferred[T]:
        """Begin `work`; its result or exception. `unwanted` is given a result that nobody waits for any more."""
        waiter: Deferred[T] = Deferred()  # takes one result more after it was cancelled, and drops that
        inner = Deferred.fromCoroutine(work)
        settled: Deferred[None] = Deferred()
        self._running.add(settled)

        def done(result: Any) -> None:
            self._running.discard(settled)
            if unwanted and waiter.called and not isinstance(result, Failure):
                unwanted(result)
            waiter.callback(result)
            settled.callback(None)

        inner.addBoth(done)
        return waiter

    async def settle(self) -> None:
        """Return when nothing is under way any more."""
        while self._running:
            await DeferredList(list(self._running))


@define
class KeyLocks:
    """One lock for each key that somebody works on.

    Hundreds may wait for one key and, once it is their turn, be through without waiting for anything more. Each is
    begun by the loop in `_release`, never from within the one before, so that they take no depth of the stack.
    """

    _locks: dict[str, DeferredLock] = field(factory=dict, init=False)
    _released: deque[tuple[str, DeferredLock]] = field(factory=deque, init=False)
    _handing_over: bool = field(default=False, init=False)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Wait for whoever works on `key`, then keep others waiting."""
        lock = self._locks.setdefault(key, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            self._release(key, lock)

    def _release(self, key: str, lock: DeferredLock) -> None:
        self._released.append((key, lock))
        if self._handing_over:
            return
        self._handing_over = True
        try:
            while self._released:
                key, lock = self._released.popleft()
                lock.release()
                # Who was next may be through already, and another lock of this key in use.
                if not lock.locked and self._locks.get(key) is lock:
                    del self._locks[key]
        finally:
            self._handing_over = False
