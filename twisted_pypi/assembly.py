"""The daemon put together: the order in which a request passes the layers can be read from `assemble`.

client → CacheSite → ProxyResource → mount (path → route)
                          ↓
             CachedPages / DirectoryFiles → CachedFiles → DiskStore
                          ↓
             Refresher / Transfers → DirectoryUpstream → MirroredUpstream → HttpUpstream → index or mirror

While the daemon runs, `parts.Parts.use` brings other settings into force (`reloading` says when).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, BinaryIO, cast

from attrs import define, frozen

from twisted_pypi import __version__
from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.expired import RenewingUpstream
from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.inventory import Inventory
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.purge import CachePurger
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.caching.spoiled import Spoiled
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.caching.supplying import Supplier
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.caching.withheld import Withheld
from twisted_pypi.clocks import WallClock
from twisted_pypi.directories.ledger import Ledger
from twisted_pypi.directories.serving import Directories, DirectoryFiles, DirectoryUpstream
from twisted_pypi.directories.watching import Watch
from twisted_pypi.events import Event, StoreTrouble
from twisted_pypi.fetching.failover import MirroredUpstream
from twisted_pypi.fetching.upstream import HttpUpstream
from twisted_pypi.figures import sources_of
from twisted_pypi.instruments import Instruments
from twisted_pypi.interfaces import Listing, Observer, Upstream
from twisted_pypi.journal import is_journal
from twisted_pypi.mounts import Mounts, mounts_of
from twisted_pypi.parts import Parts, present
from twisted_pypi.places import places_of
from twisted_pypi.portions import (
    IDENTITY,
    log_level,
    making_metadata,
    origins,
    page_policy,
    store_limits,
    upstream_settings,
)
from twisted_pypi.settings import Settings
from twisted_pypi.status.contents import Contents
from twisted_pypi.status.health import Health
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.pages import Shown, StatusPages
from twisted_pypi.status.report import Report
from twisted_pypi.status.statistics import Statistics
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.kept import KeptFile
from twisted_pypi.storage.layout import READINGS, STATISTICS
from twisted_pypi.storage.listing import DiskListing
from twisted_pypi.web.access_lines import LINE_FORMS, UNDATED
from twisted_pypi.web.access_log import AccessLog
from twisted_pypi.web.admission import Admission
from twisted_pypi.web.event_log import EventLog
from twisted_pypi.web.logins import THREADS, Logins
from twisted_pypi.web.memo import Memo
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.web.resource import ProxyResource, Readiness, Services
from twisted_pypi.web.site import CacheSite
from twisted_pypi.workers import ThreadWorkers

SPOOLED = 8 << 20
"""Bytes of a page's body that are kept in memory; what is larger goes to a temporary file."""


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
    wall = WallClock(reactor)
    metrics, access_log = Metrics(origins(settings)), _access_log(wall, settings)
    log = EventLog(log_level(settings), seconds=lambda: float(reactor.seconds()))  # a steady one takes its place
    health = Health(lambda: float(reactor.seconds()))
    statistics = _statistics(reactor, wall, settings, disk, lambda event: observer(event))
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    heard += [statistics.observe, health.observe]
    observer = Observers(tuple(heard))
    store = DiskStore(settings.cache_dir, disk, catalogue, wall, observer, store_limits(settings))
    upstream = HttpUpstream(reactor, upstream_settings(settings), observer)
    mirrored = MirroredUpstream(upstream, reactor, places_of(settings))
    mounts = mounts_of(settings)
    ledger = Ledger(os.path.join(settings.cache_dir, READINGS))

    def watch(index: str, path: str) -> Watch:
        return Watch(index, path, looking, ledger, observer, wall, pages.forget_absences)

    directories = Directories(watch, settings.indexes)
    supplied = Supplied(store.facts, wall.seconds, making_metadata(settings))
    reached = DirectoryUpstream(mirrored, directories)
    ground = _Ground(reactor, wall, settings, observer, parsing, store, reached, supplied)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mounts.permits, mounts.at_home, mounts.page_of)
    files = ground.files(knowledge)
    readiness = Readiness(stalled=lambda: disk.stalled or catalogue.stalled)
    report = Report(
        __version__,
        reactor.seconds(),
        wall,
        lambda: float(reactor.seconds()),
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
    front = _Front(
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


@frozen
class _Front:
    """What clients are served from."""

    wall: WallClock
    observer: Observer
    pages: CachedPages
    files: DirectoryFiles
    knowledge: Knowledge
    store: DiskStore
    parsing: ThreadWorkers
    readiness: Readiness
    metrics: Metrics
    report: Report
    settled: Callable[[str], Awaitable[None]]
    listing: Listing
    logins: Logins

    def __call__(self, settings: Settings, mounts: Mounts) -> Services:
        """What the site needs to serve under these settings."""
        inventory = Inventory(self.listing, (mounts,), self.wall.seconds)
        self.report.statistics.naming = Naming((mounts,), settings.prefix)
        self.store.use_names(mounts.name_of)
        return Services(
            mounts=(mounts,),
            pages=self.pages,
            files=self.files,
            workers=self.parsing,
            observer=self.observer,
            clock=self.wall,
            readiness=self.readiness,
            purger=self._purger(mounts),
            status=self._status(settings, inventory),
            metrics=self.metrics.render,
            inventory=inventory,
            prefix=settings.prefix,
            base_url=settings.base_url or "",
            allow=settings.allow,
            trusted_proxy=settings.trusted_proxy,
            admin_token=settings.admin_token or "",
            identity=IDENTITY,
            offline=settings.offline,
            mount_names=mounts.names,
            logins=self.logins if settings.htpasswd is not None else None,
        )

    def _purger(self, mounts: Mounts) -> CachePurger:
        stored = self.store, self.listing
        return CachePurger((mounts,), self.pages, self.knowledge, *stored, self.parsing, self.settled)

    def _status(self, settings: Settings, inventory: Inventory) -> StatusPages:
        contents = Contents(inventory, self.report.steady, self.wall.seconds)
        npm = any(registry.path == "/npm/" for registry in settings.npm)
        shown = Shown(sources_of(settings), settings.offline, bool(settings.admin_token), npm)
        return StatusPages(self.report, shown, contents, self.parsing)

    def site(self, reactor: Any, settings: Settings, mounts: Mounts) -> CacheSite:
        """The site that serves under these settings until others come into force."""
        services = self(settings, mounts)
        admission = Admission(self.observer, reactor)
        self.metrics.watch_connections(lambda: admission.seated + admission.elsewhere)
        site = CacheSite(ProxyResource(services), reactor, self.observer, wall=self.wall, admission=admission)
        present(site, services, settings)
        return site


@frozen
class _Ground:
    """What caching stands on."""

    reactor: Any
    wall: WallClock
    settings: Settings
    observer: Observer
    parsing: ThreadWorkers
    store: DiskStore
    upstream: Upstream
    supplied: Supplied

    def pages(self) -> CachedPages:
        """Caching of pages: the store, and behind it the refresher, which asks upstream."""
        settings, seconds = self.settings, self.wall.seconds
        upstream, store, scratch = self.upstream, self.store.pages, _scratch(settings)
        edits = (Withheld(self.store.facts, seconds), self.supplied)

        def steady() -> float:  # asked for each time: `make_steady` replaces the reactor's clock later
            return float(self.reactor.seconds())

        refresher = Refresher(upstream, store, self.parsing, self.observer, seconds, scratch, *edits, steady)
        return CachedPages(
            self.store,
            self.upstream,
            refresher,
            self.parsing,
            self.observer,
            self.reactor,
            page_policy(settings),
            seconds,
        )

    def files(self, knowledge: Knowledge) -> CachedFiles:
        """Caching of files: the store, and behind it the transfers, which ask upstream."""
        store, reactor = self.store.files, self.reactor
        spoiled = Spoiled(self.observer, lambda: float(reactor.seconds()))
        transfers = Transfers(RenewingUpstream(self.upstream, knowledge, reactor), store, spoiled, reactor)
        companions = Companions(store, self.parsing)
        return CachedFiles(
            store,
            knowledge,
            transfers,
            companions,
            Supplier(self.supplied, companions, transfers, self.store.pages, spoiled, reactor),
            self.observer,
            reactor,
            self.settings.offline,
            self.settings.not_found_ttl,
            spoiled.spoiled,
        )


def _statistics(
    reactor: Any, wall: WallClock, settings: Settings, disk: ThreadWorkers, observer: Observer
) -> Statistics:
    def trouble(what: str, reason: str) -> None:
        observer(StoreTrouble(what, reason))

    kept = KeptFile(settings.cache_dir, STATISTICS)
    return Statistics(kept, disk, wall, lambda: float(reactor.seconds()), trouble)


def _access_log(clock: WallClock, settings: Settings) -> AccessLog | None:
    path = settings.access_log
    if path is None:
        return None
    undated = settings.access_log_format == "text" and path == "-" and is_journal()
    return AccessLog(path, clock, form=UNDATED if undated else LINE_FORMS[settings.access_log_format])


def _scratch(settings: Settings) -> Any:
    """Bodies that don't fit into memory go to the cache's own directory: /tmp may be memory."""

    def make() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOLED, dir=settings.cache_dir))

    return make
