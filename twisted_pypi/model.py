"""The values that pass between the floors: routes down, answers up. Pure data, no IO, no clock.

Times are seconds since the epoch (float), durations seconds, sizes bytes. URLs are absolute `str` without
credentials and without fragment. A *key* is a URL without its query (`urls.key_of`): it names a page or a file in
every store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO, Protocol

from attrs import field, frozen


@frozen
class Form:
    """One media type in which a page can be had.

    `content_type` is the response header; `media_types` are what a client's `Accept` may call it; `body` names the
    stored body ("json", "html"): two forms may share one body. `placeholder`, when set, is a marker in the body that
    is replaced with the base URL and a slash for each answer (documents that need absolute links): such a body is a
    template, which nobody is sent as it is stored.
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
    thread; it raises `ValueError` (with a reason for the log) for anything that is not such a page. `layout` tells
    apart the ways in which it may make links: what was stored with another one isn't this source's page. `confined`: a
    redirect away from the index's own origins is not followed, since other indexes may be asked for the same. `local`:
    nothing beyond this machine is contacted for it, so that it is asked offline too.
    """

    index: str
    key: str
    url: str
    accept: str
    ttl: float
    not_found_ttl: float
    interpret: Callable[[PageBody], Document]
    absent_status: frozenset[int] = frozenset({404, 410})
    layout: str = ""
    confined: bool = False
    local: bool = False


@frozen
class PageRoute:
    """What caching needs to answer for one page.

    `sources` are asked in order. With `owner` set, the first source that has the page owns that name and no later
    one is asked for it. `bodies` are the stored bodies, in the order in which they are made. `restrict` (for offline)
    re-reads the stored body `bodies[0]` and keeps only the files for which the callable, given their keys, answers
    True; None where a page needs no restriction. `withhold` makes the document not announce the companions of the
    files with these keys, `supply` has it announce companions: SHA-256 by the key of the file. `max_body` bounds the
    decoded upstream body. `follows` is the route whose page decides who owns the name, before this one's sources are
    asked. `tells_index`: clients are told which index answered.

    A route with `parts` is the union of their pages, which are asked for and kept each on its own: `merge` makes it of
    the stored `bodies[0]` of those that are there, by the name of their index, and `recipe` names what else decides
    what comes of it. Its own `key` is where the union is stored; `sources` are those of all parts.
    """

    key: str
    name: str
    sources: tuple[PageSource, ...]
    forms: tuple[Form, ...]
    owner: str | None = None
    restrict: Callable[[bytes, Callable[[list[str]], set[str]]], Document] | None = None
    withhold: Callable[[Document, frozenset[str]], Document] | None = None
    supply: Callable[[Document, Mapping[str, str]], Document] | None = None
    max_body: int = 64 << 20
    follows: PageRoute | None = None
    tells_index: bool = False
    parts: tuple[PageRoute, ...] = ()
    merge: Callable[[Mapping[str, BinaryIO]], Document] | None = None
    recipe: str = ""

    @property
    def bodies(self) -> tuple[str, ...]:
        """The names of the stored bodies, without repetition."""
        return tuple(dict.fromkeys(form.body for form in self.forms))

    @property
    def templates(self) -> frozenset[str]:
        """Those of them that are templates."""
        return frozenset(form.body for form in self.forms if form.placeholder)


@frozen
class FileRoute:
    """What caching needs to answer for one file.

    `index` binds the file to one index: only that index's pages speak of it. None: the first index in `indexes` order
    whose page named this very URL. `open` files may be fetched though no page named them (a configured origin);
    others are refused. `alone`: `indexes` are shown alone, so that what isn't open is refused also when it is stored,
    unless their own pages named it; elsewhere whoever named it once vouches for what is stored. `pages` are the pages
    in which the file is looked for when it was asked for directly. `path_hashes` are digests that the path itself
    carries, to be used only where no page names the file. `companion_of` is the key of the file that this one
    accompanies (PEP 658: its `.metadata`); `derive` makes the companion from that file, in a worker thread, and
    raises `ValueError` when it can't. `companion` makes the route of the companion of a file from which one could be
    made. `tells_index`: clients are told of which index it is.
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
    tells_index: bool = False
    alone: bool = False
    companion: Callable[[], FileRoute] | None = field(default=None, eq=False)


@frozen
class Redirect:
    """The client should ask elsewhere on this server; `location` is relative or an absolute path."""

    location: str


Route = PageRoute | FileRoute | Redirect


@frozen
class Alternatives:
    """Pages at one path, each another form of the same, asked for and kept on its own: the client's `Accept` chooses.

    Between forms that one page would have, no client waits for what only another one needs.
    """

    pages: tuple[PageRoute, ...]

    @property
    def forms(self) -> tuple[Form, ...]:
        """All their forms, in the order of preference; the last is the default."""
        return tuple(form for page in self.pages for form in page.forms)


@frozen
class FetchRequest:
    """What to ask of upstream.

    `index` decides credentials and where the request may go. `named`: this index's page named this very URL. `headers`
    are further request headers (conditions, ranges). `client` is for fairness. `file`: takes one of the bounded
    places for transfers (pages don't queue behind files). `confined`: no redirect leads away from the index. `held`: an
    older answer is at hand, which a place that lags behind is not to take away. `verifiable`: a digest decides in the
    end, so that a piece may come from anywhere. `patience`: seconds within which the headers must be there, if that is
    to be less than usual.
    """

    url: str
    index: str
    accept: str = "*/*"
    headers: Mapping[str, str] = field(factory=dict)
    client: str = ""
    method: str = "GET"
    file: bool = False
    named: bool = False
    confined: bool = False
    held: bool = False
    verifiable: bool = False
    patience: float | None = None
