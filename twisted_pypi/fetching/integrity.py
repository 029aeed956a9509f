"""Digests and lengths that a body must have."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, Protocol

from attrs import define, field

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import IntegrityFailed
from twisted_pypi.interfaces import Observer

HOLD_BACK = 16 << 10
"""How many of the last bytes nobody gets before the whole was checked."""

_BLAKE2B_256 = "blake2b-256"


@define(slots=False)
class WrongBody(UpstreamFailed):
    """It came, and is not what was announced or begun: nothing of it counts."""


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@define
class Hashing:
    """Digests computed on the way. Algorithms that nobody here knows are left out."""

    algorithms: Iterable[str]
    _states: dict[str, _Digest] = field(init=False)

    def __attrs_post_init__(self) -> None:
        made = {name: _new(name) for name in self.algorithms}
        self._states = {name: state for name, state in made.items() if state is not None}

    def update(self, data: bytes) -> None:
        """Further bytes."""
        for state in self._states.values():
            state.update(data)

    def hexdigest(self, algorithm: str) -> str:
        """The digest so far. Raises `ValueError` for an algorithm that isn't computed."""
        if algorithm not in self._states:
            raise ValueError(f"{algorithm} is not computed")
        return self._states[algorithm].hexdigest()


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
    return any(_new(name) is not None for name in algorithms)


def refuse(observer: Observer, url: str, algorithm: str, expected: str, got: str) -> NoReturn:
    """Report a body that isn't what was announced, and raise `WrongBody`."""
    observer(IntegrityFailed(url, algorithm, expected, got))
    raise WrongBody(f"not what was announced: {algorithm} is {got}, not {expected}", url)


def _new(name: str) -> _Digest | None:
    if name == _BLAKE2B_256:
        return hashlib.blake2b(digest_size=32)
    # The SHAKE functions have no digest of their own length.
    known = name in hashlib.algorithms_guaranteed and not name.startswith("shake_")
    return hashlib.new(name, usedforsecurity=False) if known else None
