"""What this process takes of the machine."""

from __future__ import annotations

import resource
import sys


def used() -> tuple[int, float]:
    """Resident bytes, and seconds of CPU time since the process began."""
    took = resource.getrusage(resource.RUSAGE_SELF)
    return _resident() or _peak(took.ru_maxrss), took.ru_utime + took.ru_stime


def _resident() -> int:
    """Bytes; 0 where the system doesn't tell (proc(5))."""
    try:
        with open("/proc/self/statm", "rb") as told:
            return int(told.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _peak(told: int) -> int:
    """The most that it ever was: in KiB, on macOS in bytes."""
    return told if sys.platform == "darwin" else told << 10
