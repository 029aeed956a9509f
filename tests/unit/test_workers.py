"""Worker threads that come to nothing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from twisted_pypi.errors import Unavailable
from twisted_pypi.workers import STALL, ThreadWorkers

DEADLINE = 60


class Reactor(Clock):
    """Time that the test tells, and calls from threads that it lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_from_threads: queue.Queue[Any] = queue.Queue()

    def callFromThread(self, call: Any, *args: object) -> None:  # noqa: N802
        self.calls_from_threads.put((call, args))

    def turn(self) -> None:
        """The next call from a thread, once there is one."""
        call, args = self.calls_from_threads.get(timeout=DEADLINE)
        call(*args)


class Hanging:
    """Two threads, and works that hang until they are let go."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.workers = ThreadWorkers(self.reactor, 2, "disk", backlog=3)
        self.workers.start()
        self.free = threading.Event()
        self.results: list[object] = []

    def run(self, count: int = 1) -> None:
        for _ in range(count):
            self.workers.run(self.free.wait, DEADLINE).addBoth(self.results.append)

    def let_go(self, count: int) -> None:
        self.free.set()
        for _ in range(count):
            self.reactor.turn()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.free.set()
    made.workers.stop()


def test_what_waits_is_bounded(hanging: Hanging) -> None:
    hanging.run(5)
    assert hanging.results == []
    hanging.run()
    (failure,) = hanging.results
    failure.trap(Unavailable)
    hanging.let_go(5)
    assert hanging.results[1:] == [True] * 5
    hanging.run()
    hanging.reactor.turn()
    assert len(hanging.results) == 7


def test_threads_that_are_merely_busy_are_not_stalled(hanging: Hanging) -> None:
    hanging.run(2)
    hanging.reactor.advance(10 * STALL)
    assert not hanging.workers.stalled
    hanging.run()
    assert not hanging.workers.stalled


def test_works_that_wait_in_vain_are(hanging: Hanging) -> None:
    hanging.run(3)
    hanging.reactor.advance(STALL - 1)
    assert not hanging.workers.stalled
    hanging.reactor.advance(1)
    assert hanging.workers.stalled
    hanging.let_go(1)
    assert not hanging.workers.stalled
    hanging.let_go(2)


def test_a_work_that_nobody_waits_for_still_takes_its_thread(hanging: Hanging) -> None:
    for _ in range(5):
        given_up = hanging.workers.run(hanging.free.wait, DEADLINE)
        given_up.addErrback(lambda failure: failure.trap(CancelledError))
        given_up.cancel()
    hanging.run()
    (failure,) = hanging.results
    failure.trap(Unavailable)
    hanging.let_go(5)
