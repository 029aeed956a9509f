"""Signed links that have run out: the page that named one is read anew, and the file asked for once more.

Object stores sign links for minutes or seconds, with a query that is another at each fetch of the page, and answer 403
or 400 afterwards. The file keeps its key, which has no query.

Laws: a page is read anew as often as that helps, so that links may live as shortly as they like; where it did not help
a file, that file has it read again after `PAUSE` seconds only, and one index has no more than `FUTILE` such readings in
that time.
"""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.negatives import Expiring
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.interfaces import Fetched, Upstream
from twisted_pypi.model import FetchRequest
from twisted_pypi.urls import key_of

RUN_OUT = frozenset({400, 401, 403, 404, 410})
"""What stores answer to a signature that is no longer good."""

PAUSE = 10.0
FUTILE = 20


@define
class RenewingUpstream:
    """An `interfaces.Upstream` for files; `knowledge` finds out what their pages say now."""

    upstream: Upstream
    knowledge: Knowledge
    clock: IReactorTime
    _futile: Expiring = field(factory=Expiring, init=False)
    _counts: dict[str, tuple[float, int]] = field(factory=dict, init=False)

    async def fetch(self, request: FetchRequest) -> Fetched:
        """See `interfaces.Upstream`; up to three times, while the answer could mean that a signature has run out."""
        answer = await self._ask(request)
        if not _may_have_run_out(request, answer):
            return _told(answer)
        said = await self.knowledge.said(request.index, request.url)
        if said is None:
            return _told(answer)
        if said != request.url:  # the page was read anew since, which may be long ago for the rest of a transfer
            request, answer = await self._again(request, answer, said)
        if _may_have_run_out(request, answer) and self._may_renew(request):
            renewed = await self.knowledge.renewed(request.index, request.url, request.client)
            if renewed is not None:
                request, answer = await self._again(request, answer, renewed)
            if renewed is None or _may_have_run_out(request, answer):
                self._note_futile(request)
        return _told(answer)

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.is_down(url)

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.may_probe(url)

    def refuse(self, fetched: Fetched) -> bool:
        """See `interfaces.Upstream`."""
        return self.upstream.refuse(fetched)

    async def _ask(self, request: FetchRequest) -> Fetched | UpstreamFailed:
        try:
            return await self.upstream.fetch(request)
        except UpstreamFailed as failure:
            return failure

    async def _again(
        self, request: FetchRequest, before: Fetched | UpstreamFailed, url: str
    ) -> tuple[FetchRequest, Fetched | UpstreamFailed]:
        """The same elsewhere, and what comes of it instead of `before`."""
        if not isinstance(before, UpstreamFailed):
            before.body.abandon()
        request = evolve(request, url=url)
        return request, await self._ask(request)

    def _may_renew(self, request: FetchRequest) -> bool:
        now = self.clock.seconds()
        since, count = self._counts.get(request.index, (now, 0))
        if since + PAUSE <= now:
            self._counts.pop(request.index, None)
            count = 0
        return count < FUTILE and not self._futile.left(key_of(request.url), now)

    def _note_futile(self, request: FetchRequest) -> None:
        now = self.clock.seconds()
        since, count = self._counts.get(request.index, (now, 0))
        self._counts[request.index] = since, count + 1
        self._futile.add(key_of(request.url), now + PAUSE)


def _may_have_run_out(request: FetchRequest, answer: Fetched | UpstreamFailed) -> bool:
    return request.named and "?" in request.url and answer.status in RUN_OUT


def _told(answer: Fetched | UpstreamFailed) -> Fetched:
    if isinstance(answer, UpstreamFailed):
        raise answer
    return answer
