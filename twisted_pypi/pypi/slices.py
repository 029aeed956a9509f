"""A project list in JSON, cut into slices that are JSON themselves: read as fast as if it were in memory as a whole.

A list is cut between two of its entries, as far as that can be told without parsing: at `},{`. Such a cut is right if
what comes before it parses, for then it ends where an entry ends; so each slice vouches for the next. Only what
lists usually are is read so (`meta` first, then the entries, which hold nothing nested); any other is `Uneven`, and has
to be read by a parser that follows every token.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import orjson

from twisted_pypi.pypi.charsets import chunks

_HEAD = re.compile(rb'"projects"\s*:\s*\[')
_LONGEST_HEAD = 4096
_END = re.compile(rb"\]\s*\}\s*\Z")
_CUTS = (b"},{", b"}, {", b"},\n{")
_SLICE = 32 << 10
_LONGEST = 256 << 10  # of what has no cut early enough
_MOST_VALUES = 10_000  # of a slice: the usual has 2,000


class Uneven(Exception):
    """This list can't be read in slices."""


def meta_of(stream: BinaryIO) -> object:
    """What the list says at "meta" (None for nothing), once all of it was seen to be even. Raises `Uneven`."""
    meta = next(_head_and_slices(stream)).get("meta")
    for _ in slices(stream):
        pass
    return meta


def slices(stream: BinaryIO) -> Iterator[list[Any]]:
    """The entries of the list, some at a time. Raises `Uneven`."""
    parts = _head_and_slices(stream)
    next(parts)
    yield from parts


def _head_and_slices(stream: BinaryIO) -> Iterator[Any]:
    """The object without its projects, then these."""
    pieces = chunks(stream)
    first = next(pieces, b"").removeprefix(codecs.BOM_UTF8)
    begin = _HEAD.search(first[:_LONGEST_HEAD])
    if begin is None:
        raise Uneven
    head = _parsed(first[: begin.end()] + b"]}", nested=3)
    if not isinstance(head, dict) or head.get("projects") != []:
        raise Uneven
    yield head
    yield from _slices(chain([first[begin.end() :]], pieces))


def _slices(pieces: Iterable[bytes]) -> Iterator[list[Any]]:
    rest = cut = b""
    for piece in pieces:
        rest += piece
        cut = cut or next((found for found in _CUTS if found in rest), b"")
        while cut and len(rest) > _SLICE and (end := rest.rfind(cut, 0, _SLICE) + 1):
            yield _entries(rest[:end])
            rest = rest[end + len(cut) - 2 :]
        if len(rest) > _LONGEST:
            raise Uneven
    end_of_list = _END.search(rest)
    if end_of_list is None:
        raise Uneven
    yield _entries(rest[: end_of_list.start()])


def _entries(data: bytes) -> list[Any]:
    entries: list[Any] = _parsed(b"[" + data + b"]", nested=1)
    if data.count(b"{") != len(entries):  # something is nested, or hides in a name
        raise Uneven
    return entries


def _parsed(data: bytes, nested: int) -> Any:
    """Raises `Uneven` for what isn't JSON, or has more than so many lists or so many values."""
    if data.count(b"[") > nested or data.count(b",") > _MOST_VALUES:
        raise Uneven
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Uneven from error
