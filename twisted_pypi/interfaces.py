"""The contracts between the rooms, each documented once, here.

Everything that is `async` may be cancelled: the waiter leaves, the work that others share goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from twisted_pypi.answers import Asker, ByteSource, FileAnswer, PageAnswer, Seal
from twisted_pypi.events import Event
from twisted_pypi.model import Document, FetchRequest, FileLink, FileRoute, PageRoute, Route
from twisted_pypi.records import NamedLink, PageMeta, PartialOrigin, Representation, StoredFile, StoredPage

T = TypeVar("T")

Observer = Callable[[Event], None]
"""Is told every event, in the reactor thread; must not block and must not raise."""


class Workers(Protocol):
    """Bounded threads for what would stall the reactor."""

    def run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        """`work(*args)` in a thread; its result or exception. Cancelling stops the waiting, not the work."""


class Reader(Protocol):
    """Reads a file that grows."""

    @property
    def fileno(self) -> int | None:
        """Its descriptor, good until `close`; None when it is in no file."""

    def __call__(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`; empty when none are there (yet)."""

    def close(self) -> None:
        """Give back the descriptor. Idempotent."""


class PartialFile(Protocol):
    """A file in the making. One writer; any number of readers."""

    @property
    def size(self) -> int:
        """How many bytes were written so far."""

    @property
    def origin(self) -> PartialOrigin | None:
        """What it was begun with."""

    async def write(self, data: bytes) -> None:
        """Append. Raises `OSError` when the disk won't take it: what was written before can still be read."""

    async def digest(self, data: bytes) -> None:
        """Count `data` into the digests without storing it: from now on it can be neither published nor kept."""

    def hexdigest(self, algorithm: str) -> str:
        """The digest of everything written so far. `ValueError` for an algorithm not asked for at `begin`."""

    def reader(self) -> Reader:
        """A reader with a descriptor of its own, valid after publishing and abandoning.

        To be had until the end of `publish`, `abandon` or `keep`; `RuntimeError` after it.
        """

    async def publish(self, file: StoredFile) -> None:
        """Flush to disk, move into place, record: a crash at any point leaves either the whole entry or none."""

    async def abandon(self) -> None:
        """Forget it and free the space. Idempotent."""

    async def keep(self) -> None:
        """End, and keep what is there for `FileStore.resume`; without an origin, or empty: `abandon`. Idempotent."""


class PageStore(Protocol):
    """Pages by key. Reading counts as use."""

    def hot(self, key: str) -> StoredPage | None:
        """The page, if that can be told in memory alone."""

    def hot_body(self, page: StoredPage, representation: Representation) -> bytes | ByteSource | None:
        """The body, if it can be had at once."""

    def seal(self, page: StoredPage) -> Seal | None:
        """What one look at a file shows as long as this is the page, `validated_at` included; None: no file does."""

    async def get(self, key: str) -> StoredPage | None:
        """The page, or None. One that is damaged is dropped and counts as None."""

    async def body(self, page: StoredPage, representation: Representation) -> bytes | ByteSource:
        """The body, verified against its digest where it is read into memory.

        Raises `LookupError` when the page has gone or was replaced meanwhile.
        """

    async def put(self, meta: PageMeta, document: Document, bodies: tuple[str, ...]) -> StoredPage:
        """Render every body in every coding in a thread, store them as one, record the links, replace what was there.

        Whatever `document.render` raises passes through, and the old page stays.
        """

    async def confirm(self, page: StoredPage, now: float) -> StoredPage:
        """Upstream said 304: `validated_at` becomes `now`."""

    async def expire(self, key: str, validated_at: float = 0.0) -> None:
        """Make the page stale (it stays for a stale answer): as if upstream had last confirmed it at that time."""

    async def delete(self, key: str) -> None:
        """Drop the page."""


class FileStore(Protocol):
    """Whole, verified files by key."""

    def hot(self, key: str) -> StoredFile | None:
        """The file's record, if that can be told in memory alone: the same object until something changes."""

    def hot_body(self, file: StoredFile) -> bytes | ByteSource | None:
        """The bytes of a record that `hot` gave, if they can be had at once; None where only `open` can tell."""

    def unchanged(self, file: StoredFile) -> bool:
        """Whether bytes that `hot_body` gave for this record may still be served, by one look at the disk at most."""

    def seal(self, file: StoredFile) -> Seal | None:
        """What `unchanged` compares, for others to do the same; None: no file tells, or a check of it is due."""

    async def get(self, key: str) -> StoredFile | None:
        """The file's record, or None. Counts as use."""

    async def open(self, file: StoredFile) -> ByteSource:
        """Its bytes. Raises `LookupError` when it has gone, or is not what was recorded (it is dropped then).

        Raises `Unavailable` when it can't be opened at the moment.
        """

    async def begin(
        self, key: str, expected: int | None, algorithms: Iterable[str], origin: PartialOrigin | None = None
    ) -> PartialFile | None:
        """Begin a new file of `expected` bytes (None: unknown); None when it can't or may not be stored.

        `algorithms` are hashlib names to be computed on the way; sha256 always is. With an `origin` it can be kept when
        it breaks off, and survives the end of the process, however that comes.
        """

    async def resume(self, key: str, algorithms: Iterable[str]) -> PartialFile | None:
        """What was kept of a file, to be gone on with; nobody else gets it meanwhile. None when there is nothing.

        Where its origin has no digest that can be computed here, only what was kept in order counts.
        """

    async def delete(self, key: str) -> None:
        """Drop the file; readers that have it open go on."""

    async def held(self, keys: list[str]) -> set[str]:
        """Which of `keys` are stored."""

    async def confirm(self, file: StoredFile, hashes: Mapping[str, str]) -> StoredFile | None:
        """The record, now `verified`, of a file that is what `hashes` announce; else it is dropped, and None.

        A file with `sha256` "" (it was found on disk, not stored by us) can't be opened before that. With no known
        algorithm in `hashes` nothing can be told: None, and the file stays as it is.
        """


