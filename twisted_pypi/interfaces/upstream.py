"""Where answers come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted_pypi.model import FetchRequest


class FetchedBody(Protocol):
    """An upstream body, read by one reader. It pauses the connection when it is not read."""

    @property
    def length(self) -> int | None:
        """Content-Length, None when unknown."""

    @property
    def delimited(self) -> bool:
        """After the end: whether HTTP itself marked the end (False: the connection was closed)."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the end. Raises `UpstreamFailed` when it breaks or idles too long."""

    def abandon(self) -> None:
        """No more is wanted: the connection is closed unless all of it came. Idempotent."""


class Fetched(Protocol):
    """Upstream's answer, headers in; the caller must read the body to its end or abandon it."""

    status: int
    url: str
    headers: Mapping[str, str]
    """Lower-case names; of repeated headers the first value, `cache-status` joined with commas."""
    body: FetchedBody
    seconds: float
    """From the request to the headers."""


class Upstream(Protocol):
    """Where answers come from. One `fetch` is one request of ours, redirects and the one retry included."""

    async def fetch(self, request: FetchRequest) -> Fetched:
        """The answer, whatever its status except 5xx and 429.

        Raises `UpstreamFailed`, also for 5xx and 429, too many or forbidden redirects and forbidden addresses.
        """

    def is_down(self, url: str) -> bool:
        """Whether the origin is known to be down (its breaker is open)."""

    def may_probe(self, url: str) -> bool:
        """Whether to look if an origin that is down is back. True once when that is due: the caller must fetch then."""

    def refuse(self, fetched: Fetched) -> bool:
        """Take note that this answer's body was broken or wrong; whether another place may have a better one."""
