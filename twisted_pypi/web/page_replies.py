"""Replies with pages: form, coding, validators and freshness of one stored page for one client.

A hit on a page in memory is answered in the reactor turn in which it was asked (`at_once`): no Deferred, and the head
is rebuilt once a second at most.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from attrs import define, field, frozen

from twisted_pypi.answers import ByteSource, CacheState, PageAnswer, Still
from twisted_pypi.errors import Unavailable
from twisted_pypi.http.conditional import none_match
from twisted_pypi.http.negotiation import choose_encoding, choose_form
from twisted_pypi.interfaces import Pages, Workers
from twisted_pypi.model import Alternatives, Form, PageRoute
from twisted_pypi.records import Representation, StoredPage
from twisted_pypi.storage.coding import ENCODINGS
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.finishing import Finished, Finishing, Large
from twisted_pypi.web.responding import Reply, Window, header_lines, provenance_lines

MAX_AGE = 60
"""Seconds for which a client may keep a page, however long it is fresh here."""

_MAX_HEADS = 4096
_VARY = "Accept, Accept-Encoding"


@frozen
class _Choice:
    """What one client gets of one page."""

    route: PageRoute
    answer: PageAnswer
    form: Form
    representation: Representation

    @property
    def etag(self) -> str:
        """Strong: the bytes' digest, and the type under which they go (two forms may share one body)."""
        return f'"{self.representation.digest[:32]}-{_type_tag(self.form.content_type)}"'


@frozen
class _Completed:
    """What one client gets of one page with absolute links; `same`: it has that already."""

    choice: _Choice
    finished: Finished
    lines: bytes
    still: Still | None
    same: bool

    def unchanged(self) -> Reply | None:
        """The reply that says so, without a body."""
        provenance = self.choice.answer.provenance
        return Reply(304, self.lines, kind="page", provenance=provenance, still=self.still) if self.same else None

    def whole(self, body: bytes | Large) -> Reply:
        """The reply with the finished body."""
        length = len(body) if isinstance(body, bytes) else len(body.data)
        content = _content_lines(self.choice.form.content_type, self.finished.encoding, length)
        provenance = self.choice.answer.provenance
        sendable = body if isinstance(body, bytes) else Window(body.source(), 0, length - 1)
        return Reply(200, self.lines + content, sendable, kind="page", provenance=provenance, still=self.still)


@define
class _Heads:
    """Ready-made validator lines of fresh pages, good for the second in which they were made."""

    _second: int = 0
    _made: dict[tuple[str, str, str], tuple[StoredPage, bytes]] = field(factory=dict)

    def lines(self, choice: _Choice, second: int) -> bytes:
        """The lines for a hit in this second."""
        key = (choice.route.key, choice.form.content_type, choice.representation.encoding)
        if second != self._second or len(self._made) >= _MAX_HEADS:  # no page is held here for longer
            self._made.clear()
            self._second = second
        made = self._made.get(key)
        if made is not None and made[0] is choice.answer.page:
            return made[1]
        lines = _validator_lines(choice.answer, choice.etag, "public")
        self._made[key] = (choice.answer.page, lines)
        return lines


