"""The values that pass between the floors: routes down, answers up. Pure data, no IO, no clock.

Times are seconds since the epoch (float), durations seconds, sizes bytes. URLs are absolute `str` without
credentials and without fragment. A *key* is a URL without its query (`urls.key_of`): it names a page or a file in
every store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import BinaryIO, Protocol

from attrs import field, frozen


class CacheState(Enum):
    """How an answer came about, in nginx's words (`$upstream_cache_status`)."""

    HIT = "HIT"
    MISS = "MISS"
    EXPIRED = "EXPIRED"
    STALE = "STALE"
    UPDATING = "UPDATING"
    REVALIDATED = "REVALIDATED"
    BYPASS = "BYPASS"


@frozen
class Form:
    """One media type in which a page can be had.

    `content_type` is the response header; `media_types` are what a client's `Accept` may call it; `body` names the
    stored body ("json", "html"): two forms may share one body. `placeholder`, when set, is a marker in the body that
    is replaced with the base URL and a slash for each answer (documents that need absolute links).
    """

    body: str
    content_type: str
    media_types: tuple[str, ...]
    placeholder: bytes = b""


@frozen
class FileLink:
    """What a page says of one file.

    `url` is absolute, as upstream named it (with query, without fragment). `hashes` maps algorithm to lower-case
    hex. `metadata` maps likewise for the file's `.metadata`; an empty mapping: announced without a hash; None: not
    announced.
    """

    url: str
    hashes: Mapping[str, str] = field(factory=dict)
    size: int | None = None
    metadata: Mapping[str, str] | None = None


class Document(Protocol):
    """A parsed upstream page. Made and rendered in a worker thread."""

    @property
    def version(self) -> int | None:
        """The page's monotonic version (PyPI: the last serial), if it carries one."""

    def links(self) -> Iterable[FileLink]:
        """What the page says of files."""

    def render(self, body: str) -> Iterable[bytes]:
        """The chunks of the stored body named `body` (see `Form.body`)."""


@frozen
class PageBody:
    """A page's body as it came: decoded of content and transfer codings, whole.

    `content_type` is the header as it came ("" if there was none); `url` where it finally came from (after
    redirects): relative links resolve against it. `delimited` is False when only the end of the connection told the
    end of the body.
    """

    stream: BinaryIO
    content_type: str
    url: str
    delimited: bool = True


@frozen
class PageSource:
    """One upstream page that can answer a page route.

    `index` names the index: the owner of credentials, links and digests. `interpret` parses a 200's body in a worker
    thread; it raises `ValueError` (with a reason for the log) for anything that is not such a page.
    """

    index: str
    key: str
    url: str
    accept: str
    ttl: float
    not_found_ttl: float
    interpret: Callable[[PageBody], Document]
    absent_status: frozenset[int] = frozenset({404, 410})


@frozen
class PageRoute:
    """What caching needs to answer for one page.

    `sources` are asked in order. With `owner` set, the first source that has the page owns that name and no later
    one is asked for it. `bodies` are the stored bodies, in the order in which they are made. `restrict` (for offline)
    re-reads the stored body `bodies[0]` and keeps only the files for which the callable, given their keys, answers
    True; None where a page needs no restriction. `withhold` makes the document
    not announce the companions of the files with these keys. `max_body` bounds the decoded upstream body.
    """

    key: str
    name: str
    sources: tuple[PageSource, ...]
    forms: tuple[Form, ...]
    owner: str | None = None
    restrict: Callable[[bytes, Callable[[list[str]], set[str]]], Document] | None = None
    withhold: Callable[[Document, frozenset[str]], Document] | None = None
    max_body: int = 64 << 20

    @property
    def bodies(self) -> tuple[str, ...]:
        """The names of the stored bodies, without repetition."""
        return tuple(dict.fromkeys(form.body for form in self.forms))


@frozen
class FileRoute:
    """What caching needs to answer for one file.

    `index` binds the file to one index: only that index's pages speak of it. None: the first index in `indexes` order
    whose page named this very URL. `open` files may be fetched though no page named them (a configured origin);
    others are refused. `pages` are the pages in which the file is looked for when it was asked for directly.
    `path_hashes` are digests that the path itself carries, to be used only where no page names the file.
    `companion_of` is the key of the file that this one accompanies (PEP 658: its `.metadata`); `derive` makes the
    companion from that file, in a worker thread, and raises `ValueError` when it can't.
    """

    key: str
    url: str
    name: str
    index: str | None
    indexes: tuple[str, ...]
    open: bool
    pages: PageRoute | None = None
    path_hashes: Mapping[str, str] = field(factory=dict)
    companion_of: str | None = None
    derive: Callable[[BinaryIO], bytes] | None = None


