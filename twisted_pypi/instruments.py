"""What metrics can't count from events: read off the parts when somebody asks, or sampled now and then.

Nothing here waits for the disk when it is asked: what that has to tell is asked of a thread beforehand.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field
from prometheus_client import Info, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from twisted import copyright as twisted_copyright
from twisted_pypi import __version__
from twisted_pypi.errors import Unavailable
from twisted_pypi.fetching.upstream import HttpUpstream
from twisted_pypi.interfaces import Observer
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.occupancy import Space
from twisted_pypi.web.lag import LagSampler
from twisted_pypi.web.metrics import Metrics

SPACE_EVERY = 15.0
"""Seconds between two looks at the file system."""


class Pool(Protocol):
    """Threads, as far as they are shown."""

    size: int
    name: str

    @property
    def under_way(self) -> int:
        """See `workers.ThreadWorkers`."""


@define(eq=False)
class Instruments(Collector):
    """Adds to `metrics` what these parts tell. `answers` is (count, bytes) of those that are kept to be repeated."""

    reactor: Any
    metrics: Metrics
    observer: Observer
    store: DiskStore
    upstream: HttpUpstream
    pools: tuple[Pool, ...]
    answers: Callable[[], tuple[int, int]]
    _space: Space | None = field(default=None, init=False)
    _lag: LagSampler = field(init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _running: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._lag = LagSampler(self.reactor, self.observer)
        registry = self.metrics.registry
        registry.register(self)
        ProcessCollector(registry=registry)
        build = Info("pypicache_build", "Versions of the daemon and of what it stands on", registry=registry)
        build.info({"version": __version__, "python": platform.python_version(), "twisted": twisted_copyright.version})

    def start(self) -> None:
        """Begin to sample. The store must be open."""
        self._running = True
        self._lag.start()
        self._look()

    def stop(self) -> None:
        """Sample no more. Idempotent."""
        self._running = False
        self._lag.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield from self._disk()
        yield from self._memory()
        yield _family("pool_threads", "Threads that may work at once", "pool", {p.name: p.size for p in self.pools})
        waiting = {pool.name: max(0, pool.under_way - pool.size) for pool in self.pools}
        yield _family("pool_waiting", "Works that wait for a thread", "pool", waiting)
        load = {kind: self.upstream.load(kind == "file") for kind in ("page", "file")}
        running, queued = ({kind: pair[place] for kind, pair in load.items()} for place in (0, 1))
        yield _family("fetches_running", "Requests to upstream under way", "kind", running)
        yield _family("fetches_waiting", "Requests to upstream that wait for their turn", "kind", queued)

    def _disk(self) -> Iterator[Metric]:
        taken = self.store.occupancy()
        yield _gauge("cache_entries", "Pages and files in the catalogue", taken.entries)
        used = {"entries": taken.stored, "partial": taken.partial, "overhead": taken.overhead}
        yield _family("cache_used_bytes", "What the cache directory takes", "part", used)
        yield _gauge("cache_limit_bytes", "What it may take (--cache-size)", taken.limit)
        if self._space is not None:
            yield _gauge("disk_free_bytes", "Free space of its file system", self._space.free)
            yield _gauge("disk_size_bytes", "Size of its file system", self._space.whole)
            yield _gauge("disk_reserved_bytes", "What is left free there (--min-free)", self._space.reserved)

    def _memory(self) -> Iterator[Metric]:
        taken, (answers, size) = self.store.occupancy(), self.answers()
        bodies, weight, limit = taken.bodies
        records = {f"{kind}_records": count for kind, count in taken.records.items()}
        held = {"bodies": bodies, "answers": answers, **records}
        yield _family("memory_entries", "What is kept in memory", "cache", held)
        yield _family("memory_bytes", "Bytes kept in memory", "cache", {"bodies": weight, "answers": size})
        yield _gauge("memory_limit_bytes", "What bodies may take (--memory)", limit)

    def _look(self) -> None:
        """Ask for the space; again a while after the answer, however long that takes on a disk that hangs."""
        Deferred.fromCoroutine(self._measure()).addBoth(lambda _: self._look_later())

    async def _measure(self) -> None:
        try:
            self._space = await self.store.space()
        except (OSError, Unavailable):
            self._space = None

    def _look_later(self) -> None:
        if self._running:
            self._next = self.reactor.callLater(SPACE_EVERY, self._look)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pypicache_{name}", text, value=value)


def _family(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"pypicache_{name}", text, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
