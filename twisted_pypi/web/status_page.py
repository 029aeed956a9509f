"""Replies of the status page for people and of its figures for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from twisted_pypi.status.page import POLICY
from twisted_pypi.web.responding import Reply, simple_reply

_PRIVATE = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))


class Status(Protocol):
    """What is shown: `status.pages.StatusPages`."""

    async def document(self, admin: bool) -> Mapping[str, Any]:
        """The figures: for an administrator, or for anybody."""

    async def page(self, base: str, query: str, admin: bool) -> bytes:
        """The page for a client that reaches us at `base`, with what a search for `query` gives."""


async def page_reply(status: Status, base: str, query: str, admin: bool) -> Reply:
    """The page. It shows the client's own address of us, and perhaps what others may not see: nobody may keep it."""
    body = await status.page(base, query, admin)
    return simple_reply(200, "text/html; charset=utf-8", body, "admin", *_PRIVATE, ("Content-Security-Policy", POLICY))


async def status_reply(status: Status, admin: bool) -> Reply:
    """The figures as JSON."""
    body = json.dumps(await status.document(admin)).encode("ascii") + b"\n"
    return simple_reply(200, "application/json", body, "admin", *_PRIVATE)
