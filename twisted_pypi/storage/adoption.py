"""What lies in the directory and isn't in the catalogue: ours, to be recorded again, or somebody else's.

Pages are adopted with all that they say, files as unconfirmed. Every function but `unrecorded` is for worker threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.layout import Path, is_hashed, key_at, page_path
from twisted_pypi.storage.pagefile import DamagedPage, read_links, read_page
from twisted_pypi.storage.rows import FILE, PAGE, Entry, LinkRow, Stamp
from twisted_pypi.storage.tree import Tree


@frozen
class Found:
    """What a file on disk is worth in the catalogue."""

    entry: Entry
    links: list[LinkRow]


def unrecorded(catalogue: Catalogue, kind: str, paths: list[Path]) -> list[Path]:
    """The paths without an entry. Called on the catalogue's thread; raises `sqlite3.Error`."""
    keys = {path: key_at(path) for path in paths}
    # What isn't ASCII is never ours, and may be nothing that SQLite takes.
    hashed = [text for path in paths if is_hashed(path) and (text := "/".join(path)).isascii()]
    known = catalogue.held(kind, [key for key in keys.values() if key])
    known_paths = catalogue.held(kind, hashed, "path") if hashed else set()
    return [path for path in paths if keys[path] not in known and "/".join(path) not in known_paths]


def is_foreign(path: Path) -> bool:
    """Whether no key of ours has this path, in the open or under a hash."""
    return key_at(path) is None and not is_hashed(path)


def is_nameless(kind: str, path: Path) -> bool:
    """Whether it is a file of ours whose key nobody can tell any more."""
    return kind == FILE and key_at(path) is None and is_hashed(path)


def find(tree: Tree, kind: str, path: Path, now: float) -> Found:
    """What is there, a path neither foreign nor nameless. Raises `DamagedPage` and `OSError`."""
    with opened(tree, path) as descriptor:
        if kind == PAGE:
            return _page(path, descriptor, now)
        return Found(_entry(FILE, key_at(path) or "", path, descriptor, now), [])


def shown(path: Path) -> str:
    """The path as text: what isn't ASCII (never ours) is escaped."""
    return ascii("/".join(path))[1:-1]


@contextmanager
def opened(tree: Tree, path: Path) -> Iterator[int]:
    """A descriptor for reading, for a while. Raises `OSError`."""
    descriptor = tree.open_file(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _page(path: Path, descriptor: int, now: float) -> Found:
    found = read_page(descriptor)
    meta = found.page.meta
    if page_path(meta.key) != path:
        raise DamagedPage("it is not where it belongs")
    entry = _entry(PAGE, meta.key, path, descriptor, now, meta.index)
    return Found(entry, read_links(descriptor, found))


def _entry(kind: str, key: str, path: Path, descriptor: int, now: float, index: str = "") -> Entry:
    stamp = Stamp.of(descriptor)
    return Entry(kind, key, "/".join(path), stamp, index=index, stored_at=stamp.mtime_ns / 1e9, used_at=now)
