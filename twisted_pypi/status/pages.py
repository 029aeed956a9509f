"""The page and the document as they are asked for: made at most once in a moment, for however many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, field

from twisted_pypi.interfaces import Workers
from twisted_pypi.status.page import LONGEST_QUERY, View, render
from twisted_pypi.status.recent import Recent
from twisted_pypi.status.report import Document, Report
from twisted_pypi.status.searching import Found
from twisted_pypi.status.visible import Audience, Source, audience

LASTING = 1.0
"""Seconds for which one is good."""

Search = Callable[[str, Audience], Awaitable[Found]]


@define(eq=False)
class StatusPages:
    """What `/` and `/+status` show while certain settings are in force.

    `sources` are the indexes, `by_token` tells whether there is an admin token. `search` finds entries of the cache by
    a pattern of their name. `workers` render.
    """

    report: Report
    sources: tuple[Source, ...]
    offline: bool
    by_token: bool
    search: Search
    workers: Workers
    _documents: Recent[Document] = field(init=False)
    _pages: Recent[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._documents = Recent(self.report.steady, LASTING)
        self._pages = Recent(self.report.steady, LASTING)

    async def document(self, admin: bool) -> Document:
        """The figures, JSON-able: for an administrator, or for anybody."""
        seen_by = audience(self.sources, admin)
        return await self._documents.get(admin, lambda: self.report.document(self.sources, self.offline, seen_by))

    async def page(self, base: str, query: str, admin: bool) -> bytes:
        """The page (UTF-8) for a client that reaches us at `base`, with what a search for `query` ("": none) gives."""
        query = query.strip()[:LONGEST_QUERY]
        return await self._pages.get((base, query, admin), partial(self._page, base, query, admin))

    async def _page(self, base: str, query: str, admin: bool) -> bytes:
        document = await self.document(admin)
        found = None
        if query and document["catalogue"] != "opening":
            found = await self.search(query, audience(self.sources, admin))
        return await self.workers.run(render, View(base, document, query, found, self.by_token))
