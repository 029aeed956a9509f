"""Digests and lengths that a body must have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from attrs import define

from twisted_pypi.digests import new_hash
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import IntegrityFailed
from twisted_pypi.interfaces import Observer

HOLD_BACK = 16 << 10
"""How many of the last bytes nobody gets before the whole was checked."""


@define(slots=False)
class WrongBody(UpstreamFailed):
    """It came, and is not what was announced or begun: nothing of it counts."""


def first_mismatch(
    expected: Mapping[str, str], hexdigest: Callable[[str], str]
) -> tuple[tuple[str, str, str] | None, bool]:
    """(algorithm, expected, got) of the first digest that differs, and whether any was compared at all.

    `hexdigest` raises `ValueError` for algorithms that weren't computed; those say nothing.
    """
    compared = False
    for algorithm, wanted in expected.items():
        try:
            got = hexdigest(algorithm)
        except ValueError:
            continue
        compared = True
        if got != wanted.lower():
            return (algorithm, wanted, got), True
    return None, compared


def verifiable(algorithms: Iterable[str]) -> bool:
    """Whether a digest of one of these kinds can be computed here."""
    return any(new_hash(name) is not None for name in algorithms)


def refuse(observer: Observer, url: str, algorithm: str, expected: str, got: str) -> NoReturn:
    """Report a body that isn't what was announced, and raise `WrongBody`."""
    observer(IntegrityFailed(url, algorithm, expected, got))
    raise WrongBody(f"not what was announced: {algorithm} is {got}, not {expected}", url)
