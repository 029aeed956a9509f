"""The daemon put together: the order in which a request passes the layers can be read from `assemble`.

client → CacheSite → ProxyResource → mount (path → route)
                          ↓
             CachedPages / DirectoryFiles → CachedFiles → DiskStore
                          ↓
             Refresher / Transfers → DirectoryUpstream → MirroredUpstream → HttpUpstream → index or mirror

While the daemon runs, `Parts.use` brings other settings into force (`reloading` says when).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any, BinaryIO, cast

from attrs import define, evolve, frozen
from twisted.logger import LogLevel

from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.expired import RenewingUpstream
from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages, PagePolicy
from twisted_pypi.caching.purge import Purger
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
from twisted_pypi.events import Event
from twisted_pypi.fetching.failover import MirroredUpstream
from twisted_pypi.fetching.identity import COMMON
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.upstream import HttpUpstream, UpstreamSettings
from twisted_pypi.figures import Figures
from twisted_pypi.interfaces import Observer, Upstream
from twisted_pypi.places import places_of, replaceable, rules_of
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.settings import Index, Settings
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.layout import READINGS
from twisted_pypi.storage.limits import Limits
from twisted_pypi.web.access_log import AccessLog
from twisted_pypi.web.admission import Admission
from twisted_pypi.web.clients import is_within
from twisted_pypi.web.crowded import CrowdedResource
from twisted_pypi.web.event_log import EventLog
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.web.resource import ProxyResource, Readiness, Services
from twisted_pypi.web.site import CacheSite
from twisted_pypi.workers import ThreadWorkers

IDENTITY = token_hex(8)
"""Which daemon this is, to those that it asks and that may ask it."""

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


@frozen
class Parts:
    """What the service starts and stops, and where settings can be changed meanwhile."""

    site: CacheSite
    readiness: Readiness
    pages: CachedPages
    files: CachedFiles
    upstream: HttpUpstream
    mirrored: MirroredUpstream
    store: DiskStore
    pools: tuple[ThreadWorkers, ...]
    access_log: AccessLog | None
    knowledge: Knowledge
    log: EventLog
    directories: Directories
    supplied: Supplied
    front: Callable[[Settings, IndexMount], Services]

    def use(self, settings: Settings) -> None:
        """Have other settings in force, all at once. Raises `ConfigError`, and then nothing is changed.

        Store, caching and upstream stay the same objects: what they have under way goes on, and is joined.
        """
        fetching = _fetching(settings)
        mount = IndexMount(settings.indexes)
        services = self.front(settings, mount)
        self.upstream.use(fetching)
        self.mirrored.use(places_of(settings))
        self.store.use(_limits(settings))
        self.pages.use(_page_policy(settings))
        self.files.use(settings.offline, settings.not_found_ttl)
        knowledge = self.knowledge
        knowledge.permits, knowledge.at_home, knowledge.page_of = mount.permits, mount.at_home, mount.page_of
        self.log.level = _log_level(settings)
        self.directories.use(settings.indexes)
        self.supplied.wanted = _made(settings)
        _present(self.site, services, settings)


def assemble(reactor: Any, settings: Settings) -> Parts:
    """All parts, wired. Opens nothing and starts nothing. Raises `ConfigError` for options that can't be used."""
    pool = partial(ThreadWorkers, reactor)
    disk, catalogue, parsing = pool(4, "disk"), pool(1, "catalogue"), pool(2, "parsing")
    looking = pool(1, "directories")
    wall = WallClock(reactor)
    metrics, access_log = Metrics(), _access_log(wall, settings)
    log = EventLog(_log_level(settings), seconds=reactor.seconds)
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    observer = Observers(tuple(heard))
    store = DiskStore(settings.cache_dir, disk, catalogue, wall, observer, _limits(settings))
    upstream = HttpUpstream(reactor, _fetching(settings), observer)
    mirrored = MirroredUpstream(upstream, reactor, places_of(settings))
    mount = IndexMount(settings.indexes)
    ledger = Ledger(os.path.join(settings.cache_dir, READINGS))

    def watch(index: str, path: str) -> Watch:
        return Watch(index, path, looking, ledger, observer, wall, pages.forget_absences)

    directories = Directories(watch, settings.indexes)
    supplied = Supplied(store.facts, wall.seconds, _made(settings))
    reached = DirectoryUpstream(mirrored, directories)
    ground = _Ground(reactor, wall, settings, observer, parsing, store, reached, supplied)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mount.permits, mount.at_home, mount.page_of)
    files = ground.files(knowledge)
    readiness = Readiness(stalled=lambda: disk.stalled or catalogue.stalled)
    status = Figures(store, metrics, reactor.seconds(), reactor).now

    def front(settings: Settings, mount: IndexMount) -> Services:
        named = _named(settings.indexes)
        return Services(
            mounts=(*named, mount),
            pages=pages,
            files=DirectoryFiles(files, directories, disk),
            workers=parsing,
            observer=observer,
            clock=wall,
            readiness=readiness,
            purge=Purger((mount, *named), pages, knowledge, store, parsing, files.transfers.settled).purge,
            status=status,
            metrics=metrics.render,
            prefix=settings.prefix,
            base_url=settings.base_url or "",
            allow=settings.allow,
            trusted_proxy=settings.trusted_proxy,
            admin_token=settings.admin_token or "",
            identity=IDENTITY,
        )

    services = front(settings, mount)
    admission = Admission(observer, reactor)
    metrics.watch_connections(lambda: admission.seated + admission.elsewhere)
    site = CacheSite(ProxyResource(services), reactor, observer, wall=wall, admission=admission)
    _present(site, services, settings)
    return Parts(
        site,
        readiness,
        pages,
        files,
        upstream,
        mirrored,
        store,
        (disk, catalogue, parsing, looking),
        access_log,
        knowledge,
        log,
        directories,
        supplied,
        front,
    )