@frozen
class Redirect:
    """The client should ask elsewhere on this server; `location` is relative or an absolute path."""

    location: str


Route = PageRoute | FileRoute | Redirect


@frozen
class PageMeta:
    """What is stored beside a page's bodies. `version` is the serial as upstream sent it; `withheld` are the keys of
    the files whose companions its bodies don't announce, though upstream does."""

    key: str
    index: str
    url: str
    etag: str = ""
    last_modified: str = ""
    version: int | None = None
    fetched_at: float = 0.0
    withheld: tuple[str, ...] = ()


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


@frozen
class NamedLink:
    """A `FileLink` as recorded: which index's page said it."""

    index: str
    link: FileLink


@frozen
class Asker:
    """The client's side of a request, as far as caching may know it.

    `client` is its address, for fairness. `no_cache` asks for revalidation of pages. `range` and `if_range` are the
    request headers as they came ("" when absent).
    """

    client: str = ""
    no_cache: bool = False
    head: bool = False
    range: str = ""
    if_range: str = ""


@frozen
class Provenance:
    """How an answer came about, for X-Pypi-Cache, Cache-Status (RFC 9211), access log and metrics.

    `ttl` is the freshness left (negative when stale), None when it doesn't apply. `collapsed`: another request's
    fetch was shared. `upstream_seconds` is how long this request waited for upstream. `parent` is the `Cache-Status`
    that upstream sent, to be passed on before ours.
    """

    state: CacheState
    ttl: float | None = None
    collapsed: bool = False
    stored: bool = False
    upstream_status: int | None = None
    upstream_seconds: float | None = None
    detail: str = ""
    parent: str = ""


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


class ByteSource(Protocol):
    """Bytes that `web` sends: at rest, growing, or passing through.

    Used in the reactor thread by one reader at a time, which reads forward from any position. Whoever gets one closes
    it.
    """

    @property
    def length(self) -> int | None:
        """The whole length in bytes, None while it is not known."""

    @property
    def finished(self) -> bool:
        """Whether everything that will ever come can be read now."""

    @property
    def failure(self) -> Exception | None:
        """Why no more will come, though the body is not whole; the client's transfer must be broken off."""

    def read(self, position: int, limit: int) -> bytes:
        """Up to `limit` bytes from `position`; empty when none are there (yet). Never blocks on the network."""

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever more can be read, or `finished` or `failure` changed. One subscriber."""

    def close(self) -> None:
        """Give back descriptor, subscription and buffers. Idempotent."""


@frozen
class PageAnswer:
    """A page to be served. Its bodies are had from `interfaces.Pages.body`.

    `restricted` holds the bodies themselves, by (body, encoding), of a page that is in no store (offline).
    """

    page: StoredPage
    provenance: Provenance
    restricted: Mapping[tuple[str, str], bytes] = field(factory=dict)


@frozen
class FileAnswer:
    """A file to be served, at rest, growing, or (with `part`) only that piece of it passing through.

    `length` is of the whole file, None while unknown. `sha256` is "" while unknown. `source` is None for a HEAD; else
    its receiver closes it. `part` is (first, last), inclusive positions of what `source` holds: its position 0 is
    the file's `first`. `whole`: no range applies, as the client's beginning of it may be wrong.
    """

    length: int | None
    sha256: str
    source: ByteSource | None
    provenance: Provenance
    part: tuple[int, int] | None = None
    whole: bool = False


@frozen
class FetchRequest:
    """What to ask of upstream.

    `index` decides credentials and where the request may go. `named`: this index's page named this very URL. `headers`
    are further request headers (conditions, ranges). `client` is for fairness. `file`: takes one of the bounded
    places for transfers (pages don't queue behind files).
    """

    url: str
    index: str
    accept: str = "*/*"
    headers: Mapping[str, str] = field(factory=dict)
    client: str = ""
    method: str = "GET"
    file: bool = False
    named: bool = False
