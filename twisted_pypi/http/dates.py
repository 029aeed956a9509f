"""Times as HTTP and logs write them. Pure: the caller brings the time."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache


def http_date(now: float) -> str:
    """An IMF-fixdate (RFC 9110, 5.6.7) of seconds since the epoch: `Sun, 06 Nov 1994 08:49:37 GMT`."""
    return _http_date(int(now))


def iso_date(now: float) -> str:
    """A UTC time to the second (RFC 3339) of seconds since the epoch: `1994-11-06T08:49:37Z`."""
    return _iso_date(int(now))


def iso_milliseconds(now: float) -> str:
    """A UTC time to the millisecond (RFC 3339) of seconds since the epoch: `1994-11-06T08:49:37.042Z`."""
    second = int(now)
    return f"{_iso_date(second)[:-1]}.{int((now - second) * 1000):03d}Z"


# A busy second asks for the same text a thousand times.
@lru_cache(maxsize=4)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)


@lru_cache(maxsize=4)
def _iso_date(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
