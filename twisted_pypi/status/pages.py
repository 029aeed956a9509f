"""The page and the document as they are asked for: made at most once in a moment, for however many."""

from __future__ import annotations

from functools import partial

from attrs import define, field, frozen

from twisted_pypi.interfaces import Workers
from twisted_pypi.status.contents import Contents, Found
from twisted_pypi.status.page import LONGEST_QUERY, View, render
from twisted_pypi.status.recent import Recent
from twisted_pypi.status.report import Document, Report
from twisted_pypi.status.visible import Audience, Source, audience

LASTING = 1.0
"""Seconds for which one is good."""


@frozen
class Shown:
    """What is shown of the settings: the indexes, and that

    - `offline`: upstream is never contacted;
    - `by_token`: there is an admin token;
    - `npm`: a registry is served below /npm/. Elsewhere its path is a name, which not everybody may hear.
    """

    sources: tuple[Source, ...]
    offline: bool
    by_token: bool
    npm: bool = False


@define(eq=False)
class StatusPages:
    """What `/` and `/+status` show while certain settings are in force. `workers` render."""

    report: Report
    shown: Shown
    contents: Contents
    workers: Workers
    _documents: Recent[Document] = field(init=False)
    _pages: Recent[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._documents = Recent(self.report.steady, LASTING)
        self._pages = Recent(self.report.steady, LASTING)

    async def document(self, admin: bool) -> Document:
        """The figures, JSON-able: for an administrator, or for anybody."""
        return await self._documents.get(admin, partial(self._document, self._audience(admin)))

    async def page(self, base: str, query: str, admin: bool) -> bytes:
        """The page (UTF-8) for a client that reaches us at `base`, with what a search for `query` ("": none) gives.

        Raises `Unavailable` where a search can't be made now.
        """
        query = query.strip()[:LONGEST_QUERY]
        return await self._pages.get((base, query, admin), partial(self._page, base, query, admin))

    def _audience(self, admin: bool) -> Audience:
        return audience(self.shown.sources, admin)

    async def _document(self, seen_by: Audience) -> Document:
        document = await self.report.document(self.shown.sources, self.shown.offline, seen_by)
        condition = document["catalogue"]
        return {
            **document,
            "largest": [] if condition == "opening" else await self.contents.largest(seen_by, condition),
        }

    async def _page(self, base: str, query: str, admin: bool) -> bytes:
        document = await self.document(admin)
        found: Found | None = None
        if query and document["catalogue"] != "opening":
            found = await self.contents.search(query, self._audience(admin))
        view = View(base, document, query, found, self.shown.by_token, self.shown.npm)
        return await self.workers.run(render, view)
