"""Idle connections: one look a second at all of them, in place of a timer that is set anew for each request."""

from __future__ import annotations

import math
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web import http

INTERVAL = 1.0
"""Seconds between two looks: how much longer than its time a connection may idle."""


RECENT = 0.5
"""Seconds after which, at the end, nothing more is expected of a connection: more than a request is under way."""


class SweptChannel(http.HTTPChannel):
    """A connection whose time-out is a moment that others look at, instead of a timer of its own."""

    site: Any

    deadline = math.inf
    """When the connection has idled too long, by the reactor's clock."""

    def setTimeout(self, period: int | None) -> int | None:  # noqa: N802
        """Idle `period` seconds from now at most, None: for ever; what it was before. As in `TimeoutMixin`."""
        before = self.timeOut
        self.timeOut = period
        self.deadline = math.inf if period is None else self.site.reactor.seconds() + period
        return before

    @property
    def rested(self) -> float:
        """Seconds since its time-out was set: that nothing came or went; for ever, where there is none."""
        if self.timeOut is None:
            return math.inf
        since: float = self.site.reactor.seconds() + self.timeOut - self.deadline
        return since

    def expect_soon(self) -> None:
        """What is expected of it comes within `RECENT` seconds or not at all."""
        self.deadline = self.site.reactor.seconds() + RECENT

    def resetTimeout(self) -> None:  # noqa: N802
        """Bytes that come earn no further time: what a request may take is known when it begins."""


@define(eq=False)
class Sweeper:
    """Looks at the channels while there are any."""

    clock: IReactorTime
    channels: set[SweptChannel] = field(factory=set, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)

    def watch(self, channel: SweptChannel) -> None:
        """There is a new channel."""
        self.channels.add(channel)
        if self._next is None:
            self._next = self.clock.callLater(INTERVAL, self._look)

    def forget(self, channel: SweptChannel) -> None:
        """The channel is closed. Idempotent."""
        self.channels.discard(channel)
        if not self.channels and self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        self._next = self.clock.callLater(INTERVAL, self._look)
        now = self.clock.seconds()
        for channel in [channel for channel in self.channels if channel.deadline <= now]:
            channel.setTimeout(None)
            channel.timeoutConnection()  # type: ignore[no-untyped-call]
