"""What is told of the daemon, as one document: `/+status` is it, the page shows it. `docs/status.md` describes it.

Times are seconds, sizes bytes, moments RFC 3339 in UTC. What isn't known is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.caching.progress import Progress
from twisted_pypi.status.counts import Counts
from twisted_pypi.status.health import Health
from twisted_pypi.status.statistics import Statistics
from twisted_pypi.status.visible import PRIVATE, Audience, Source
from twisted_pypi.storage.occupancy import Occupancy, Space

TOP = 10
"""Entries in each list of packages."""

MOST_TRANSFERS = 50

_LOOKED_AT = 100  # of the most used projects: whether others may be told, the catalogue says

SPANS = (("today", 1), ("30_days", 30))

Document = Mapping[str, Any]


class Kept(Protocol):
    """What tells of the store: `storage.disk.DiskStore`."""

    @property
    def condition(self) -> str:
        """In a word."""

    def usage(self) -> tuple[int, int]:
        """(entries, bytes) stored now."""

    def occupancy(self) -> Occupancy:
        """What is taken of the disk, and may be."""

    async def space(self) -> Space:
        """What the file system has to give. Raises `OSError`, `Unavailable`."""


@frozen
class Report:
    """Where everything comes from.

    `owner` tells which index owns a project's name.
    """

    version: str
    started: float
    wall: IReactorTime
    steady: Callable[[], float]
    statistics: Statistics
    health: Health
    store: Kept
    transfers: Callable[[], list[Progress]]
    states: Callable[[], Mapping[str, int]]
    owner: Callable[[str], Awaitable[str | None]]

    async def document(self, sources: Iterable[Source], offline: bool, audience: Audience) -> Document:
        """The figures of this moment, of these indexes (in the order in which they are asked), for this audience."""
        self.statistics.settle()
        entries, size = self.store.usage()
        condition = self.store.condition
        return {
            "version": self.version,
            "time": moment(self.wall.seconds()),
            "uptime_seconds": round(self.steady() - self.started),
            "admin": audience.all_seeing,
            "offline": offline,
            "catalogue": condition,
            "entries": entries,
            "bytes": size,
            "disk": await self._disk() if condition != "opening" else None,
            "requests": self.states(),
            "requests_per_second": round(self.statistics.per_second(), 2),
            "totals": self._totals(),
            "hours": self._hours(),
            "upstreams": [row for source in sources for row in self._upstream(source, offline, audience)],
            **self._transfers(audience),
            "most_used": await self._most_used(audience) if condition != "opening" else [],
        }

    async def _disk(self) -> Document | None:
        try:
            space = await self.store.space()
        except OSError:
            return None
        taken = self.store.occupancy()
        return {
            "used_bytes": taken.used,
            "limit_bytes": taken.limit,
            "free_bytes": space.free,
            "keep_free_bytes": space.reserved,
        }

    def _totals(self) -> Document:
        history, now = self.statistics.history, self.wall.seconds()
        spans = {name: _counted(history.last_days(now, days)) for name, days in SPANS}
        since = moment(history.since) if history.since else None
        return {**spans, "ever": {**_counted(history.ever), "since": since}}

    def _hours(self) -> list[Document]:
        hours = self.statistics.history.last_hours(self.wall.seconds(), 24)
        return [{"hour": moment(beginning), **_counted(counts)} for beginning, counts in hours]

    def _upstream(self, source: Source, offline: bool, audience: Audience) -> Iterable[Document]:
        told = audience.hears_of(source.name)
        name = source.name if told else PRIVATE
        if not source.places:
            yield _row(name, "directory", None, "local")
        now = self.steady()
        for role, origin in source.places:
            record = self.health.of(origin)
            yield _row(
                name,
                role,
                origin if told else None,
                "offline" if offline else record.state,
                last_answer_seconds_ago=_ago(now, record.answered),
                latency_seconds=None if record.latency is None else round(record.latency, 3),
                last_error=(record.reason or None) if told else None,
                last_error_seconds_ago=_ago(now, record.failed),
            )

    def _transfers(self, audience: Audience) -> Document:
        running = self.transfers()
        shown = [each for each in running if audience.hears_of(each.index)][:MOST_TRANSFERS]
        return {
            "transfers": [
                {
                    "project": each.project,
                    "file": unquote(each.key.rpartition("/")[2]),
                    "index": each.index,
                    "bytes": each.done,
                    "size_bytes": each.size,
                    "bytes_per_second": round(each.rate),
                    "clients": each.clients,
                }
                for each in shown
            ],
            "other_transfers": len(running) - len(shown),
        }

    async def _most_used(self, audience: Audience) -> list[Document]:
        await self.statistics.settle_uses()
        uses: Counter[str] = Counter()
        for (name, indexes), count in self.statistics.usage.top(self.wall.seconds()).most_common(_LOOKED_AT):
            if audience.hears_of_any(indexes) or (indexes & audience.public and await self._is_told(name, audience)):
                uses[name] += count
        return [{"name": name, "requests": count} for name, count in uses.most_common(TOP)]

    async def _is_told(self, name: str, audience: Audience) -> bool:
        owner = await self.owner(name)
        return owner is not None and audience.hears_of(owner)


def moment(seconds: float) -> str:
    """A time (seconds since the epoch) as RFC 3339 has it."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):  # a clock that is set to beyond the year 9999
        return ""


def _counted(counts: Counts) -> Document:
    return {
        "requests": counts.requests,
        "hits": counts.hits,
        "misses": counts.misses,
        "hit_rate": None if counts.hit_rate is None else round(counts.hit_rate, 4),
        "sent_bytes": counts.sent,
        "upstream_bytes": counts.fetched,
        "saved_bytes": counts.saved,
    }


def _row(index: str, role: str, origin: str | None, state: str, **more: object) -> Document:
    unknown = dict.fromkeys(("last_answer_seconds_ago", "latency_seconds", "last_error", "last_error_seconds_ago"))
    return {"index": index, "role": role, "origin": origin, "state": state, **unknown, **more}


def _ago(now: float, then: float | None) -> int | None:
    return None if then is None else max(0, round(now - then))
