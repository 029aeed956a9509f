"""What is set once for the whole process, as its defaults suit others: how memory is taken and looked through."""

from __future__ import annotations

import ctypes
import gc

from twisted.internet.interfaces import IReactorCore

_M_ARENA_MAX = -8  # malloc.h


def settle(reactor: IReactorCore) -> None:
    """Set it. Before there are threads."""
    _share_one_arena()
    reactor.callWhenRunning(_keep_what_is_there)


def _share_one_arena() -> None:
    """Let all threads take memory from one place, where the C library is glibc.

    It gives each its own, and what one frees there no other gets: a process that reads large pages in several threads
    grows by a fifth for nothing, since threads of one interpreter hardly ever allocate at the same time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _keep_what_is_there() -> None:
    """Spare the collector what start-up made, all of which stays.

    To look through it takes up to 25 ms, in which nobody is served, whichever thread a collection falls to.
    """
    gc.collect()
    gc.freeze()
