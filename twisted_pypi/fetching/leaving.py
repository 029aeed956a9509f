"""The body of a place that can be left for another one."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.body_over import BodyOver

SPAN = 10.0
"""Seconds over which a body's speed is taken."""

SLOWEST = 100_000
"""Bytes a second below which it is left."""


@define(eq=False)
class LeavingBody(BodyOver):
    """A body from `place` (as it is to be named).

    When it breaks, `broke` is called; so it is, and the body is broken off, when it is slower than `SLOWEST` over
    `SPAN` and there is a place `elsewhere`. Time counts only while the network is waited for: clients may be slow, too.
    """

    clock: IReactorTime
    place: str
    broke: Callable[[], object]
    elsewhere: Callable[[], bool]
    _waited: float = field(default=0.0, init=False)
    _came: int = field(default=0, init=False)
    _abandoned: bool = field(default=False, init=False)

    async def read(self) -> bytes:
        """See `FetchedBody`. Raises `UpstreamFailed` also when the place is left."""
        begun = self.clock.seconds()
        try:
            data = await self.body.read()
        except UpstreamFailed:
            if not self._abandoned:  # by who reads it: that says nothing of the place
                self.broke()
            raise
        self._waited += self.clock.seconds() - begun
        self._came += len(data)
        if data and self._waited >= SPAN:
            self._judge()
        return data

    def abandon(self) -> None:
        """See `FetchedBody`."""
        self._abandoned = True
        self.body.abandon()

    def _judge(self) -> None:
        waited, came, self._waited, self._came = self._waited, self._came, 0.0, 0
        if came < SLOWEST * waited and self.elsewhere():
            self.broke()
            self.abandon()
            raise UpstreamFailed(f"only {came} bytes within {waited:.0f} s from {self.place}", self.place)
