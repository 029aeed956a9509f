"""The daemon's parts, and how other settings come into force in them while it runs."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.directories.serving import Directories
from twisted_pypi.fetching.failover import MirroredUpstream
from twisted_pypi.fetching.upstream import HttpUpstream
from twisted_pypi.instruments import Instruments
from twisted_pypi.mounts import Mounts, mounts_of
from twisted_pypi.observing import Observing
from twisted_pypi.places import places_of
from twisted_pypi.portions import log_level, making_metadata, origins, page_policy, store_limits, upstream_settings
from twisted_pypi.settings import Settings
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.web.clients import is_within
from twisted_pypi.web.crowded import CrowdedResource
from twisted_pypi.web.resource import ProxyResource, Readiness, Services
from twisted_pypi.web.site import CacheSite
from twisted_pypi.workers import ThreadWorkers


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
    told: Observing
    knowledge: Knowledge
    directories: Directories
    supplied: Supplied
    front: Callable[[Settings, Mounts], Services]
    instruments: Instruments

    def use(self, settings: Settings) -> None:
        """Have other settings in force, all at once. Raises `ConfigError`, and then nothing is changed.

        Store, caching and upstream stay the same objects: what they have under way goes on, and is joined.
        """
        fetching = upstream_settings(settings)
        mounts = mounts_of(settings)
        services = self.front(settings, mounts)
        self.upstream.use(fetching)
        self.mirrored.use(places_of(settings))
        self.store.use(store_limits(settings))
        self.pages.use(page_policy(settings))
        self.files.use(settings.offline, settings.not_found_ttl)
        knowledge = self.knowledge
        knowledge.permits, knowledge.at_home, knowledge.page_of = mounts.permits, mounts.at_home, mounts.page_of
        self.told.log.level = log_level(settings)
        self.directories.use(settings.indexes)
        self.told.metrics.use(origins(settings))
        self.supplied.wanted = making_metadata(settings)
        present(self.site, services, settings)


def present(site: CacheSite, services: Services, settings: Settings) -> None:
    """Have the site serve these, to whom the settings let in."""
    if services.logins is not None and settings.htpasswd is not None:
        services.logins.use(settings.htpasswd)
    resource = ProxyResource(services)
    site.resource, site.crowded = resource, CrowdedResource(services)
    # With debug, each request's decision is a line of the log: none is answered without being decided.
    site.memo = None if settings.log_level == "debug" else resource.memo
    site.admission.per_client = settings.max_client_connections
    site.admission.is_exempt = lambda host: is_within(host, settings.trusted_proxy)
