"""What metrics tell that isn't counted from events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define
from prometheus_client import CollectorRegistry
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_pypi.errors import Unavailable
from twisted_pypi.events import Event, ReactorLagged
from twisted_pypi.fetching.upstream import HttpUpstream, UpstreamSettings
from twisted_pypi.instruments import SPACE_EVERY, Instruments
from twisted_pypi.portions import origins
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.occupancy import Space
from twisted_pypi.web.lag import BOUNDS, EVERY, LagSampler
from twisted_pypi.web.metrics import Metrics
from unit.storage_doubles import Disk, now, put_file
from unit.test_config import settings
from unit.whole import Whole


@define
class Pool:
    size: int
    name: str
    under_way: int


@define
class Bench:
    """Instruments over a store in a directory."""

    disk: Disk
    clock: Clock
    events: list[Event]
    instruments: Instruments
    registry: CollectorRegistry

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"pypicache_{name}", labels)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    disk = Disk(str(tmp_path / "cache"), limits=Limits(cache_size=1 << 20, min_free=7, memory=4096))
    disk.start()
    clock, metrics, events = Clock(), Metrics(), list[Event]()
    upstream = HttpUpstream(clock, UpstreamSettings(max_fetches=1), events.append)
    pools = (Pool(4, "disk", 7), Pool(1, "catalogue", 1))
    instruments = Instruments(clock, metrics, events.append, disk.store, upstream, pools, lambda: (3, 333))
    yield Bench(disk, clock, events, instruments, metrics.registry)
    now(disk.store.stop())


def test_the_store(bench: Bench) -> None:
    put_file(bench.disk.store, b"wheel")
    assert bench.value("cache_entries") == 1
    assert bench.value("cache_used_bytes", part="entries") == 5
    assert bench.value("cache_used_bytes", part="partial") == 0
    assert (bench.value("cache_used_bytes", part="overhead") or 0) > 0
    assert bench.value("cache_limit_bytes") == 1 << 20
    assert bench.value("memory_limit_bytes") == 4096


def test_memory(bench: Bench) -> None:
    file = put_file(bench.disk.store, b"wheel")
    source = bench.disk.store.files.hot_body(now(bench.disk.store.files.get(file.key)))
    assert source is not None
    assert bench.value("memory_entries", cache="bodies") == 1
    assert bench.value("memory_bytes", cache="bodies") == 5
    assert bench.value("memory_entries", cache="file_records") == 1
    assert bench.value("memory_entries", cache="answers") == 3
    assert bench.value("memory_bytes", cache="answers") == 333


def test_threads_and_fetches(bench: Bench) -> None:
    assert bench.value("pool_threads", pool="disk") == 4
    assert bench.value("pool_waiting", pool="disk") == 3
    assert bench.value("pool_waiting", pool="catalogue") == 0
    slots = bench.instruments.upstream._slots[True]
    for _ in range(3):
        Deferred.fromCoroutine(slots.acquire("192.0.2.7", "https://files.example"))
    assert bench.value("fetches_running", kind="file") == 1
    assert bench.value("fetches_waiting", kind="file") == 2
    assert bench.value("fetches_running", kind="page") == 0


def test_the_file_system_is_looked_at_now_and_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Callable[[], Space]] = []

    async def space() -> Space:
        return told.pop()()

    def broken() -> Space:
        raise Unavailable("hangs")

    monkeypatch.setattr(type(bench.disk.store), "space", lambda _: space())
    assert bench.value("disk_free_bytes") is None
    told.append(lambda: Space(10, 100, 7))
    bench.instruments.start()
    for name, size in (("free", 10), ("size", 100), ("reserved", 7)):
        assert bench.value(f"disk_{name}_bytes") == size
    told.append(broken)
    bench.clock.advance(SPACE_EVERY)
    assert bench.value("disk_free_bytes") is None
    told.append(lambda: Space(11, 100, 7))
    bench.clock.advance(SPACE_EVERY)
    assert bench.value("disk_free_bytes") == 11
    bench.instruments.stop()
    assert bench.clock.getDelayedCalls() == []


def test_a_disk_that_hangs_is_asked_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Deferred[Space]] = []

    async def space() -> Space:
        asked.append(Deferred())
        return await asked[-1]

    monkeypatch.setattr(type(bench.disk.store), "space", lambda _: space())
    bench.instruments.start()
    bench.clock.advance(SPACE_EVERY * 3)
    assert len(asked) == 1
    bench.instruments.stop()
    asked[0].callback(Space(1, 2, 3))
    assert bench.clock.getDelayedCalls() == []


def test_the_space_is_that_of_the_file_system(bench: Bench) -> None:
    space = now(bench.disk.store.space())
    assert 0 < space.free <= space.whole
    assert space.reserved == 7


@pytest.mark.parametrize(
    ("late", "seconds"), [(0.0, 0.001), (0.0011, 0.005), (0.09, 0.1), (10.0, 10.0), (10.1, 60.0), (-5.0, 0.001)]
)
def test_how_late_the_reactor_is(late: float, seconds: float) -> None:
    clock, events = Clock(), list[Event]()
    sampler = LagSampler(clock, events.append)
    sampler.start()
    (call,) = clock.getDelayedCalls()
    clock.rightNow += EVERY + late
    call.reset(0)
    clock.advance(0)
    clock.advance(EVERY)
    assert events == [ReactorLagged(seconds), ReactorLagged(0.001)]
    sampler.stop()
    sampler.stop()
    assert clock.getDelayedCalls() == []


def test_a_lag_is_the_same_event_each_time() -> None:
    clock, events = Clock(), list[Event]()
    LagSampler(clock, events.append, worker=True).start()
    clock.pump([EVERY] * 3)
    assert len(events) == 3
    assert len(set(map(id, events))) == 1
    assert events[0] == ReactorLagged(BOUNDS[0], worker=True)


def test_the_process_and_its_versions(bench: Bench) -> None:
    text = bench.instruments.metrics.render()[1].decode()
    assert "process_resident_memory_bytes " in text
    assert "process_cpu_seconds_total " in text
    assert 'pypicache_build_info{python="3.' in text


def test_in_the_daemon_put_together(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    try:
        text = whole.get("/metrics").body.decode()
        assert "\npypicache_cache_entries 0.0\n" in text
        assert 'pypicache_pool_threads{pool="disk"}' in text
        origin = next(iter(origins(whole.settings)))
        assert f'pypicache_breaker_open{{origin="{origin}"}} 0.0\n' in text
        assert 'pypicache_memory_entries{cache="answers"}' in text
    finally:
        whole.stop()


def test_the_origins_that_are_configured() -> None:
    text = """
        index-url = "https://index.example/simple/"
        files-url = "https://files.example/"
        file-host = ["more.example:8443"]
        [[index]]
        name = "internal"
        url = "http://user:secret@internal.example:8080/simple/"
        mirrors = ["https://mirror.example/simple/"]
        [[index]]
        name = "folder"
        path = "/srv/wheels"
    """
    assert origins(settings(None, {}, text)) == {
        "https://index.example",
        "https://files.example",
        "https://more.example:8443",
        "http://internal.example:8080",
        "https://mirror.example",
    }
