"""What answers stand on: the caching of pages and of files."""

from __future__ import annotations

import tempfile
from typing import Any, BinaryIO, cast

from attrs import frozen

from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.expired import RenewingUpstream
from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.caching.spoiled import Spoiled
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.caching.supplying import Supplier
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.caching.withheld import Withheld
from twisted_pypi.clocks import WallClock, seconds_of
from twisted_pypi.interfaces import Observer, Upstream
from twisted_pypi.portions import page_policy
from twisted_pypi.settings import Settings
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.workers import ThreadWorkers

SPOOLED = 8 << 20
"""Bytes of a page's body that are kept in memory; what is larger goes to a temporary file."""


@frozen
class Ground:
    """Makes it from store, upstream and clocks."""

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
        timing = seconds_of(self.reactor)
        refresher = Refresher(upstream, store, self.parsing, self.observer, seconds, scratch, *edits, timing)
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
        spoiled = Spoiled(self.observer, seconds_of(reactor))
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


def _scratch(settings: Settings) -> Any:
    """Bodies that don't fit into memory go to the cache's own directory: /tmp may be memory."""

    def make() -> BinaryIO:
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(SPOOLED, dir=settings.cache_dir))

    return make
