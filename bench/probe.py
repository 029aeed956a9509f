"""twistd with a watch on its reactor: `python -m bench.probe FILE TWISTD-ARGUMENTS`.

Writes a line to FILE for every pause between two turns, in milliseconds: how long it was, and how much of it this
process computed (a busy machine makes the first longer, never the second).
"""

from __future__ import annotations

import sys
import time

from twisted.internet import reactor
from twisted.scripts.twistd import run

INTERVAL = 0.001
WORTH_TELLING = 0.002


def watch(path: str) -> None:
    """Begin when the reactor runs."""
    out = open(path, "w", buffering=1)  # noqa: SIM115
    clock, cpu = time.monotonic(), time.process_time()

    def tick() -> None:
        nonlocal clock, cpu
        then, busy = time.monotonic(), time.process_time()
        if (pause := then - clock - INTERVAL) > WORTH_TELLING:
            out.write(f"{pause * 1000:.1f} {min(pause, busy - cpu) * 1000:.1f}\n")
        clock, cpu = time.monotonic(), time.process_time()
        reactor.callLater(INTERVAL, tick)

    reactor.callWhenRunning(tick)


if __name__ == "__main__":
    watch(sys.argv[1])
    sys.argv[1:2] = []
    run()
