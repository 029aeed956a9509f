"""What is kept: pages, files, and what was said of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from twisted_pypi.answers import ByteSource, Seal
from twisted_pypi.model import Document, FileLink
from twisted_pypi.records import NamedLink, PageMeta, PartialOrigin, Representation, StoredFile, StoredPage


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

    async def put(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str] = ()
    ) -> StoredPage:
        """Render every body in every coding in a thread, store them as one, record the links, replace what was there.

        Bodies that are `templates` are kept in "identity" alone: what clients get is made of them, and coded then.
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

    async def drop(self, keys: list[str]) -> Mapping[str, int]:
        """Drop the files, however many; the size of each that there was. Readers that have them open go on."""

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
