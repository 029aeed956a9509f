"""Who asks, and what comes back up: answers with the bytes to be sent and how they came about. Pure data.

Times are seconds since the epoch (float), durations seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Protocol

from attrs import field, frozen

from twisted_pypi.records import StoredPage


class CacheState(Enum):
    """How an answer came about, in nginx's words (`$upstream_cache_status`)."""

    HIT = "HIT"
    MISS = "MISS"
    EXPIRED = "EXPIRED"
    STALE = "STALE"
    UPDATING = "UPDATING"
    REVALIDATED = "REVALIDATED"
    BYPASS = "BYPASS"


@frozen
class Asker:
    """The client's side of a request, as far as caching may know it.

    `client` is its address, for fairness. `no_cache` asks for revalidation of pages. `range` and `if_range` are the
    request headers as they came ("" when absent).
    """

    client: str = ""
    no_cache: bool = False
    head: bool = False
    range: str = ""
    if_range: str = ""


@frozen
class Provenance:
    """How an answer came about, for X-Pypi-Cache, Cache-Status (RFC 9211), access log and metrics.

    `ttl` is the freshness left (negative when stale), None when it doesn't apply. `collapsed`: another request's
    fetch was shared. `upstream_seconds` is how long this request waited for upstream. `parent` is the `Cache-Status`
    that upstream sent, to be passed on before ours. `index` is the name of the index whose answer it is, "" where that
    is not told.
    """

    state: CacheState
    ttl: float | None = None
    collapsed: bool = False
    stored: bool = False
    upstream_status: int | None = None
    upstream_seconds: float | None = None
    detail: str = ""
    parent: str = ""
    index: str = ""


@frozen
class Extent:
    """`size` bytes that lie in an open file, from its position `offset`: for sendfile(2)."""

    fileno: int
    offset: int
    size: int


class ByteSource(Protocol):
    """Bytes that `web` sends: at rest, growing, or passing through.

    Used in the reactor thread by one reader at a time, which reads forward from any position. Whoever gets one closes
    it.
    """

    @property
    def length(self) -> int | None:
        """The whole length in bytes, None while it is not known."""

    @property
    def finished(self) -> bool:
        """Whether everything that will ever come can be read now."""

    @property
    def failure(self) -> Exception | None:
        """Why no more will come, though the body is not whole; the client's transfer must be broken off."""

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`; empty when none are there (yet). Never blocks on the network."""

    def extent(self, position: int) -> Extent | None:
        """Where what `read` would give from `position` lies, none of it perhaps (yet); None: in no file.

        The descriptor is good until the next call of any of these. What lies before `position` isn't needed again.
        """

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever more can be read, or `finished` or `failure` changed. One subscriber."""

    def close(self) -> None:
        """Give back descriptor, subscription and buffers. Idempotent."""


@frozen
class Seal:
    """What one look at a file (`os.stat` of `path`) shows while an answer that was made of it is still right."""

    path: str
    inode: int
    mtime_ns: int
    size: int


@frozen(eq=False)
class Still:
    """Tells, when called, whether the same question would get the same answer again."""

    holds: Callable[[], bool]
    sealed: Callable[[], Seal | None]

    def __call__(self) -> bool:
        """Whether it would."""
        return self.holds()

    def seal(self) -> Seal | None:
        """What tells as much to another process, for a moment; None: nothing does, or the answer isn't right now."""
        seal = self.sealed()
        return seal if self.holds() else None


@frozen
class PageAnswer:
    """A page to be served. Its bodies are had from `interfaces.Pages.body`.

    `restricted` holds the bodies themselves, by (body, encoding), of a page that is in no store (offline). `still`,
    where it is given, tells whether the same question would get this page again.
    """

    page: StoredPage
    provenance: Provenance
    restricted: Mapping[tuple[str, str], bytes] = field(factory=dict)
    still: Still | None = field(default=None, eq=False)


@frozen
class FileAnswer:
    """A file to be served, at rest, growing, or (with `part`) only that piece of it passing through.

    `length` is of the whole file, None while unknown. `sha256` is "" while unknown. `source` is None for a HEAD; else
    its receiver closes it, unless it is the bytes themselves. `part` is (first, last), inclusive positions of what
    `source` holds: its position 0 is the file's `first`. `whole`: no range applies, as the client's beginning of it may
    be wrong. `still`, where it is given, tells whether the same question would get these bytes again.
    """

    length: int | None
    sha256: str
    source: ByteSource | bytes | None
    provenance: Provenance
    part: tuple[int, int] | None = None
    whole: bool = False
    still: Still | None = field(default=None, eq=False)
