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
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define

from twisted_pypi import __version__
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.clocks import WallClock, seconds_of
from twisted_pypi.directories.ledger import Ledger
from twisted_pypi.directories.serving import Directories, DirectoryFiles, DirectoryUpstream
from twisted_pypi.directories.watching import Watch
from twisted_pypi.events import Event, StoreTrouble
from twisted_pypi.fetching.failover import MirroredUpstream
from twisted_pypi.fetching.upstream import HttpUpstream
from twisted_pypi.front import Front
from twisted_pypi.ground import Ground
from twisted_pypi.instruments import Instruments
from twisted_pypi.interfaces import Observer
from twisted_pypi.journal import is_journal
from twisted_pypi.mounts import mounts_of
from twisted_pypi.parts import Parts
from twisted_pypi.places import places_of
from twisted_pypi.portions import (
    log_level,
    making_metadata,
    origins,
    store_limits,
    upstream_settings,
)
from twisted_pypi.settings import Settings
from twisted_pypi.status.health import Health
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.report import Report
from twisted_pypi.status.statistics import Statistics
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.kept import KeptFile
from twisted_pypi.storage.layout import READINGS, STATISTICS
from twisted_pypi.storage.listing import DiskListing
from twisted_pypi.web.access_lines import LINE_FORMS, UNDATED
from twisted_pypi.web.access_log import AccessLog
from twisted_pypi.web.event_log import EventLog
from twisted_pypi.web.logins import THREADS, Logins
from twisted_pypi.web.memo import Memo
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.web.resource import Readiness
from twisted_pypi.workers import ThreadWorkers


@define
class Observers:
    """Tells each event to all who want to know."""

    _all: tuple[Observer, ...]

    def __call__(self, event: Event) -> None:
        """Tell them."""
        for observer in self._all:
            observer(event)


def assemble(reactor: Any, settings: Settings) -> Parts:
    """All parts, wired. Opens nothing and starts nothing. Raises `ConfigError` for options that can't be used."""
    pool = partial(ThreadWorkers, reactor)
    disk, catalogue, parsing = pool(4, "disk"), pool(1, "catalogue"), pool(2, "parsing")
    looking, listing = pool(1, "directories"), pool(1, "listing")
    checking = pool(THREADS, "logins")
    wall, steady = WallClock(reactor), seconds_of(reactor)
    metrics, access_log = Metrics(origins(settings)), _access_log(wall, settings)
    log = EventLog(log_level(settings), seconds=steady)
    health = Health(steady)
    mounts = mounts_of(settings)
    naming = Naming(mounts, settings.prefix)
    statistics = _statistics(steady, wall, settings, disk, lambda event: observer(event), naming)
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    heard += [statistics.observe, health.observe]
    observer = Observers(tuple(heard))
    store = DiskStore(settings.cache_dir, disk, catalogue, wall, observer, store_limits(settings))
    upstream = HttpUpstream(reactor, upstream_settings(settings), observer)
    mirrored = MirroredUpstream(upstream, reactor, places_of(settings))
    ledger = Ledger(os.path.join(settings.cache_dir, READINGS))

    def watch(index: str, path: str) -> Watch:
        return Watch(index, path, looking, ledger, observer, wall, pages.forget_absences)

    directories = Directories(watch, settings.indexes)
    supplied = Supplied(store.facts, wall.seconds, making_metadata(settings))
    reached = DirectoryUpstream(mirrored, directories)
    ground = Ground(reactor, wall, settings, observer, parsing, store, reached, supplied)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mounts.permits, mounts.at_home, mounts.page_of)
    files = ground.files(knowledge)
    readiness = Readiness(stalled=lambda: disk.stalled or catalogue.stalled)
    report = Report(
        __version__,
        steady(),
        wall,
        steady,
        statistics,
        health,
        store,
        files.transfers.under_way,
        metrics.requests_by_state,
        store.facts.owner,
    )
    served = DirectoryFiles(files, directories, disk)
    settled = files.transfers.settled
    listed, logins = DiskListing(settings.cache_dir, listing), Logins(checking, reactor)
    front = Front(
        wall, observer, pages, served, knowledge, store, parsing, readiness, metrics, report, settled, listed, logins
    )
    site = front.site(reactor, settings, mounts)
    pools = (disk, catalogue, parsing, looking, listing, checking)

    def answers() -> tuple[int, int]:
        return site.memo.held if isinstance(site.memo, Memo) else (0, 0)

    return Parts(
        site,
        readiness,
        pages,
        files,
        upstream,
        mirrored,
        store,
        pools,
        access_log,
        knowledge,
        log,
        directories,
        supplied,
        statistics,
        front,
        metrics,
        Instruments(reactor, metrics, observer, store, upstream, pools, answers),
    )


def _statistics(
    steady: Callable[[], float],
    wall: WallClock,
    settings: Settings,
    disk: ThreadWorkers,
    observer: Observer,
    naming: Naming,
) -> Statistics:
    def trouble(what: str, reason: str) -> None:
        observer(StoreTrouble(what, reason))

    kept = KeptFile(settings.cache_dir, STATISTICS)
    return Statistics(kept, disk, wall, steady, trouble, naming)


def _access_log(clock: WallClock, settings: Settings) -> AccessLog | None:
    path = settings.access_log
    if path is None:
        return None
    undated = settings.access_log_format == "text" and path == "-" and is_journal()
    return AccessLog(path, clock, form=UNDATED if undated else LINE_FORMS[settings.access_log_format])
