"""How the interpreter's one lock and its garbage collector are kept from stalling the reactor."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread that parses or renders lets the reactor have a turn. The default, five times that, adds
up: the reactor waits for it after every look at its sockets."""


def never_stall() -> None:
    """Set both, once everything is loaded. Idempotent."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    # What was loaded until now stays: to look through all of it takes 20 ms, in which nobody is served.
    gc.collect()
    gc.freeze()
