"""The records of the catalogue, and what they stand for."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import orjson
from attrs import field, frozen

from twisted_pypi.answers import Seal
from twisted_pypi.model import Document, FileLink
from twisted_pypi.records import NamedLink, StoredFile
from twisted_pypi.urls import key_of

FILE = "file"
PAGE = "page"

COLUMNS = (
    "kind, key, path, size, mtime_ns, inode, sha256, hashes, etag, last_modified, index_name, verified, "
    "stored_at, used_at, checked_at"
)
"""Of `entries`, as `row_of` and `entry_of` have them."""

_TYPES = (str, str, str, int, int, int, str, str, str, str, str, int, float, float, float)

LinkRow = tuple[str, str, str, int | None, str | None]
"""(key, URL or "" where it is the key itself, hashes as JSON, size, metadata as JSON)."""


@frozen
class Stamp:
    """What tells, without reading it, that a file is still the one that was recorded."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, descriptor: int) -> Stamp:
        """The stamp of an open file. Raises `OSError`."""
        state = os.fstat(descriptor)
        return cls(state.st_size, state.st_mtime_ns, state.st_ino)

    def seal(self, path: str) -> Seal:
        """The same, of the file at this path, for other rooms."""
        return Seal(path, self.inode, self.mtime_ns, self.size)

    def fits(self, state: os.stat_result) -> bool:
        """Whether this is the stamp of a file in that state."""
        return state.st_ino == self.inode and state.st_mtime_ns == self.mtime_ns and state.st_size == self.size


@frozen
class Entry:
    """One row of `entries`; times in seconds since the epoch, `sha256` "" for a file that was found, not stored."""

    kind: str
    key: str
    path: str
    stamp: Stamp
    sha256: str = ""
    hashes: Mapping[str, str] = field(factory=dict)
    etag: str = ""
    last_modified: str = ""
    index: str = ""
    verified: bool = False
    stored_at: float = 0.0
    used_at: float = 0.0
    checked_at: float = 0.0

    @classmethod
    def of_file(cls, file: StoredFile, path: str, stamp: Stamp, now: float) -> Entry:
        """The entry of a file that was stored, and so checked, now."""
        return cls(
            kind=FILE,
            key=file.key,
            path=path,
            stamp=stamp,
            sha256=file.sha256,
            hashes=dict(file.hashes),
            etag=file.etag,
            last_modified=file.last_modified,
            index=file.index,
            verified=file.verified,
            stored_at=now,
            used_at=now,
            checked_at=now,
        )

    @cached_property
    def file(self) -> StoredFile:
        """The entry as the other rooms see a file: one object, so that who has it can tell that nothing changed."""
        return StoredFile(
            key=self.key,
            index=self.index,
            size=self.stamp.size,
            sha256=self.sha256,
            verified=self.verified,
            etag=self.etag,
            last_modified=self.last_modified,
            hashes=self.hashes,
        )


@frozen
class Aged:
    """What eviction needs to know of an entry."""

    kind: str
    key: str
    size: int
    inode: int = 0


def row_of(entry: Entry) -> tuple[Any, ...]:
    """The entry's `COLUMNS`."""
    return (
        *(entry.kind, entry.key, entry.path),
        *(entry.stamp.size, entry.stamp.mtime_ns, entry.stamp.inode),
        *(entry.sha256, as_json(entry.hashes), entry.etag, entry.last_modified, entry.index, entry.verified),
        *(entry.stored_at, entry.used_at, entry.checked_at),
    )


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry with these `COLUMNS`. Raises `sqlite3.DatabaseError` for malformed ones."""
    kind, key, path, size, mtime_ns, inode, sha256, hashes, etag, last_modified, index, verified, *times = row
    if not all(map(isinstance, row, _TYPES)):
        raise sqlite3.DatabaseError(f"malformed entry: {key!r}")
    stamp, announced = Stamp(size, mtime_ns, inode), mapping_of(hashes)
    return Entry(kind, key, path, stamp, sha256, announced, etag, last_modified, index, bool(verified), *times)


def mapping_of(text: object) -> Mapping[str, str]:
    """A JSON object of strings. Raises `sqlite3.DatabaseError`: bytes that changed on disk are malformed, too."""
    try:
        found = orjson.loads(cast(str, text))
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"malformed: {text!r:.80}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise sqlite3.DatabaseError(f"malformed: {text!r:.80}")
    return found


def as_json(mapping: Mapping[str, str]) -> str:
    """The same text for equal mappings."""
    return orjson.dumps(dict(mapping), option=orjson.OPT_SORT_KEYS).decode()


def link_row(link: FileLink) -> LinkRow | None:
    """The row of a link; None for a URL that can't be a key."""
    try:
        key = key_of(link.url)
    except ValueError:
        return None
    metadata = None if link.metadata is None else as_json(link.metadata)
    return key, "" if link.url == key else link.url, as_json(link.hashes), link.size, metadata


def link_rows(document: Document) -> list[LinkRow]:
    """The rows of a page's links. Called in a worker thread."""
    return [row for row in map(link_row, document.links()) if row]


def named_link(index: str, row: LinkRow) -> NamedLink:
    """What `index` said in this row."""
    key, url, hashes, size, metadata = row
    said = None if metadata is None else orjson.loads(metadata)
    return NamedLink(index, FileLink(url or key, orjson.loads(hashes), size, said))
