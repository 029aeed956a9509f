"""A disk that hangs, for daemons that find this as a module in their path."""

from __future__ import annotations

HANGING = """
import os, time
place, real = os.path.dirname(__file__), os.fsync
def hanging(descriptor):
    while os.path.exists(place + "/stall"):
        time.sleep(0.02)
    return real(descriptor)
os.fsync = hanging
"""
"""While there is a file "stall" beside it, fsync(2) comes to no end."""
