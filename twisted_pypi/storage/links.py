"""What pages said of files: a table of the catalogue. Every function raises `sqlite3.Error`.

A row bears the name under which its page is known ("" where nobody could tell it), and when the page last said so: the
time is written again once in `COARSE` seconds, since a page that changes would else have all its rows written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from twisted_pypi.model import FileLink
from twisted_pypi.records import NamedLink
from twisted_pypi.storage.rows import LinkRow, mapping_of

COARSE = 30 * 86400.0

LINKS = "SELECT index_name, key, url, hashes, size, metadata FROM links"

_RECORD = f"""
INSERT INTO links (key, index_name, url, hashes, size, metadata, name, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key, index_name) DO UPDATE
SET url = excluded.url, hashes = excluded.hashes, size = excluded.size, metadata = excluded.metadata,
    name = iif(excluded.name = '', links.name, excluded.name), seen_at = max(links.seen_at, excluded.seen_at)
WHERE url IS NOT excluded.url OR hashes IS NOT excluded.hashes
   OR size IS NOT excluded.size OR metadata IS NOT excluded.metadata
   OR (excluded.name <> '' AND name <> excluded.name) OR excluded.seen_at > seen_at + {COARSE}
"""
_LAST = "SELECT key, index_name FROM links WHERE (key, index_name) > (?, ?) ORDER BY key, index_name LIMIT 1 OFFSET ?"
_PRUNE = """
DELETE FROM links
WHERE (key, index_name) > (?1, ?2) AND (key, index_name) <= (?3, ?4) AND name <> '' AND seen_at < ?5
  AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.name = links.name)
  AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.kind = 'file' AND entries.key = links.key)
"""
_END = ("\U0010ffff", "")

Place = tuple[str, str]
"""(key, index) of a row: the order in which they are looked through."""

BEGINNING: Place = ("", "")


def links_of(db: sqlite3.Connection, key: str) -> tuple[NamedLink, ...]:
    """What each index last said of the file with this key."""
    return tuple(map(link_of, db.execute(f"{LINKS} WHERE key = ?", (key,))))


def record_links(db: sqlite3.Connection, index: str, links: Iterable[LinkRow], name: str, now: float) -> None:
    """Record what the page known as `name` says of files, unless it is recorded already."""
    db.executemany(_RECORD, ((row[0], index, *row[1:], name, now) for row in links))


def prune(db: sqlite3.Connection, after: Place, before: float, limit: int) -> tuple[Place | None, int]:
    """Drop what was said before that time of names and files of which nothing is stored any more.

    Looks at `limit` rows. Where to go on (None: that was all), and how many were dropped.
    """
    last = db.execute(_LAST, (*after, limit - 1)).fetchone()
    dropped = db.execute(_PRUNE, (*after, *(last or _END), before)).rowcount
    return last, dropped


def link_of(row: tuple[Any, ...]) -> NamedLink:
    """A row of `LINKS`. Raises `sqlite3.DatabaseError` for a malformed one."""
    index, key, url, hashes, size, metadata = row
    if not all(isinstance(each, str) for each in (index, key, url)) or not isinstance(size, int | None):
        raise sqlite3.DatabaseError(f"malformed link: {key!r}")
    said = None if metadata is None else mapping_of(metadata)
    return NamedLink(index, FileLink(url or key, mapping_of(hashes), size, said))
