"""What is said of pages: how an answer came about, and why there is none."""

from __future__ import annotations

from typing import Any

from twisted_pypi.answers import CacheState, Provenance
from twisted_pypi.caching.refresh import Asked
from twisted_pypi.errors import Absent, Unavailable
from twisted_pypi.model import PageRoute


def question(route: PageRoute) -> str:
    """What a fetch and an absence are about: the page as these very sources have it, in this order."""
    return " ".join((route.key, *(f"{source.index} {source.key}" for source in route.sources)))


def told(route: PageRoute, index: str, state: CacheState, **more: Any) -> Provenance:
    """How an answer came about, with the index's name where clients are told that."""
    return Provenance(state, index=index if route.tells_index else "", **more)


def absence(route: PageRoute, how: Provenance) -> Absent:
    """Upstream lacks the page."""
    return Absent(f"{route.name or route.key}: upstream does not have it", provenance=how)


def unavailable(route: PageRoute, asked: Asked, how: Provenance) -> Unavailable:
    """Upstream can't be had."""
    what = route.name or route.key
    if asked.failure is None:
        return Unavailable(f"{what}: upstream did not answer in time", late=True, provenance=how)
    problem = f"{what}: upstream failed: {asked.failure.reason}"
    return Unavailable(problem, retry_after=asked.failure.retry_in, provenance=how)


def offline(route: PageRoute) -> Unavailable:
    """Nothing is asked, and nothing stored."""
    problem = f"{route.name or route.key}: offline, and not in the cache"
    return Unavailable(problem, retry_after=None, provenance=Provenance(CacheState.MISS, detail="offline"))
