"""Signed links that have run out: the page that named one is read anew, and the file asked for once more.

Object stores sign links for minutes, with a query that is another at each fetch of the page, and answer 403 or 400
afterwards. The file keeps its key, which has no query.
"""

from __future__ import annotations

from attrs import evolve, frozen

from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.interfaces import Fetched, Upstream
from twisted_pypi.model import FetchRequest

RUN_OUT = frozenset({400, 401, 403, 404, 410})
"""What stores answer to a signature that is no longer good."""


@frozen
class RenewingUpstream:
    """An `interfaces.Upstream` for files; `knowledge` finds out what their pages say now."""

    upstream: Upstream
    knowledge: Knowledge

    async def fetch(self, request: FetchRequest) -> Fetched:
        """See `interfaces.Upstream`; twice, if the first answer could mean that a signature has run out."""
        try:
            fetched = await self.upstream.fetch(request)
        except UpstreamFailed as failure:
            url = await self._renewed(request, failure.status)
            if url is None:
                raise
        else:
            url = await self._renewed(request, fetched.status)
            if url is None:
                return fetched
            fetched.body.abandon()
        return await self.upstream.fetch(evolve(request, url=url))

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.is_down(url)

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.may_probe(url)

    def refuse(self, fetched: Fetched) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.refuse(fetched)

    async def _renewed(self, request: FetchRequest, status: int | None) -> str | None:
        """Where to ask instead, if anywhere."""
        if not request.named or "?" not in request.url or status not in RUN_OUT:
            return None
        return await self.knowledge.renewed(request.index, request.url, request.client)
