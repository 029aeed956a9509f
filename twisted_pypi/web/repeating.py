"""A channel that answers a request it was just sent before without parsing it again (`memo`).

Only bytes that came in one piece, with nothing before and nothing after them, while nothing is being answered, are
looked up: everything else goes the ordinary way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from twisted_pypi.web.strictness import StrictChannel

MAX_HEAD = 4096
"""Bytes of a request that is looked up: installers' have under 1000."""

_END = b"\r\n\r\n"


class Repeats(Protocol):
    """What knows the answers (`memo.Memo`)."""

    def client_of(self, peer: str) -> str | None:
        """Who is at the other end; None for one whose requests have to be looked at each time."""

    def again(self, head: bytes, client: str) -> Iterable[bytes] | None:
        """The pieces of the answer to a request with this head; None when the ordinary path has to answer."""


class RepeatingChannel(StrictChannel):
    """One connection of a client. The site's `memo`, where there is one, is asked before a request is parsed."""

    site: Any

    seated = True
    """Whether its requests are answered as those of others are."""

    head = b""
    """The request that is being answered, if all of it came in one piece that held nothing else."""

    _asked: Repeats | None = None
    _client: str | None = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Answer at once what was answered before; parse anything else."""
        if not self.requests:
            self.head = b""
            memo = self.site.memo
            blocked = self.site.draining or self._full or self.paused
            if memo is not None and self.seated and self.persistent and not blocked:
                # What is left of a line before it: nothing is taken for a request that isn't the whole of it.
                data = self.clearLineBuffer() + data  # type: ignore[no-untyped-call]
                client = self._client_for(memo)
                if client is not None and self._answered_again(memo, data, client):
                    return
                if client is not None and is_head(data):
                    self.head = data
        super().dataReceived(data)

    def _client_for(self, memo: Repeats) -> str | None:
        # Decided with the first request: behind a PROXY protocol the address is known only then.
        if memo is not self._asked:
            self._asked, self._client = memo, memo.client_of(self.peer)
        return self._client

    def _answered_again(self, memo: Repeats, data: bytes, client: str) -> bool:
        pieces = memo.again(data, client)
        if pieces is None:
            return False
        self.receiving = False
        self.setTimeout(self.site.timeOut)
        self.site.admission.answered(self)
        transport: Any = self.transport
        transport.writeSequence(pieces)
        return True


def is_head(data: bytes) -> bool:
    """Whether these bytes look like exactly one request that may be looked up. The ordinary path says what it is."""
    end = len(data) - len(_END)
    return end < MAX_HEAD and data.startswith((b"GET /", b"HEAD /")) and data.find(_END) == end
