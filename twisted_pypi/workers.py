"""Bounded threads for what would stall the reactor: parsing, compressing, hashing, disk and SQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from twisted_pypi.errors import Unavailable

T = TypeVar("T")

BACKLOG = 10_000
"""Works that may wait for a thread: more than there are connections."""

STALL = 10.0
"""Seconds in which, while others wait, some work must end."""

_log = Logger(namespace="pypicache")


@define(eq=False)
class ThreadWorkers:
    """`interfaces.Workers` on a pool of its own: at most `size` threads, made when first needed.

    When the threads come to nothing, as on a disk that hangs, no more than `backlog` works wait for them.
    """

    reactor: Any
    size: int
    name: str
    backlog: int = BACKLOG
    _pool: ThreadPool = field(init=False)
    _under_way: int = field(default=0, init=False)
    _progress: float = field(default=0.0, init=False)
    _complained: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, self.size, self.name)

    def start(self) -> None:
        """Accept work. Call it after the fork."""
        self._pool.start()

    def stop(self) -> None:
        """Wait for the work under way and end the threads."""
        if self._pool.started:
            self._pool.stop()

    @property
    def under_way(self) -> int:
        """Works that were taken and have not ended: up to `size` are being done, the rest waits."""
        return self._under_way

    @property
    def stalled(self) -> bool:
        """Whether works wait and none has ended for `STALL` seconds."""
        return self._under_way > self.size and self.reactor.seconds() - self._progress >= STALL

    def run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        """`work(*args)` in a thread; its result or exception. Raises `Unavailable` when too many wait."""
        if self._under_way >= self.size + self.backlog:
            return fail(Unavailable(f"The {self.name} does not answer"))
        self._under_way += 1
        if self._under_way == self.size + 1:
            self._progress = self.reactor.seconds()
        elif self.stalled and not self._complained:
            self._complained = True
            _log.error("the {name} threads come to nothing: {count} wait", name=self.name, count=self._under_way)
        done: Deferred[T] = Deferred()

        def ended(success: bool, result: Any) -> None:
            self.reactor.callFromThread(self._ended, done, success, result)

        self._pool.callInThreadWithCallback(ended, work, *args)
        return done

    def _ended(self, done: Deferred[T], success: bool, result: Any) -> None:
        """The thread is through, whether or not anybody still waits for that."""
        self._under_way -= 1
        self._progress = self.reactor.seconds()
        if self._complained:
            self._complained = False
            _log.info("the {name} threads go on", name=self.name)
        if success:
            done.callback(result)
        else:
            done.errback(result)