@define
class PageReplies:
    """Makes replies of pages.

    `base_url` is `--base-url` ("": what the client used), `prefix` the path below which everything is served ("" or
    "/path"): both are for documents with absolute links alone.
    """

    pages: Pages
    workers: Workers
    base_url: str = ""
    prefix: str = ""
    _heads: _Heads = field(factory=_Heads, init=False)
    _finishing: Finishing = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._finishing = Finishing(self.workers)

    def at_once(self, route: PageRoute, ask: Ask, answer: PageAnswer, now: float) -> Reply | None:
        """The reply to a fresh page at hand; None when its body must be waited for."""
        choice = _choose(route, ask, answer)
        if choice.form.placeholder:
            return self._finished_at_once(choice, ask)
        lines = self._lines(choice, now)
        condition = ask.header("if-none-match")
        if condition and none_match(condition, choice.etag):
            return Reply(304, lines, kind="page", provenance=answer.provenance, still=answer.still)
        body = b"" if ask.head else self.pages.ready_body(answer, choice.representation)
        return None if body is None else _whole(choice, lines, _sendable(choice, body))

    async def reply(self, route: PageRoute, ask: Ask, answer: PageAnswer | None, now: float) -> Reply:
        """The reply, `answer` (if caching gave one already) or what caching answers. Raises `CacheError` kinds."""
        answer = answer or await self.pages.answer(route, ask.asker())
        try:
            return await self._reply(_choose(route, ask, answer), ask, now)
        except LookupError:
            # The page was replaced between answer and body: the new one is as good.
            answer = await self.pages.answer(route, ask.asker())
        try:
            return await self._reply(_choose(route, ask, answer), ask, now)
        except LookupError as error:
            raise Unavailable("The page is being replaced") from error

    async def _reply(self, choice: _Choice, ask: Ask, now: float) -> Reply:
        reply = self.at_once(choice.route, ask, choice.answer, now)
        if reply is not None:
            return reply
        if choice.form.placeholder:
            return await self._finished_reply(choice, ask)
        body = await self.pages.body(choice.answer, choice.representation)
        return _whole(choice, self._lines(choice, now), _sendable(choice, body))

    def _lines(self, choice: _Choice, now: float) -> bytes:
        provenance = choice.answer.provenance
        if provenance.state is CacheState.HIT and not provenance.detail and not provenance.parent:
            return self._heads.lines(choice, int(now))
        return _validator_lines(choice.answer, choice.etag, "public")

    def _finished(self, choice: _Choice, ask: Ask) -> _Completed:
        """What this client gets of a page whose absolute links are completed for it."""
        template = choice.representation
        base = base_of(self.base_url, self.prefix, ask).encode("ascii", "replace")
        encoding = choose_encoding(ENCODINGS, ask.header("accept-encoding"))
        finished = Finished(template.digest, template.length, choice.form.placeholder, base + b"/", encoding)
        etag = f'"{finished.digest[:32]}-{_type_tag(choice.form.content_type)}"'
        # It depends on the host, so it is private.
        lines = _validator_lines(choice.answer, etag, "private")
        # Not every request with the same head has the same scheme.
        still = choice.answer.still if self.base_url else None
        return _Completed(choice, finished, lines, still, none_match(ask.header("if-none-match"), etag))

    def _finished_at_once(self, choice: _Choice, ask: Ask) -> Reply | None:
        completed = self._finished(choice, ask)
        body = None if completed.same else self._finishing.at_hand(completed.finished)
        return completed.unchanged() if body is None else completed.whole(body)

    async def _finished_reply(self, choice: _Choice, ask: Ask) -> Reply:
        completed = self._finished(choice, ask)

        async def template() -> bytes | ByteSource:
            return await self.pages.body(choice.answer, choice.representation)

        return completed.unchanged() or completed.whole(await self._finishing.body(completed.finished, template))


def base_of(base_url: str, prefix: str, ask: Ask) -> str:
    """The absolute URL below which this client finds everything, without trailing slash.

    A `base_url` may be given with the prefix or without it.
    """
    base = base_url.rstrip("/") or f"{ask.scheme}://{ask.host}"
    return base if prefix and urlsplit(base).path.endswith(prefix) else f"{base}{prefix}"


def preferred(alternatives: Alternatives, ask: Ask) -> PageRoute:
    """The page that has the form which this client prefers."""
    form = choose_form(alternatives.forms, ask.header("accept"), ask.parameter("format"))
    return next(page for page in alternatives.pages if form in page.forms)


def _choose(route: PageRoute, ask: Ask, answer: PageAnswer) -> _Choice:
    form = choose_form(route.forms, ask.header("accept"), ask.parameter("format"))
    representations: Mapping[tuple[str, str], Representation] = answer.page.representations
    available = [encoding for body, encoding in answer.restricted or representations if body == form.body]
    # A template is completed after decoding.
    encoding = "identity" if form.placeholder else choose_encoding(available, ask.header("accept-encoding"))
    representation = representations.get((form.body, encoding))
    if representation is None:
        raise Unavailable(f"The page is stored without its {form.body} form")
    return _Choice(route, answer, form, representation)


def _whole(choice: _Choice, lines: bytes, body: bytes | Window) -> Reply:
    representation = choice.representation
    content = _content_lines(choice.form.content_type, representation.encoding, representation.length)
    answer = choice.answer
    return Reply(200, lines + content, body, kind="page", provenance=answer.provenance, still=answer.still)


def _sendable(choice: _Choice, body: bytes | ByteSource) -> bytes | Window:
    return body if isinstance(body, bytes) else Window(body, 0, choice.representation.length - 1)


def _validator_lines(answer: PageAnswer, etag: str, scope: str) -> bytes:
    """What 200 and 304 have in common (RFC 9110, 15.4.5)."""
    ttl = answer.provenance.ttl or 0.0
    age = max(0, math.floor(min(MAX_AGE, ttl)))
    pairs = [("ETag", etag), ("Cache-Control", f"{scope}, max-age={age}"), ("Vary", _VARY)]
    if answer.page.meta.version is not None:
        pairs.append(("X-PyPI-Last-Serial", str(answer.page.meta.version)))
    return header_lines(*pairs) + provenance_lines(answer.provenance)


@lru_cache(maxsize=4096)
def _content_lines(content_type: str, encoding: str, length: int) -> bytes:
    pairs = [("Content-Type", content_type), ("Content-Length", str(length))]
    return header_lines(*pairs, *([] if encoding == "identity" else [("Content-Encoding", encoding)]))


@lru_cache(maxsize=64)
def _type_tag(content_type: str) -> str:
    return hashlib.sha256(content_type.encode()).hexdigest()[:6]
