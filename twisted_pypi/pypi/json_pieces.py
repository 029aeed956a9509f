"""A large JSON object read in pieces: orjson holds the interpreter lock while it reads, and takes three times the room.

Only the cuts are looked for here; orjson reads everything. Where a cut turns out to be none, the rest is read at once.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from typing import Any

import orjson

PIECE = 256 << 10
"""Bytes after which the next cut is taken."""

MAX_VALUES = 2_000_000
"""In one document: a value can take two bytes there, and 72 in memory."""

_NAME = rb'"[A-Za-z_-]+"'


def load_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises `ValueError` if it is none, or holds more than `MAX_VALUES`."""
    _check_values(data)
    return _object(data.removeprefix(codecs.BOM_UTF8))


def load_pieces(data: bytes, key: str, take: Callable[[list[Any]], None], size: int = PIECE) -> dict[str, Any]:
    """As `load_object`, but for the first items of the array under the top-level `key`: `take` is given them in order,
    `size` bytes at a time. The object has the others.

    It may have been given some before anything is found wrong with the rest.
    """
    _check_values(data)
    data = data.removeprefix(codecs.BOM_UTF8)
    head = _up_to_items(data, key)
    position = len(head)
    if head:
        between = re.compile(rb"\}\s*(,)\s*%b\s*:" % _first_name(data, position))
        while cut := between.search(data, position + size):
            try:
                items = orjson.loads(b"[%b]" % data[position : cut.start(1)])
            except orjson.JSONDecodeError:
                break  # it is not between two items, or this isn't JSON
            take(items)
            position = cut.end(1)
    return _object(head + data[position:])


def _up_to_items(data: bytes, key: str) -> bytes:
    """The beginning of the object up to the first item, b"" where it can't be told or is no object."""
    name = b'"%b"' % key.encode()
    if data.count(name) != 1:
        return b""
    begin = re.compile(rb"%b\s*:\s*\[\s*(?=\{\s*%b\s*:)" % (re.escape(name), _NAME)).search(data)
    head = data[: begin.end()] if begin else b""
    try:
        # So nothing else is open here than the object and this array.
        return head if isinstance(orjson.loads(head + b"]}"), dict) else b""
    except orjson.JSONDecodeError:
        return b""


def _first_name(data: bytes, position: int) -> bytes:
    """What an item begins with, as a pattern. Within a string it can't be: its quote would end that."""
    found = re.compile(rb"\{\s*(%b)" % _NAME).match(data, position)
    assert found is not None
    return rb"\{\s*%b" % re.escape(found[1])


def _check_values(data: bytes) -> None:
    values = 0
    for first in range(0, len(data), PIECE):  # other threads have their turns in between
        values += sum(map(data[first : first + PIECE].count, (b",", b"{", b"[")))
    if values > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
