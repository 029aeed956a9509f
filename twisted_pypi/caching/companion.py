"""Files that can be made from another: a wheel's `.metadata`, when upstream announces it and does not deliver.

Its announced digest, if there is one, decides: what was made is served only if it matches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from attrs import define

from twisted_pypi.answers import Asker, ByteSource, CacheState, FileAnswer, Provenance
from twisted_pypi.caching.knowledge import Known
from twisted_pypi.caching.streams import stream_of
from twisted_pypi.digests import Digests
from twisted_pypi.interfaces import FileStore, Workers
from twisted_pypi.model import FileRoute
from twisted_pypi.records import StoredFile
from twisted_pypi.storage.sources import BytesSource

_ANY: Mapping[str, str] = MappingProxyType({})


@define
class Companions:
    """Makes companions from stored files, and stores them."""

    store: FileStore
    workers: Workers

    async def make(self, route: FileRoute, known: Known, asker: Asker) -> FileAnswer | None:
        """The companion, made from the stored file that it accompanies and stored; None when that can't be done."""
        parent = await self.store.get(route.companion_of) if route.companion_of else None
        if parent is None or not (known.named and known.announced):
            return None
        body = await self.derived(route, parent, known.hashes)
        if body is None:
            return None
        await self.keep(route, known, body)
        return answer_of(body, asker)

    async def derived(self, route: FileRoute, parent: StoredFile, hashes: Mapping[str, str] = _ANY) -> bytes | None:
        """The companion in a stored file; None when there is none, or not one with these digests."""
        if route.derive is None:
            return None
        try:
            source = await self.store.open(parent)
        except LookupError:
            return None
        try:
            return await self.workers.run(_derive, route, source, hashes)
        except (ValueError, OSError):
            return None
        finally:
            source.close()

    async def keep(self, route: FileRoute, known: Known, body: bytes) -> None:
        """Keep it, if the store can: it could be made again."""
        into = await self.store.begin(route.key, len(body), tuple(known.hashes))
        if into is None:
            return
        try:
            await into.write(body)
            digest = into.hexdigest("sha256")
            file = StoredFile(
                route.key, known.index, len(body), digest, verified=bool(known.hashes), hashes=known.hashes
            )
            await into.publish(file)
        except OSError:  # the store reported it
            await into.abandon()
        except BaseException:  # the client has gone, or its time is over
            await into.abandon()
            raise


def answer_of(body: bytes, asker: Asker) -> FileAnswer:
    """The answer with a companion that was made just now."""
    sha256 = hashlib.sha256(body).hexdigest()
    return FileAnswer(len(body), sha256, None if asker.head else BytesSource(body), Provenance(CacheState.MISS))


def _derive(route: FileRoute, source: ByteSource, hashes: Mapping[str, str]) -> bytes:
    """Raises `ValueError` when the file doesn't hold it, or it isn't what was announced."""
    assert route.derive is not None
    body = route.derive(stream_of(source))
    digests = Digests(hashes)
    digests.update(body)
    if hashes and not digests.confirms(hashes):
        raise ValueError("not what was announced")
    return body
