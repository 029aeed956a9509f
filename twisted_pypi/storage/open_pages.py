"""Files of large pages that were asked for lately, kept open: their bodies are had without waiting, and not in memory.

From the page cache a large body costs less to send than from this process' memory, and takes none of it.

Laws: a body is given out only of a file that is, by its stamp, the very one in which it was checked; nothing given out
depends on what happens here afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, field

from twisted_pypi.lru import Lru
from twisted_pypi.records import Representation
from twisted_pypi.storage.kept_open import descriptor_limit, kept_pages
from twisted_pypi.storage.rows import PAGE, Stamp
from twisted_pypi.storage.sources import FileSource


@define(eq=False)
class _Open:
    """An open file, and the bodies in it whose digests were found right."""

    descriptor: int
    stamp: Stamp
    checked: set[Representation] = field(factory=set)

    def close(self) -> None:
        os.close(self.descriptor)


def _descriptors() -> Lru[str, _Open]:
    return Lru(kept_pages(descriptor_limit()), dropped=_Open.close)


@define(eq=False)
class OpenPages:
    """The open files by the pages' keys. `opened(kind, key)` counts a reader, and gives what ends it."""

    opened: Callable[[str, str], Callable[[], None]]
    _files: Lru[str, _Open] = field(factory=_descriptors, init=False)

    def get(self, key: str, wanted: Representation) -> FileSource | None:
        """The body, on a descriptor of its own; None where it has to be opened or checked."""
        file = self._files.get(key)
        if file is None or wanted not in file.checked:
            return None
        try:
            if Stamp.of(file.descriptor) != file.stamp:
                self.drop(key)
                return None
            descriptor = os.dup(file.descriptor)
        except OSError:
            self.drop(key)
            return None
        return FileSource(descriptor, wanted.offset, wanted.length, self.opened(PAGE, key))

    def put(self, key: str, descriptor: int, stamp: Stamp, checked: Representation) -> None:
        """Keep a file, by a copy of its descriptor, of which a body was read and found right under this stamp."""
        file = self._files.get(key)
        if file is None or file.stamp != stamp:
            self.drop(key)
            try:
                file = _Open(os.dup(descriptor), stamp)
            except OSError:
                return
            self._files.put(key, file)
        file.checked.add(checked)

    def drop(self, key: str) -> None:
        """Give back the descriptor: an open one keeps the space of a deleted page from being freed."""
        file = self._files.pop(key)
        if file is not None:
            file.close()

    def close(self) -> None:
        """Give back all descriptors."""
        self._files.clear()
