"""Digests by the names that indexes use. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

from attrs import define, field


class Hash(Protocol):
    """What hashlib's constructors return, as far as we use it."""

    def update(self, data: bytes, /) -> None:
        """Take in further bytes."""

    def hexdigest(self) -> str:
        """The digest of all bytes so far, in lower-case hexadecimal digits."""


def new_hash(algorithm: str) -> Hash | None:
    """A hash object by hashlib's name, or "blake2b-256" (as PyPI names it); None for what this Python doesn't have."""
    if algorithm == "blake2b-256":
        return hashlib.blake2b(digest_size=32)
    if algorithm.startswith("shake"):  # of variable length: its digest says nothing without that length
        return None
    try:
        return hashlib.new(algorithm, usedforsecurity=False)
    except ValueError:
        return None


@define
class Digests:
    """Several digests over one stream: SHA-256 always, and those of `algorithms` that this Python has."""

    algorithms: Iterable[str] = ()
    _hashes: dict[str, Hash] = field(init=False)

    def __attrs_post_init__(self) -> None:
        made = {name: new_hash(name) for name in {"sha256", *self.algorithms}}
        self._hashes = {name: made_hash for name, made_hash in made.items() if made_hash}

    def update(self, data: bytes) -> None:
        """Go on with `data`."""
        for each in self._hashes.values():
            each.update(data)

    def hexdigest(self, algorithm: str) -> str:
        """Lower-case hex of everything so far. Raises `ValueError` for an algorithm not asked for or not known."""
        try:
            return self._hashes[algorithm].hexdigest()
        except KeyError:
            raise ValueError(f"no {algorithm} digest was asked for") from None

    def confirms(self, hashes: Mapping[str, str]) -> bool | None:
        """Whether everything so far is what `hashes` announce; None when none of them is known here."""
        known = {name: value for name, value in hashes.items() if name in self._hashes}
        return all(self.hexdigest(name) == value.lower() for name, value in known.items()) if known else None