def _present(site: CacheSite, services: Services, settings: Settings) -> None:
    """Have the site serve these, to whom the settings let in."""
    resource = ProxyResource(services)
    site.resource, site.crowded = resource, CrowdedResource(services)
    # With debug, each request's decision is a line of the log: none is answered without being decided.
    site.memo = None if settings.log_level == "debug" else resource.memo
    site.admission.per_client = settings.max_client_connections
    site.admission.is_exempt = lambda host: is_within(host, settings.trusted_proxy)


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
        refresher = Refresher(upstream, store, self.parsing, self.observer, seconds, scratch, *edits)
        return CachedPages(
            self.store,
            self.upstream,
            refresher,
            self.parsing,
            self.observer,
            self.reactor,
            _page_policy(settings),
            seconds,
        )

    def files(self, knowledge: Knowledge) -> CachedFiles:
        """Caching of files: the store, and behind it the transfers, which ask upstream."""
        store, reactor = self.store.files, self.reactor
        spoiled = Spoiled(self.observer, lambda: float(reactor.seconds()))
        transfers = Transfers(RenewingUpstream(self.upstream, knowledge), store, spoiled, reactor)
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


def _named(indexes: tuple[Index, ...]) -> tuple[NamedMount, ...]:
    """Each index of the file alone, below its name; one that is only an address has its URL for a name.

    Whoever asks there means this index, whatever names it is for elsewhere.
    """
    return tuple(
        NamedMount(index.name, IndexMount((evolve(index, routes=()),), index is indexes[-1], len(indexes) > 1))
        for index in indexes
        if index.name != index.url
    )


def _fetching(settings: Settings) -> UpstreamSettings:
    tls = {
        identity: TlsPolicy(settings.ca_file, settings.insecure_host, identity)
        for identity in {COMMON, *(index.tls for index in settings.indexes)}
    }
    return UpstreamSettings(
        settings.connect_timeout,
        settings.read_timeout,
        settings.max_fetches,
        tls[COMMON],
        {
            rules.name: rules
            for index in settings.indexes
            if not index.path
            for rules in rules_of(index, tls, settings.proxies)
        },
        replaceable(settings),
        IDENTITY,
    )


def _page_policy(settings: Settings) -> PagePolicy:
    return PagePolicy(settings.stale_wait, settings.max_stale, settings.offline)


def _made(settings: Settings) -> frozenset[str]:
    """The indexes for which `.metadata` is made."""
    return frozenset(index.name for index in settings.indexes if index.metadata)


def _log_level(settings: Settings) -> Any:
    return LogLevel.levelWithName(settings.log_level)


def _limits(settings: Settings) -> Limits:
    return Limits(
        cache_size=settings.cache_size,
        max_file_size=settings.max_file_size,
        min_free=settings.min_free,
        memory=settings.memory,
        inactive=settings.inactive,
    )


def _access_log(clock: WallClock, settings: Settings) -> AccessLog | None:
    return AccessLog(settings.access_log, clock) if settings.access_log is not None else None


def _scratch(settings: Settings) -> Any:
    """Bodies that don't fit into memory go to the cache's own directory: /tmp may be memory."""

    def make() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOLED, dir=settings.cache_dir))

    return make
