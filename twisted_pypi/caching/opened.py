"""A body on its way from upstream, and what is recorded of it in the end."""

from __future__ import annotations

from attrs import define

from twisted_pypi.answers import ByteSource
from twisted_pypi.caching.knowledge import Known
from twisted_pypi.caching.progress import Beginning
from twisted_pypi.fetching.transfer import Transfer, TransferResult
from twisted_pypi.interfaces import Fetched
from twisted_pypi.model import FileRoute
from twisted_pypi.records import StoredFile


@define
class Opened:
    """A body on its way: growing on disk for all (`transfer`), or passing through for the one who claims it."""

    fetched: Fetched
    length: int | None  # as far as clients may be told
    sha256: str
    transfer: Transfer | None = None
    _relay: ByteSource | None = None
    began: Beginning | None = None

    def claim(self) -> ByteSource | None:
        """The body that passes through; None for everybody but the first."""
        relay, self._relay = self._relay, None
        return relay

    @property
    def failed(self) -> bool:
        """Whether nobody gets the whole file from this any more."""
        return self.transfer is not None and self.transfer.failure is not None

    def give_up(self) -> None:
        """Close what nobody claimed."""
        relay = self.claim()
        if relay is not None:
            relay.close()


def record_of(route: FileRoute, known: Known, fetched: Fetched, result: TransferResult) -> StoredFile:
    """What is recorded of a file that came whole."""
    return StoredFile(
        key=route.key,
        index=known.index,
        size=result.size,
        sha256=result.sha256,
        verified=result.verified,
        etag=fetched.headers.get("etag", ""),
        last_modified=fetched.headers.get("last-modified", ""),
        hashes=known.hashes,
    )
