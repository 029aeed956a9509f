"""Bodies of which nobody gets a byte before they were checked: who asks for one may as well hear how that went.

A client then has a status and a reason where it would have a broken transfer, and its file from elsewhere if it can be
made here.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import ByteSource

PATIENCE = 5.0
"""Seconds until the client has its headers all the same: upstream is slow then, the client must see that we live."""


async def settle(source: ByteSource, clock: IReactorTime) -> None:
    """Wait until the source is whole, has failed, or takes too long. Raises its failure; it was closed then."""
    changed: Deferred[None] = Deferred()
    timer = clock.callLater(PATIENCE, changed.callback, None)

    def look() -> None:
        if (source.finished or source.failure is not None) and timer.active():
            timer.cancel()
            changed.callback(None)

    source.subscribe(look)
    try:
        look()
        await changed
        if source.failure is not None:
            raise source.failure
    except BaseException:
        source.close()
        raise
    finally:
        if timer.active():
            timer.cancel()
