"""The daemon's two clocks.

What is kept on disk or told to clients is dated with the time of day (`WallClock`), which may be set, back as well as
forward: a page from the future counts as expired, as does one that aged by a day, and is revalidated once. Timers, and
whatever is remembered in memory for a while, follow the reactor's clock, which nobody sets after `make_steady`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
@define(eq=False)
class WallClock:
    """The time of day, in seconds since the epoch; its timers are the reactor's."""

    reactor: Any
    now: Callable[[], float] = time.time

    def seconds(self) -> float:
        """The time of day."""
        return self.now()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002, N802
        """See `IReactorTime`."""
        call: IDelayedCall = self.reactor.callLater(delay, callable, *args, **kw)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:  # noqa: N802
        """See `IReactorTime`."""
        calls: Sequence[IDelayedCall] = self.reactor.getDelayedCalls()
        return calls


def seconds_of(reactor: Any) -> Callable[[], float]:
    """Tells the reactor's time, whatever takes the place of its clock later (`make_steady`)."""
    return lambda: float(reactor.seconds())


def make_steady(reactor: Any, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Have the reactor's timers follow a clock that only goes forward, at its own pace.

    Twisted takes the time of day: when that is set back by a day, every pending timer fires a day late, and when it is
    set forward, all fire at once. The new clock goes on where the old one is, so that pending timers stay right.
    """
    offset = reactor.seconds() - monotonic()
    reactor.seconds = lambda: monotonic() + offset
