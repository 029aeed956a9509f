"""Files that can be made from another: a wheel's `.metadata`, when upstream announces it and does not deliver.

Its announced digest decides: what was made is served only if it matches.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from typing import BinaryIO, cast

from attrs import define

from twisted_pypi.caching.knowledge import Known
from twisted_pypi.interfaces import FileStore, Workers
from twisted_pypi.model import ByteSource, FileRoute, StoredFile


@define
class Companions:
    """Makes companions from stored files, and stores them."""

    store: FileStore
    workers: Workers

    async def make(self, route: FileRoute, known: Known) -> StoredFile | None:
        """The companion, made from the stored file it accompanies and stored; None when that can't be done."""
        parent = await self.store.get(route.companion_of) if route.companion_of else None
        if parent is None or route.derive is None or not known.hashes:
            return None
        try:
            source = await self.store.open(parent)
        except LookupError:
            return None
        try:
            body = await self.workers.run(_derive, route, source, known.hashes)
        except (ValueError, OSError):
            return None
        finally:
            source.close()
        return await self._store(route, known, body)

    async def _store(self, route: FileRoute, known: Known, body: bytes) -> StoredFile | None:
        into = await self.store.begin(route.key, len(body), tuple(known.hashes))
        if into is None:
            return None
        await into.write(body)
        file = StoredFile(
            route.key, known.index, len(body), into.hexdigest("sha256"), verified=True, hashes=known.hashes
        )
        await into.publish(file)
        return file


def _derive(route: FileRoute, source: ByteSource, hashes: Mapping[str, str]) -> bytes:
    """Raises `ValueError` when the file doesn't hold it, or it isn't what was announced."""
    assert route.derive is not None
    body = route.derive(cast(BinaryIO, io.BufferedReader(_Readable(source))))
    for algorithm, expected in hashes.items():
        if hashlib.new(algorithm, body).hexdigest() != expected:
            raise ValueError(f"not what was announced ({algorithm})")
    return body


class _Readable(io.RawIOBase):
    """A byte source at rest as a file object, for libraries that want one."""

    def __init__(self, source: ByteSource) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.length or 0}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._source.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
