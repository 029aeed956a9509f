"""The daemon put together: the order in which a request passes the layers can be read from `assemble`.

client → CacheSite → ProxyResource → mount (path → route)
                          ↓
             CachedPages / DirectoryFiles → CachedFiles → DiskStore
                          ↓
             Refresher / Transfers → DirectoryUpstream → HttpUpstream → index

While the daemon runs, `Parts.use` brings other settings into force (`reloading` says when).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, cast

from attrs import define, evolve, frozen
from twisted.logger import LogLevel

from twisted_pypi.caching.companion import Companions
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
from twisted_pypi.directories.ledger import Ledger
from twisted_pypi.directories.serving import Directories, DirectoryFiles, DirectoryUpstream
from twisted_pypi.directories.watching import Watch
from twisted_pypi.errors import ConfigError
from twisted_pypi.events import Event
from twisted_pypi.fetching.identity import COMMON, TlsIdentity
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.upstream import HttpUpstream, IndexRules, UpstreamSettings
from twisted_pypi.figures import Figures
from twisted_pypi.interfaces import Observer, Upstream
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.pypi.routes import origins_of
from twisted_pypi.settings import Index, Settings
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.layout import READINGS
from twisted_pypi.storage.limits import Limits
from twisted_pypi.web.access_log import AccessLog
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
    directories: Directories
    supplied: Supplied
    front: Callable[[Settings, IndexMount], ProxyResource]

    def use(self, settings: Settings) -> None:
        """Have other settings in force, all at once. Raises `ConfigError`, and then nothing is changed.

        Store, caching and upstream stay the same objects: what they have under way goes on, and is joined.
        """
        _refuse_unserved(settings.indexes)
        fetching = _fetching(settings)
        mount = IndexMount(settings.indexes)
        resource = self.front(settings, mount)
        self.upstream.use(fetching)
        self.store.use(_limits(settings))
        self.pages.use(_page_policy(settings))
        self.files.use(settings.offline, settings.not_found_ttl)
        self.knowledge.permits = mount.permits
        self.log.level = _log_level(settings)
        self.directories.use(settings.indexes)
        self.supplied.wanted = _made(settings)
        self.site.resource = resource


def assemble(reactor: Any, settings: Settings) -> Parts:
    """All parts, wired. Opens nothing and starts nothing. Raises `ConfigError` for options that can't be used."""
    _refuse_unserved(settings.indexes)
    pool = partial(ThreadWorkers, reactor)
    disk, catalogue, parsing = pool(4, "disk"), pool(1, "catalogue"), pool(2, "parsing")
    looking = pool(1, "directories")
    metrics, access_log = Metrics(), _access_log(reactor, settings)
    log = EventLog(_log_level(settings), seconds=reactor.seconds)
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    observer = Observers(tuple(heard))
    store = DiskStore(settings.cache_dir, disk, catalogue, reactor, observer, _limits(settings))
    upstream = HttpUpstream(reactor, _fetching(settings), observer)
    mount = IndexMount(settings.indexes)
    ledger = Ledger(os.path.join(settings.cache_dir, READINGS))

    def watch(index: str, path: str) -> Watch:
        return Watch(index, path, looking, ledger, observer, reactor, pages.forget_absences)

    directories = Directories(watch, settings.indexes)
    supplied = Supplied(store.facts, reactor.seconds, _made(settings))
    reached = DirectoryUpstream(upstream, directories)
    ground = _Ground(reactor, settings, observer, parsing, store, reached, supplied)
    pages = ground.pages()
    knowledge = Knowledge(store.facts, pages, mount.permits)
    files = ground.files(knowledge)
    readiness = Readiness()
    status = Figures(store, metrics, reactor.seconds(), reactor).now

    def front(settings: Settings, mount: IndexMount) -> ProxyResource:
        named = _named(settings.indexes)
        services = Services(
            mounts=(*named, mount),
            pages=pages,
            files=DirectoryFiles(files, directories, disk),
            workers=parsing,
            observer=observer,
            clock=reactor,
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
        return ProxyResource(services)

    site = CacheSite(front(settings, mount), reactor, observer)
    pools = (disk, catalogue, parsing, looking)
    return Parts(
        site, readiness, pages, files, upstream, store, pools, access_log, knowledge, log, directories, supplied, front
    )


@frozen
class _Ground:
    """What caching stands on."""

    reactor: Any
    settings: Settings
    observer: Observer
    parsing: ThreadWorkers
    store: DiskStore
    upstream: Upstream
    supplied: Supplied

    def pages(self) -> CachedPages:
        """Caching of pages: the store, and behind it the refresher, which asks upstream."""
        settings, seconds = self.settings, self.reactor.seconds
        upstream, store, scratch = self.upstream, self.store.pages, _scratch(settings)
        edits = (Withheld(self.store.facts, seconds), self.supplied)
        refresher = Refresher(upstream, store, self.parsing, self.observer, seconds, scratch, *edits)
        policy = _page_policy(settings)
        return CachedPages(self.store, self.upstream, refresher, self.parsing, self.observer, self.reactor, policy)

    def files(self, knowledge: Knowledge) -> CachedFiles:
        """Caching of files: the store, and behind it the transfers, which ask upstream."""
        store, reactor = self.store.files, self.reactor
        spoiled = Spoiled(self.observer, reactor.seconds)
        transfers = Transfers(self.upstream, store, spoiled, reactor)
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


def _refuse_unserved(indexes: tuple[Index, ...]) -> None:
    """Raises `ConfigError` for what the file may say and nothing heeds: better no start than a silent bypass."""
    for index in indexes:
        for key in ("mirrors", "proxy"):
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
        {index.name: _rules(index, tls) for index in settings.indexes if not index.path},
    )


def _rules(index: Index, tls: Mapping[TlsIdentity, TlsPolicy]) -> IndexRules:
    origins = origins_of(index)
    return IndexRules(index.name, index.url, origins, index.credential, tls[index.tls], index.absent_status)


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


def _access_log(reactor: Any, settings: Settings) -> AccessLog | None:
    return AccessLog(settings.access_log, reactor) if settings.access_log is not None else None


def _scratch(settings: Settings) -> Any:
    """Bodies that don't fit into memory go to the cache's own directory: /tmp may be memory."""

    def make() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOLED, dir=settings.cache_dir))

    return make
