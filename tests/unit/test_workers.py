"""Worker threads that come to nothing."""

from __future__ import annotations

import ctypes
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
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


ARENAS = """
import ctypes, sys, threading
from twisted_pypi.workers import ThreadWorkers
workers = ThreadWorkers(None, 4, "test")
workers.start()
barrier = threading.Barrier(5)
def work():
    held = bytearray(50_000)  # too large for Python's own allocator, too small for a mapping of its own
    barrier.wait(60)
    barrier.wait(60)
for _ in range(4):
    workers._pool.callInThread(work)
barrier.wait(60)
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
barrier.wait(60)
workers.stop()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_threads_share_the_memory_that_they_free(tmp_path: Path) -> None:
    told = tmp_path / "arenas"
    subprocess.run([sys.executable, "-c", ARENAS, str(told)], check=True, timeout=120)
    assert told.read_text().count("<heap ") == 1
