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
    """One connection of a client. `memo`, where there is one, is asked before a request is parsed."""

    site: Any

    memo: Repeats | None = None

    head = b""
    """The request that is being answered, if all of it came in one piece that held nothing else."""

    _client: str | None = None

    @property
    def peer(self) -> str:
        """The address at the other end, "" on a UNIX socket."""
        return str(getattr(self.getPeer(), "host", ""))  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Answer at once what was answered before; parse anything else."""
        if not self.requests:
            self.head = b""
            if self.memo is not None and self.persistent and not self._full and not self.paused:
                # What is left of a line before it: nothing is taken for a request that isn't the whole of it.
                data = self.clearLineBuffer() + data  # type: ignore[no-untyped-call]
                if self._answered_again(data):
                    return
                # Looking it up may have shown that this client's requests are not to be remembered.
                if self.memo is not None and is_head(data):
                    self.head = data
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def _answered_again(self, data: bytes) -> bool:
        assert self.memo is not None
        if self._client is None:
            # Not sooner: behind a PROXY protocol the address is known only now.
            self._client = None if self.site.draining else self.memo.client_of(self.peer)
            if self._client is None:
                self.memo = None
                return False
        pieces = self.memo.again(data, self._client)
        if pieces is None:
            return False
        self.setTimeout(self.site.timeOut)  # type: ignore[no-untyped-call]
        transport: Any = self.transport
        transport.writeSequence(pieces)
        return True


def is_head(data: bytes) -> bool:
    """Whether these bytes look like exactly one request that may be looked up. The ordinary path says what it is."""
    end = len(data) - len(_END)
    return end < MAX_HEAD and data.startswith((b"GET /", b"HEAD /")) and data.find(_END) == end
