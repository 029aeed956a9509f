"""What a connection gets that is one too many."""

from __future__ import annotations

from twisted_pypi.errors import Unavailable
from twisted_pypi.web.clients import Ask, check
from twisted_pypi.web.resource import Answer, ProxyResource
from twisted_pypi.web.site import CacheRequest

RETRY_AFTER = 2
"""Seconds that a client is told to wait: pip sleeps through them."""


class CrowdedResource(ProxyResource):
    """Answers health checks as ever, and everything else with 503; the connection ends with that."""

    def render(self, request: CacheRequest) -> int:
        """Answer now. Never raises."""
        request.channel.persistent = 0
        return super().render(request)

    def _answer(self, ask: Ask) -> Answer:
        check(ask)
        health = self.health(ask)
        if health is None:
            raise Unavailable("Too many connections at the moment", retry_after=RETRY_AFTER)
        return health
