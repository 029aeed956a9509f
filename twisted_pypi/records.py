"""What stores keep, and say of it. Pure data.

Times are seconds since the epoch (float), sizes bytes; keys and URLs as in `model`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from twisted_pypi.model import FileLink


@frozen
class PageMeta:
    """What is stored beside a page's bodies. `version` is the serial as upstream sent it; `withheld` are the keys of
    the files whose companions its bodies don't announce, though upstream does; `supplied` are the companions that they
    announce though upstream doesn't, as (key of the file, SHA-256); `layout` is `PageSource.layout`."""

    key: str
    index: str
    url: str
    etag: str = ""
    last_modified: str = ""
    version: int | None = None
    fetched_at: float = 0.0
    withheld: tuple[str, ...] = ()
    layout: str = ""
    supplied: tuple[tuple[str, str], ...] = ()


@frozen
class Representation:
    """One stored body in one content coding.

    `encoding` is "identity", "gzip" or "zstd"; `digest` the hex SHA-256 of exactly these bytes, from which the strong
    ETag is made; `offset` where they begin in the page's file.
    """

    body: str
    encoding: str
    digest: str
    length: int
    offset: int = 0


@frozen
class StoredPage:
    """A page in a store. `validated_at` is when upstream last confirmed it; `inode` tells one stored version from the
    next, 0 is one that is in memory alone."""

    meta: PageMeta
    validated_at: float
    representations: Mapping[tuple[str, str], Representation]
    inode: int = 0


@frozen
class StoredFile:
    """A whole, verified file in a store.

    `sha256` is its own digest; `verified` tells that a digest from a page or path confirmed it (else it was recorded
    at first download). `etag` and `last_modified` are upstream's.
    """

    key: str
    index: str
    size: int
    sha256: str
    verified: bool
    etag: str = ""
    last_modified: str = ""
    hashes: Mapping[str, str] = field(factory=dict)

    @property
    def digests(self) -> Mapping[str, str]:
        """Those that it is known to have, by algorithm; {} for one that was found on disk, and is to be confirmed."""
        return digests_of(self.sha256, self.hashes)


def digests_of(sha256: str, hashes: Mapping[str, str]) -> Mapping[str, str]:
    """`StoredFile.digests`."""
    return {**hashes, "sha256": sha256} if sha256 else {}


@frozen
class NamedLink:
    """A `FileLink` as recorded: which index's page said it."""

    index: str
    link: FileLink


@frozen
class PartialOrigin:
    """What a partial file is of: enough to go on with it later.

    `validator` is what `If-Range` may hold (RFC 9110, 13.1.5), "" if nothing; `length` the whole file's, None while
    unknown; `hashes` are the announced digests.
    """

    index: str
    validator: str = ""
    length: int | None = None
    hashes: Mapping[str, str] = field(factory=dict)
