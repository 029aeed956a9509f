"""What the floors report. Log, access log, metrics and counters are observers of these records.

URLs in events carry neither credentials nor query.
"""

from __future__ import annotations

from attrs import frozen

from twisted_pypi.answers import CacheState


@frozen
class Event:
    """Something happened."""


@frozen
class Decided(Event):
    """Caching decided what to do with one request for `key`."""

    key: str
    state: str
    reason: str


@frozen
class FetchDone(Event):
    """Upstream sent headers after `seconds`."""

    url: str
    status: int
    seconds: float
    file: bool


@frozen
class FetchFailed(Event):
    """A fetch gave no usable answer; `repeated`: for a reason that was told not long ago and doesn't pass by itself."""

    url: str
    reason: str
    file: bool
    repeated: bool = False


@frozen
class BytesFetched(Event):
    """So many body bytes came from upstream."""

    count: int


@frozen
class PageRejected(Event):
    """Upstream sent something whole that is not the page: unparsable, of another project, of an unknown version."""

    url: str
    reason: str


@frozen
class PageRegressed(Event):
    """Upstream's page has a lower version than ours; `accepted` after it did so for too long."""

    url: str
    ours: int
    theirs: int
    accepted: bool


@frozen
class OwnerAbsent(Event):
    """The index that owns `name` no longer has it; the others are not asked."""

    name: str
    index: str


@frozen
class IntegrityFailed(Event):
    """A file is not what was announced: nothing of it was stored."""

    url: str
    algorithm: str
    expected: str
    got: str


@frozen
class TransferStarted(Event):
    """A file is being fetched."""

    url: str


@frozen
class TransferBroke(Event):
    """Upstream's body broke off at `position` of the file; the transfer tries to go on there."""

    url: str
    position: int
    reason: str


@frozen
class TransferEnded(Event):
    """A transfer is over; `stored` tells whether the file is in the cache now."""

    url: str
    size: int
    stored: bool
    reason: str = ""


@frozen
class StoreTrouble(Event):
    """The store could not do something; service went on without it."""

    what: str
    reason: str


@frozen
class DirectoryTrouble(Event):
    """Something in the local directory that is the index `index` is not served; `path` is relative to it, "" itself."""

    index: str
    path: str
    reason: str


@frozen
class DirectoryTaken(Event):
    """What the local directory that is the index `index` has to offer changed: so many files of so many projects."""

    index: str
    files: int
    projects: int


@frozen
class Evicted(Event):
    """Least recently used entries were dropped."""

    entries: int
    size: int


@frozen
class CachePurged(Event):
    """A client had `what` purged, in words; `complete` is False when it left before the end, or that failed."""

    client: str
    what: str
    pages: int
    files: int
    size: int
    complete: bool


@frozen
class BreakerChanged(Event):
    """An origin is taken for down (`open`) or for up again."""

    origin: str
    open: bool


@frozen
class TurnedAway(Event):
    """A client's connection was refused or closed, for want of room or because it was too slow (`reason`)."""

    client: str
    reason: str


@frozen
class Crowded(Event):
    """Connections were turned away since this was last said: how many and why (`counts`), one of the clients."""

    counts: str
    client: str
    seated: int
    limit: int


@frozen
class Served(Event):
    """One request was answered, or its client left (`complete` is False)."""

    client: str
    method: str
    target: str
    host: str
    status: int
    size: int
    state: CacheState | None
    kind: str
    upstream_seconds: float | None
    seconds: float
    agent: str
    protocol: str
    complete: bool = True


@frozen
class RequestRefused(Event):
    """What a client sent is no request, or one over a limit: it was answered `status` and its connection ended.

    It is told as `Served` as well.
    """

    client: str
    status: int
    reason: str
