"""A body under the test's control."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from twisted_pypi.errors import UpstreamFailed


class ControlledBody:
    """A body that comes when told to."""

    delimited = True

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.pending: list[bytes] = []
        self.outcome: Exception | bool = False
        self.abandoned = False
        self.reads = 0
        self._reader: Deferred[None] | None = None

    def send(self, data: bytes) -> None:
        self.pending.append(data)
        self._wake()

    def end(self, failure: Exception | None = None) -> None:
        self.outcome = failure or True
        self._wake()

    async def read(self) -> bytes:
        self.reads += 1
        while not self.pending:
            if isinstance(self.outcome, Exception):
                raise self.outcome
            if self.outcome:
                return b""
            self._reader = Deferred()
            await self._reader
        return self.pending.pop(0)

    def abandon(self) -> None:
        self.abandoned = True
        self.outcome = self.outcome or UpstreamFailed("given up", "")
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)
