"""Waiting for conditions, with a deadline that only a failure reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 60.0
"""Seconds: far more than anything here takes, so that a slow machine never fails a test."""


def wait_for(what: str, condition: Callable[[], T], deadline: float = DEADLINE) -> T:
    """The first true result of `condition`, asked every few milliseconds. Raises `AssertionError` at the deadline."""
    end = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {what}")
        time.sleep(0.02)
    return result
