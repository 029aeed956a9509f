"""What bodies that watch over another one have in common."""

from __future__ import annotations

from attrs import define

from twisted_pypi.interfaces import FetchedBody


@define(eq=False)
class BodyOver:
    """An `interfaces.FetchedBody` that reads another one."""

    body: FetchedBody

    @property
    def length(self) -> int | None:
        """See `FetchedBody`."""
        return self.body.length

    @property
    def delimited(self) -> bool:
        """See `FetchedBody`."""
        return self.body.delimited

    async def read(self) -> bytes:
        """See `FetchedBody`."""
        return await self.body.read()

    def abandon(self) -> None:
        """See `FetchedBody`."""
        self.body.abandon()
