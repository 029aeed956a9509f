"""The daemon put together: the order in which a request passes the layers can be read from `assemble`.

client → CacheSite → ProxyResource → mount (path → route)
                          ↓
             CachedPages / DirectoryFiles → CachedFiles → DiskStore
                          ↓
             Refresher / Transfers → DirectoryUpstream → MirroredUpstream → HttpUpstream → index or mirror

`ground` makes the caching, `front` what is above it. While the daemon runs, `parts.Parts.use` brings other settings
into force (`reloading` says when).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from attrs import frozen

from twisted_pypi import __version__
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.clocks import WallClock, seconds_of
from twisted_pypi.directories.ledger import Ledger
from twisted_pypi.directories.serving import Directories, DirectoryFiles, DirectoryUpstream
from twisted_pypi.directories.watching import Watch
from twisted_pypi.fetching.failover import MirroredUpstream
from twisted_pypi.fetching.upstream import HttpUpstream
from twisted_pypi.front import Front
from twisted_pypi.ground import Ground
from twisted_pypi.instruments import Instruments
from twisted_pypi.mounts import mounts_of
from twisted_pypi.observing import observing
from twisted_pypi.parts import Parts
from twisted_pypi.places import places_of
from twisted_pypi.portions import (
    making_metadata,
    store_limits,
    upstream_settings,
)
from twisted_pypi.settings import Settings
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.report import Report
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.layout import READINGS
from twisted_pypi.storage.listing import DiskListing
from twisted_pypi.web.logins import THREADS, Logins
from twisted_pypi.web.memo import Memo
from twisted_pypi.web.resource import Readiness
from twisted_pypi.workers import ThreadWorkers


@frozen
class Pools:
    """Threads for what takes time, in bounded numbers."""

    disk: ThreadWorkers
    catalogue: ThreadWorkers
    parsing: ThreadWorkers
    directories: ThreadWorkers
    listing: ThreadWorkers
    logins: ThreadWorkers

    @classmethod
    def of(cls, reactor: Any) -> Pools:
        """None of them started."""
        pool = partial(ThreadWorkers, reactor)
        return cls(
            disk=pool(4, "disk"),
            catalogue=pool(1, "catalogue"),
            parsing=pool(2, "parsing"),
            directories=pool(1, "directories"),
            listing=pool(1, "listing"),
            logins=pool(THREADS, "logins"),
        )

    @property
    def all(self) -> tuple[ThreadWorkers, ...]:
        """In the order in which they are started and stopped."""
        return self.disk, self.catalogue, self.parsing, self.directories, self.listing, self.logins


def assemble(reactor: Any, settings: Settings) -> Parts:
    """All parts, wired. Opens nothing and starts nothing. Raises `ConfigError` for options that can't be used."""
    pools = Pools.of(reactor)
    wall, steady = WallClock(reactor), seconds_of(reactor)
    mounts = mounts_of(settings)
    told = observing(settings, wall, steady, pools.disk, Naming(mounts, settings.prefix))
    observer = told.observer
    store = DiskStore(settings.cache_dir, pools.disk, pools.catalogue, wall, observer, store_limits(settings))
    upstream = HttpUpstream(reactor, upstream_settings(settings), observer)
    mirrored = MirroredUpstream(upstream, reactor, places_of(settings))
    ledger = Ledger(os.path.join(settings.cache_dir, READINGS))

    def watch(index: str, path: str) -> Watch:
        return Watch(index, path, pools.directories, ledger, observer, wall, pages.forget_absences)

    directories = Directories(watch, settings.indexes)
    supplied = Supplied(store.facts, wall.seconds, making_metadata(settings))
    reached = DirectoryUpstream(mirrored, directories)
    ground = Ground(reactor, wall, settings, observer, pools.parsing, store, reached, supplied)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mounts.permits, mounts.at_home, mounts.page_of)
    files = ground.files(knowledge)
    readiness = Readiness(stalled=lambda: pools.disk.stalled or pools.catalogue.stalled)
    ask = files.transfers.under_way, told.metrics.requests_by_state, store.facts.owner
    report = Report(__version__, steady(), wall, steady, told.statistics, told.health, store, *ask)
    front = Front(
        wall,
        observer,
        pages,
        DirectoryFiles(files, directories, pools.disk),
        knowledge,
        store,
        pools.parsing,
        readiness,
        told.metrics,
        report,
        files.transfers.settled,
        DiskListing(settings.cache_dir, pools.listing),
        Logins(pools.logins, reactor),
    )
    site = front.site(reactor, settings, mounts)

    def answers() -> tuple[int, int]:
        return site.memo.held if isinstance(site.memo, Memo) else (0, 0)

    watched = Instruments(reactor, told.metrics, observer, store, upstream, pools.all, answers)
    caching = site, readiness, pages, files, upstream, mirrored, store
    return Parts(*caching, pools.all, told, knowledge, directories, supplied, front, watched)
