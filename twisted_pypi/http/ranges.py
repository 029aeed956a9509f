"""The `Range` header (RFC 9110, 14.2), against a known length. Pure.

Laws: `Part` always lies within the body (0 <= first <= last < length); whatever is not exactly one well-formed range
of bytes is `Whole`, which a server may always answer.
"""

from __future__ import annotations

import re

from attrs import frozen

_RANGE = re.compile(r"[ \t]*bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE)


@frozen
class Whole:
    """The header asks for nothing that we answer in part: send everything."""


@frozen
class Part:
    """One piece, with inclusive positions."""

    first: int
    last: int


@frozen
class Unsatisfiable:
    """Nothing of what is asked for exists: 416."""


def parse_range(header: str, length: int) -> Whole | Part | Unsatisfiable:
    """What a `Range` header ("" for none) means for a body of `length` bytes.

    Several ranges are answered with the whole, as 14.2 allows.
    """
    match = _RANGE.fullmatch(header)
    if match is None:
        return Whole()
    first, last = match.groups()
    if first:
        return _from_to(int(first), int(last) if last else length - 1, length, bounded=bool(last))
    return _suffix(int(last), length) if last else Whole()


def _from_to(first: int, last: int, length: int, *, bounded: bool) -> Whole | Part | Unsatisfiable:
    if bounded and last < first:
        return Whole()
    return Part(first, min(last, length - 1)) if first < length else Unsatisfiable()


def _suffix(count: int, length: int) -> Part | Unsatisfiable:
    return Part(max(0, length - count), length - 1) if count and length else Unsatisfiable()