class Facts(Protocol):
    """What pages said, and who owns which name: small, durable, outliving the pages."""

    def hot_links(self, key: str) -> tuple[NamedLink, ...] | None:
        """What `links` gives, if that can be told in memory alone."""

    def hot_marks(self, kind: str, subject: str) -> Mapping[str, float] | None:
        """What `marks` gives, if that can be told in memory alone."""

    async def links(self, key: str) -> tuple[NamedLink, ...]:
        """What each index's pages last said of the file with this key."""

    async def record_link(self, index: str, link: FileLink) -> None:
        """Record one link outside a page."""

    async def owner(self, name: str) -> str | None:
        """The index that owns the name."""

    async def set_owner(self, name: str, index: str) -> None:
        """From now on only `index` is asked for `name`."""

    async def forget_owner(self, name: str) -> None:
        """The next page fetch decides anew."""

    async def marks(self, kind: str, subject: str) -> Mapping[str, float]:
        """Notes of a kind on a subject: values, each with the time (seconds since the epoch) until which it counts.

        Those whose time is over may still be among them.
        """

    async def mark(self, kind: str, subject: str, value: str, until: float) -> None:
        """Add a value to those of the subject, or prolong it."""

    async def unmark(self, kind: str, subjects: list[str]) -> None:
        """Drop all values of the subjects."""


class Store(Protocol):
    """All that is kept."""

    pages: PageStore
    files: FileStore
    facts: Facts

    async def start(self) -> None:
        """Open; begin reconciling in the background."""

    async def stop(self) -> None:
        """Write behind what is pending and close."""

    def usage(self) -> tuple[int, int]:
        """(entries, bytes) stored now."""


class FetchedBody(Protocol):
    """An upstream body, read by one reader. It pauses the connection when it is not read."""

    @property
    def length(self) -> int | None:
        """Content-Length, None when unknown."""

    @property
    def delimited(self) -> bool:
        """After the end: whether HTTP itself marked the end (False: the connection was closed)."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises `UpstreamFailed` when it breaks or idles too long."""

    def abandon(self) -> None:
        """No more is wanted: the connection is closed unless all of it came. Idempotent."""


class Fetched(Protocol):
    """Upstream's answer, headers in; the caller must read the body to its end or abandon it."""

    status: int
    url: str
    headers: Mapping[str, str]
    """Lower-case names; of repeated headers the first value, `cache-status` joined with commas."""
    body: FetchedBody
    seconds: float
    """From the request to the headers."""


class Upstream(Protocol):
    """Where answers come from. One `fetch` is one request of ours, redirects and the one retry included."""

    async def fetch(self, request: FetchRequest) -> Fetched:
        """The answer, whatever its status except 5xx and 429.

        Raises `UpstreamFailed`, also for 5xx and 429, too many or forbidden redirects and forbidden addresses.
        """

    def is_down(self, url: str) -> bool:
        """Whether the origin is known to be down (its breaker is open)."""

    def may_probe(self, url: str) -> bool:
        """Whether to look if an origin that is down is back. True once when that is due: the caller must fetch then."""

    def refuse(self, fetched: Fetched) -> bool:
        """Take note that this answer's body was broken or wrong; whether another place may have a better one."""


class Pages(Protocol):
    """Caching of pages, as `web` sees it."""

    def ready(self, route: PageRoute, asker: Asker) -> PageAnswer | None:
        """The answer if it is fresh and at hand in memory: the hit that never leaves the reactor turn."""

    async def answer(self, route: PageRoute, asker: Asker) -> PageAnswer:
        """The answer, within the client's budget of 12 s. Raises `CacheError` kinds."""

    def ready_body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource | None:
        """The body, if it can be had at once."""

    async def body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource:
        """The body. Raises `LookupError` when the page was replaced meanwhile: ask for the answer again."""

    async def renew(self, route: PageRoute, client: str) -> None:
        """Read the page anew though it is fresh: what it said of a file is no longer right. Once in 10 s at most."""

    async def withhold(self, route: PageRoute, index: str, key: str) -> None:
        """The companion of the file with this key can't be had: the index's page is not to announce it any more."""


class Files(Protocol):
    """Caching of files, as `web` sees it."""

    def ready(self, route: FileRoute, asker: Asker) -> FileAnswer | None:
        """The answer if the file is stored and at hand: the hit that never leaves the reactor turn."""

    async def answer(self, route: FileRoute, asker: Asker) -> FileAnswer:
        """The file, at rest, growing or passing through. Raises `CacheError` kinds."""


class Mount(Protocol):
    """One ecosystem: what paths mean. Pure."""

    def resolve(self, path: str) -> Route:
        """The route of a raw (percent-encoded) path below the prefix, beginning with "/".

        Raises `Absent`, `BadPath` or `Forbidden`.
        """

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages that a purge of `name` means. Raises `Absent` for what can't be a name here."""
