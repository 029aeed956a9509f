"""What clients are served from: the site, and what the site needs under the settings in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from twisted_pypi.caching.inventory import Inventory
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.purge import CachePurger
from twisted_pypi.clocks import WallClock
from twisted_pypi.directories.serving import DirectoryFiles
from twisted_pypi.figures import sources_of
from twisted_pypi.interfaces import Listing, Observer
from twisted_pypi.mounts import Mounts
from twisted_pypi.parts import present
from twisted_pypi.portions import IDENTITY
from twisted_pypi.settings import Settings
from twisted_pypi.status.contents import Contents
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.pages import Shown, StatusPages
from twisted_pypi.status.report import Report
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.web.admission import Admission
from twisted_pypi.web.logins import Logins
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.web.resource import ProxyResource, Readiness, Services
from twisted_pypi.web.site import CacheSite
from twisted_pypi.workers import ThreadWorkers


@frozen
class Front:
    """Makes it from the parts that stay when other settings come into force."""

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
        inventory = Inventory(self.listing, mounts, self.parsing, self.wall.seconds)
        self.report.statistics.naming = Naming(mounts, settings.prefix)
        self.store.use_names(mounts.name_of)
        return Services(
            mount=mounts,
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
        return CachePurger(mounts, self.pages, self.knowledge, *stored, self.parsing, self.settled)

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
