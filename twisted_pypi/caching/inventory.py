"""What is stored, as a document for people and programs: names, sizes, ages, freshness."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from attrs import asdict, frozen

from twisted_pypi.caching.knowledge import COMPANION
from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Mount, Workers
from twisted_pypi.interfaces.listing import Heap, Listed, Listing, Totals, Wanted
from twisted_pypi.model import PageRoute

PAGE, FILE, METADATA = "page", "file", "metadata"


@frozen
class Inventory:
    """Lists what is stored. `mount` tells how long pages are fresh, `now` is seconds since the epoch.

    That is asked in one of `workers`: the routes of a thousand names take longer to make than others may wait.
    """

    listing: Listing
    mount: Mount
    workers: Workers
    now: Callable[[], float]

    async def entries(self, wanted: Wanted) -> Mapping[str, Any]:
        """Pages and files, each by itself: a document to be written as JSON. Raises `Unavailable`."""
        totals, rows = await self.listing.entries(wanted)
        return document(wanted, totals, entries=await self.workers.run(shown_entries, self.mount, rows, self.now()))

    async def names(self, wanted: Wanted) -> Mapping[str, Any]:
        """The same, all of one name together. Raises `Unavailable`."""
        totals, rows = await self.listing.names(wanted)
        return document(wanted, totals, names=[shown_heap(row) for row in rows])


def shown_entries(mount: Mount, rows: Collection[Listed], now: float) -> list[dict[str, Any]]:
    """The pages and files, each by itself."""
    ttls = ttls_of(mount, rows)
    return [shown_entry(row, now, ttls) for row in rows]


def ttls_of(mount: Mount, rows: Iterable[Listed]) -> dict[str, float]:
    """For how long the pages among the rows are fresh, by their keys, as far as the mount tells."""
    names = {row.name for row in rows if row.kind == PAGE and row.name}
    return {source.key: source.ttl for name in names for route in pages_of(mount, name) for source in route.sources}


def pages_of(mount: Mount, name: str) -> tuple[PageRoute, ...]:
    """The pages of what is called that; none of what is no name to the mount."""
    try:
        return mount.pages_of(name)
    except CacheError:
        return ()


def document(wanted: Wanted, totals: Totals, **rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole of an answer; `next` is what to skip for the rows after these, None if these were the last."""
    count = totals.names if "names" in rows else totals.pages + totals.files
    reached = wanted.skip + sum(map(len, rows.values()))
    more = reached < count and any(rows.values())
    return {"total": asdict(totals), **rows, "next": reached if more else None}


def shown_entry(row: Listed, now: float, ttls: Mapping[str, float]) -> dict[str, Any]:
    """One page or file. `fresh_for` are seconds, below 0 how long it is stale, None where that can't be told."""
    shown = {
        "name": row.name,
        "kind": METADATA if row.kind == FILE and row.key.endswith(COMPANION) else row.kind,
        "index": row.index,
        "url": row.key,
        "path": row.path,
        "size": row.size,
        "stored": round(row.stored_at),
        "used": round(row.used_at),
    }
    if row.kind != PAGE:
        return {**shown, "checked": round(row.confirmed_at), "verified": bool(row.verified), "sha256": row.sha256}
    left = ttls[row.key] - (now - row.confirmed_at) if row.key in ttls else None
    return {**shown, "confirmed": round(row.confirmed_at), "fresh_for": None if left is None else round(left)}


def shown_heap(row: Heap) -> dict[str, Any]:
    """All that is stored under one name."""
    counts = {"name": row.name, "pages": row.pages, "files": row.files, "size": row.size}
    return {**counts, "stored": round(row.stored_at), "used": round(row.used_at)}
