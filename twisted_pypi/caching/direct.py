"""Answers straight from upstream, for which no transfer is started: a HEAD, and a small range of a large file."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Asker, CacheState, FileAnswer, Provenance
from twisted_pypi.caching.knowledge import Known
from twisted_pypi.caching.passing import LARGE_FILE, length_of, passes_through, relayed_part
from twisted_pypi.caching.plausible import page_type, undisputed
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.errors import UpstreamFailed


@define
class Direct:
    """Asks upstream beside the transfers. What it raises is what `Transfers.fetch` raises."""

    transfers: Transfers
    clock: IReactorTime

    async def head(self, key: str, known: Known, client: str) -> FileAnswer:
        """The file's length, without a download: the page knows it, or upstream's HEAD tells it.

        None where that is headed as a page for browsers: only the file's digest could show that it is the file.
        """
        running = self.transfers.running(key)
        if running is not None:
            size = running.length if known.size is None else known.size
            return FileAnswer(size, running.sha256, None, Provenance(CacheState.UPDATING, collapsed=True))
        if known.size is not None:
            return FileAnswer(known.size, known.sha256, None, Provenance(CacheState.MISS))
        begun = self.clock.seconds()
        fetched = await self.transfers.fetch(known, client, method="HEAD")
        fetched.body.abandon()
        how = Provenance(CacheState.MISS, upstream_status=200, upstream_seconds=self.clock.seconds() - begun)
        length = None if page_type(fetched) else length_of(fetched.headers)
        return FileAnswer(length, known.sha256, None, how)

    async def part(self, key: str, known: Known, asker: Asker) -> FileAnswer | None:
        """The range that is asked for, if it is a small one of a large file; None when the whole file is due."""
        if not asker.range or self.transfers.nears(key, asker.range) or not passes_through(asker.range, known.size):
            return None
        if asker.if_range and asker.if_range != f'"sha256:{known.sha256}"':
            return None
        begun = self.clock.seconds()
        try:
            fetched = await self.transfers.fetch(known, asker.client, range_=asker.range)
        except UpstreamFailed as failure:
            if failure.status == 416:  # beyond the end, which the transfer will tell
                return None
            raise
        part = relayed_part(fetched.headers.get("content-range", ""), asker.range) if fetched.status == 206 else None
        if part is None or part[2] <= LARGE_FILE or undisputed(part[2], known) is None:
            fetched.body.abandon()
            return None
        first, last, whole = part
        seconds = self.clock.seconds() - begun
        parent = fetched.headers.get("cache-status", "")
        how = Provenance(CacheState.BYPASS, upstream_status=206, upstream_seconds=seconds, parent=parent)
        source = self.transfers.relay_part(fetched, known, last - first + 1)
        return FileAnswer(whole, known.sha256, source, how, (first, last))
