"""The daemon put together: the order in which a request passes the layers can be read from `assemble`.

client → CacheSite → ProxyResource → mount (path → route)
                          ↓
             CachedPages / CachedFiles → DiskStore
                          ↓
             Refresher / Transfers → HttpUpstream → index

While the daemon runs, `Parts.use` brings other settings into force (`reloading` says when).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, cast

from attrs import define, evolve, frozen
from twisted.logger import LogLevel

from twisted_pypi import __version__
from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages, PagePolicy
from twisted_pypi.caching.purge import Purger
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.caching.spoiled import Spoiled
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.caching.withheld import Withheld
from twisted_pypi.clocks import WallClock
from twisted_pypi.errors import ConfigError
from twisted_pypi.events import Event
from twisted_pypi.fetching.identity import COMMON, TlsIdentity
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.upstream import HttpUpstream, IndexRules, UpstreamSettings
from twisted_pypi.interfaces import Observer
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.pypi.routes import origins_of
from twisted_pypi.settings import Index, Settings
from twisted_pypi.storage.disk import DiskStore
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
    store: DiskStore
    pools: tuple[ThreadWorkers, ...]
    access_log: AccessLog | None
    knowledge: Knowledge
    log: EventLog
    front: Callable[[Settings, IndexMount], Services]

    def use(self, settings: Settings) -> None:
        """Have other settings in force, all at once. Raises `ConfigError`, and then nothing is changed.

        Store, caching and upstream stay the same objects: what they have under way goes on, and is joined.
        """
        _refuse_unserved(settings.indexes)
        fetching = _fetching(settings)
        mount = IndexMount(settings.indexes)
        services = self.front(settings, mount)
        self.upstream.use(fetching)
        self.store.use(_limits(settings))
        self.pages.use(_page_policy(settings))
        self.files.use(settings.offline, settings.not_found_ttl)
        self.knowledge.permits, self.knowledge.at_home = mount.permits, mount.at_home
        self.log.level = _log_level(settings)
        _present(self.site, services, settings)


def assemble(reactor: Any, settings: Settings) -> Parts:
    """All parts, wired. Opens nothing and starts nothing. Raises `ConfigError` for options that can't be used."""
    _refuse_unserved(settings.indexes)
    pool = partial(ThreadWorkers, reactor)
    disk, catalogue, parsing = pool(4, "disk"), pool(1, "catalogue"), pool(2, "parsing")
    wall = WallClock(reactor)
    metrics, access_log = Metrics(), _access_log(wall, settings)
    log = EventLog(_log_level(settings), seconds=reactor.seconds)
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    observer = Observers(tuple(heard))
    store = DiskStore(settings.cache_dir, disk, catalogue, wall, observer, _limits(settings))
    upstream = HttpUpstream(reactor, _fetching(settings), observer)
    mount = IndexMount(settings.indexes)
    ground = _Ground(reactor, wall, settings, observer, parsing, store, upstream)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mount.permits, mount.at_home)
    files = ground.files(knowledge)
    readiness = Readiness(stalled=lambda: disk.stalled or catalogue.stalled)
    status = Figures(store, metrics, reactor.seconds(), reactor).now

    def front(settings: Settings, mount: IndexMount) -> Services:
        named = _named(settings.indexes)
        return Services(
            mounts=(*named, mount),
            pages=pages,
            files=files,
            workers=parsing,
            observer=observer,
            clock=wall,
            readiness=readiness,
            purge=Purger((mount, *named), pages, knowledge, store, parsing).purge,
            status=status,
            metrics=metrics.render,
            prefix=settings.prefix,
            base_url=settings.base_url or "",
            allow=settings.allow,
            trusted_proxy=settings.trusted_proxy,
            admin_token=settings.admin_token or "",
        )

    services = front(settings, mount)
    admission = Admission(observer, reactor)
    metrics.watch_connections(lambda: admission.seated + admission.elsewhere)
    site = CacheSite(ProxyResource(services), reactor, observer, wall=wall, admission=admission)
    _present(site, services, settings)
    pools = (disk, catalogue, parsing)
    return Parts(site, readiness, pages, files, upstream, store, pools, access_log, knowledge, log, front)


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
    upstream: HttpUpstream

    def pages(self) -> CachedPages:
        """Caching of pages: the store, and behind it the refresher, which asks upstream."""
        settings, seconds = self.settings, self.wall.seconds
        withheld = Withheld(self.store.facts, seconds)
        refresher = Refresher(
            self.upstream, self.store.pages, self.parsing, self.observer, seconds, _scratch(settings), withheld
        )
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
        return CachedFiles(
            store,
            knowledge,
            Transfers(self.upstream, store, spoiled, reactor, knowledge.remember),
            Companions(store, self.parsing),
            self.observer,
            reactor,
            self.settings.offline,
            self.settings.not_found_ttl,
            spoiled.spoiled,
        )


def _refuse_unserved(indexes: tuple[Index, ...]) -> None:
    """Raises `ConfigError` for what the file may say and nothing heeds: better no start than a silent bypass."""
    for index in indexes:
        for key in ("path", "mirrors", "proxy"):
            if getattr(index, key):
                raise ConfigError(f"[[index]] {index.name}: {key}", "is not served by this version")


def _named(indexes: tuple[Index, ...]) -> tuple[NamedMount, ...]:
    """Each index of the file alone, below its name; one that is only an address has its URL for a name.

    Whoever asks there means this index, whatever names it is for elsewhere.
    """
    return tuple(
        NamedMount(index.name, IndexMount((evolve(index, routes=()),), short_links=index is indexes[-1]))
        for index in indexes
        if index.name != index.url
    )


@define
class Figures:
    """What `/+status` and the status page show."""

    store: DiskStore
    metrics: Metrics
    started: float
    clock: Any

    def now(self) -> Mapping[str, object]:
        """The figures of this moment."""
        entries, size = self.store.usage()
        return {
            "version": __version__,
            "uptime_seconds": round(self.clock.seconds() - self.started),
            "entries": entries,
            "bytes": size,
            "requests": self.metrics.requests_by_state(),
        }


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
        {index.name: _rules(index, tls) for index in settings.indexes},
    )


def _rules(index: Index, tls: Mapping[TlsIdentity, TlsPolicy]) -> IndexRules:
    origins = origins_of(index)
    return IndexRules(index.name, index.url, origins, index.credential, tls[index.tls], index.absent_status)


def _page_policy(settings: Settings) -> PagePolicy:
    return PagePolicy(settings.stale_wait, settings.max_stale, settings.offline)


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
