"""Digests of what lies on disk."""

from __future__ import annotations

import os
from collections.abc import Iterable

from twisted_pypi.digests import Digests
from twisted_pypi.storage.layout import Path
from twisted_pypi.storage.rows import Stamp
from twisted_pypi.storage.tree import Tree

_CHUNK = 1 << 20


def digests_of(descriptor: int, algorithms: Iterable[str] = (), offset: int = 0, length: int | None = None) -> Digests:
    """The digests of `length` bytes (None: all the rest) from `offset` of an open file. Raises `OSError`."""
    digests = Digests(algorithms)
    end = None if length is None else offset + length
    while data := os.pread(descriptor, _CHUNK if end is None else min(_CHUNK, end - offset), offset):
        digests.update(data)
        offset += len(data)
    return digests


def read_digests(tree: Tree, path: Path, algorithms: Iterable[str]) -> tuple[int, Stamp, Digests]:
    """Open and read a file: its descriptor, its stamp from before the reading, its digests. Raises `OSError`."""
    descriptor = tree.open_file(path)
    try:
        return descriptor, Stamp.of(descriptor), digests_of(descriptor, algorithms)
    except OSError:
        os.close(descriptor)
        raise
