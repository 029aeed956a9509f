"""A body that comes too slowly is given up, though it never falls silent: who waits for it keeps others from asking."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.body_over import BodyOver

PATIENCE = 30.0
"""Seconds within which a body may be as slow as it likes."""

SLOWEST = 1024
"""Bytes a second, on average, below which it is given up after that."""


@define(eq=False)
class PacedBody(BodyOver):
    """`url` (without secrets) is for messages, `now` gives seconds."""

    url: str
    now: Callable[[], float]
    _begun: float = field(init=False)
    _received: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._begun = self.now()

    async def read(self) -> bytes:
        """See `FetchedBody`. Raises `UpstreamFailed` also when the body comes too slowly."""
        data = await self.body.read()
        self._received += len(data)
        elapsed = self.now() - self._begun
        if data and elapsed > PATIENCE and self._received < SLOWEST * elapsed:
            self.abandon()
            raise UpstreamFailed(f"only {self._received} bytes within {elapsed:.0f} s", self.url)
        return data
