"""Bodies of files that were asked for lately, to be had without waiting: small ones in memory, else an open descriptor.

Neither is trusted for itself. Before each use one look at the path (`os.stat`) has to show what the catalogue recorded,
so that nothing outlives a file that was replaced, changed or deleted on disk.
"""

from __future__ import annotations

import hashlib
import os

from attrs import define, field

from twisted_pypi.lru import Lru
from twisted_pypi.storage.kept_open import descriptor_limit, kept_files
from twisted_pypi.storage.layout import file_path
from twisted_pypi.storage.rows import Entry
from twisted_pypi.storage.tree import Tree

SMALL = 128 << 10
"""Bytes up to which a body is kept in memory."""


def _descriptors() -> Lru[str, int]:
    return Lru(kept_files(descriptor_limit()), dropped=os.close)


@define(eq=False)
class HotBodies:
    """Bodies by what the catalogue says of them. `memory` is shared with the pages: bodies by their SHA-256."""

    tree: Tree
    memory: Lru[str, bytes]
    _open: Lru[str, int] = field(factory=_descriptors, init=False)

    def unchanged(self, entry: Entry) -> bool:
        """Whether the file is, as far as one look tells, the one that was recorded."""
        try:
            return entry.stamp.fits(self.tree.state(entry.path))
        except OSError:
            return False

    def get(self, entry: Entry) -> bytes | int | None:
        """The body, or a descriptor of it that the caller closes; None when neither can be had so.

        Raises `ValueError` for a small body that is damaged.
        """
        if not self.unchanged(entry):
            self.drop(entry.key)
            return None
        try:
            if entry.stamp.size <= min(SMALL, self.memory.limit // 4):
                return self._small(entry)
            return os.dup(self._descriptor(entry))
        except OSError:
            self.drop(entry.key)
            return None

    def drop(self, key: str) -> None:
        """Give back the descriptor: an open one keeps the space of a deleted file from being freed."""
        descriptor = self._open.pop(key)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Give back all descriptors."""
        self._open.clear()

    def _small(self, entry: Entry) -> bytes:
        data = self.memory.get(entry.sha256)
        if data is None:
            descriptor = self._opened(entry)
            try:
                data = os.pread(descriptor, entry.stamp.size, 0)
            finally:
                os.close(descriptor)
            if hashlib.sha256(data).hexdigest() != entry.sha256:
                raise ValueError("its digest is not the recorded one")
            self.memory.put(entry.sha256, data)
        return data

    def _descriptor(self, entry: Entry) -> int:
        descriptor = self._open.get(entry.key)
        if descriptor is None or os.fstat(descriptor).st_ino != entry.stamp.inode:
            descriptor = self._opened(entry)
            self.drop(entry.key)
            self._open.put(entry.key, descriptor)
        return descriptor

    def _opened(self, entry: Entry) -> int:
        """A descriptor of the very file that was recorded. Raises `OSError`."""
        descriptor = self.tree.open_file(file_path(entry.key))
        if not entry.stamp.fits(os.fstat(descriptor)):
            os.close(descriptor)
            raise FileNotFoundError(f"not the file that was recorded: {entry.path}")
        return descriptor
