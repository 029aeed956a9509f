"""The time of day is set by a day, back and forward: timers don't notice, pages are revalidated once."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from twisted_pypi.answers import Asker, CacheState
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.clocks import WallClock, make_steady
from twisted_pypi.errors import Absent
from twisted_pypi.storage.memory import MemoryStore
from unit.doubles import FakeUpstream, InlineWorkers, answer, page_route, scratch, source

DAY = 86400.0
JUMPS = [DAY, -DAY]


class Times:
    """The time of day and the monotonic time."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 5.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.mark.parametrize("jump", JUMPS)
def test_timers_of_twisted_follow_the_steady_clock(jump: float) -> None:
    times, fired = Times(), []
    reactor = SelectReactor()
    reactor.seconds = lambda: times.wall  # as Twisted's own
    reactor.callLater(10, fired.append, "pending")
    make_steady(reactor, lambda: times.steady)
    reactor.callLater(20, fired.append, "later")
    reactor.runUntilCurrent()
    times.wall += jump
    times.pass_(9.9)
    reactor.runUntilCurrent()
    assert fired == []
    times.pass_(0.1)
    reactor.runUntilCurrent()
    assert fired == ["pending"]
    times.pass_(10)
    reactor.runUntilCurrent()
    assert fired == ["pending", "later"]


def test_the_wall_clock() -> None:
    clock, fired = Clock(), []
    wall = WallClock(clock, lambda: 7.0)
    assert verifyObject(IReactorTime, wall)
    call = wall.callLater(3, fired.append, 1)
    assert wall.seconds() == 7.0
    assert list(wall.getDelayedCalls()) == [call]
    clock.advance(3)
    assert fired == [1]


class Cache:
    """Pages whose age is of a time of day that can be set."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.offset = 1_000_000.0
        self.events: list[object] = []
        self.upstream, self.store = FakeUpstream(), MemoryStore()
        workers = InlineWorkers()
        refresher = Refresher(self.upstream, self.store.pages, workers, self.events.append, self.now, scratch)
        self.pages = CachedPages(
            self.store, self.upstream, refresher, workers, self.events.append, self.clock, now=self.now
        )

    def now(self) -> float:
        return self.clock.seconds() + self.offset

    def ask(self) -> Deferred:
        return Deferred.fromCoroutine(self.pages.answer(page_route(source()), Asker()))

    def state(self) -> CacheState:
        return self.ask().result.provenance.state


@pytest.mark.parametrize("jump", JUMPS)
def test_a_page_is_revalidated_once(jump: float) -> None:
    cache = Cache()
    asked = cache.ask()
    cache.upstream.answer(answer(200, b"one", etag='"1"'))
    assert asked.result.provenance.state is CacheState.MISS
    assert cache.state() is CacheState.HIT
    cache.offset += jump
    asked = cache.ask()
    cache.upstream.answer(answer(304))
    assert asked.result.provenance.state is CacheState.REVALIDATED
    assert [cache.state() for _ in range(3)] == [CacheState.HIT] * 3
    assert len(cache.upstream.requests) == 2


@pytest.mark.parametrize("jump", JUMPS)
def test_what_upstream_lacks_is_forgotten_in_time(jump: float) -> None:
    cache = Cache()
    asked = cache.ask()
    cache.upstream.answer(answer(404))
    asked.addErrback(lambda failure: failure.trap(Absent))
    cache.offset += jump
    asked = cache.ask()
    asked.addErrback(lambda failure: failure.trap(Absent))
    assert len(cache.upstream.requests) == 1
    cache.clock.advance(60)
    cache.ask()
    assert len(cache.upstream.requests) == 2
