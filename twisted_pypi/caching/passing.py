"""Small ranges of large files that are not in the cache: passed through, they start no transfer.

Installers read the end of a wheel to see its metadata; ten wheels of 2 GB must cost kilobytes then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SMALL_RANGE = 1 << 20
LARGE_FILE = 8 << 20

_SINGLE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE)


def small_range(header: str) -> bool:
    """Whether a `Range` header asks for one piece of under 1 MB (RFC 9110, 14.1.2)."""
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if match is None or not match[2]:
        return False
    first, last = match[1], int(match[2])
    length = last - int(first) + 1 if first else last
    return 0 < length < SMALL_RANGE


def passes_through(header: str, size: int | None) -> bool:
    """Whether a range of a file of `size` bytes (None: unknown) is to be passed through."""
    return small_range(header) and (size is None or size > LARGE_FILE)


def arrives(header: str, whole: int, available: int) -> bool:
    """Whether a `Range` of a file of `whole` bytes, of which `available` have come, is there or nearly so.

    The end of a large file that comes slowly is not: who reads a wheel's end doesn't wait for its beginning.
    """
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if match is None or not any(match.groups()):
        return True
    return _expected(match, whole)[1] < available + SMALL_RANGE


def relayed_part(header: str, asked: str) -> tuple[int, int, int] | None:
    """(first, last, whole length) of a 206's `Content-Range`; None unless it is what `asked` (a `Range`) wanted."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    wanted = _SINGLE_RANGE.fullmatch(asked.strip())
    if match is None or wanted is None:
        return None
    first, last, whole = int(match[1]), int(match[2]), int(match[3])
    if not first <= last < whole:
        return None
    return (first, last, whole) if (first, last) == _expected(wanted, whole) else None


def _expected(wanted: re.Match[str], whole: int) -> tuple[int, int]:
    """The positions that a range means in a file of `whole` bytes."""
    if wanted[1]:
        return int(wanted[1]), min(int(wanted[2]), whole - 1) if wanted[2] else whole - 1
    return max(0, whole - int(wanted[2])), whole - 1


def length_of(headers: Mapping[str, str]) -> int | None:
    """`Content-Length`, None where it is missing or no number."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None
