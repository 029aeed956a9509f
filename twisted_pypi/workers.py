"""Bounded threads for what would stall the reactor: parsing, compressing, hashing, disk and SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")


@define
class ThreadWorkers:
    """`interfaces.Workers` on a pool of its own: at most `size` threads, made when first needed."""

    reactor: Any
    size: int
    name: str
    _pool: ThreadPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, self.size, self.name)

    def start(self) -> None:
        """Accept work. Call it after the fork."""
        self._pool.start()

    def stop(self) -> None:
        """Wait for the work under way and end the threads."""
        if self._pool.started:
            self._pool.stop()

    def run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        """`work(*args)` in a thread; its result or exception."""
        return cast("Deferred[T]", deferToThreadPool(self.reactor, self._pool, work, *args))
