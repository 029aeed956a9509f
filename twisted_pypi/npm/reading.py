"""Packuments piece by piece: those of old packages have 50 MB, of which nobody needs more than one version at a time.

Every pass goes over the body in small pieces, between which other threads run.
"""

from __future__ import annotations

import codecs
import json
import math
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import ijson  # type: ignore[import-untyped]
import orjson
from attrs import define, field

_PIECE = 64 << 10
_DEEPEST = 50
_LONGEST_VALUE = 64  # pieces: readmes are long
_MOST_VALUES = 400_000
"""Of one version, and of all other keys together (`time` has one for each version)."""

MAX_VERSIONS = 100_000
"""Of one package. Those that exist have some ten thousand."""

_STARTS, _ENDS = ("start_map", "start_array"), ("end_map", "end_array")
_VERSIONS = "versions"


def head_of(stream: BinaryIO) -> dict[str, Any]:
    """All of a packument but its versions.

    Going to the end for it tells too whether all of the body is JSON, and nothing of it more than memory has room for.
    Raises `ValueError` if it isn't, or isn't an object.
    """
    head = _Head()
    for events in _pushed(stream, ijson.basic_parse_coro):
        head.follow(events)
    if not isinstance(head.value, dict):
        raise ValueError("not a JSON object")
    return head.value


def versions_of(stream: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Each version of a packument that `head_of` went through, with its manifest."""
    for found in _pushed(stream, ijson.kvitems_coro, _VERSIONS):
        yield from found


@define
class _Head:
    """Builds what is not below "versions", and checks of all that it is not too large before it is built."""

    _builder: Any = field(factory=ijson.ObjectBuilder, init=False)
    _depth: int = field(default=0, init=False)
    _values: int = field(default=0, init=False)
    _built: int = field(default=0, init=False)
    _silent: int = field(default=0, init=False)
    _inside: bool = field(default=False, init=False)
    """Whether the events are of the versions."""

    @property
    def value(self) -> object:
        """What was built."""
        return getattr(self._builder, "value", None)

    def follow(self, events: list[tuple[str, Any]]) -> None:
        """The events of one more piece. Raises `ValueError` for what is too large, too deep or no packument."""
        self._silent = 0 if events else self._silent + 1
        if self._silent > _LONGEST_VALUE:
            raise ValueError("a single value is too long")
        depth, values, inside, build = self._depth, self._values, self._inside, self._builder.event
        for event, value in events:
            if event in _ENDS:
                depth -= 1
            if depth == 1 and event == "map_key":
                inside = value == _VERSIONS
            elif depth == 1 and inside and event not in ("start_map", "end_map"):
                raise ValueError('"versions" is no object')
            elif depth == 2 and inside:
                values = 0
            if inside and depth:
                values += 1
            else:
                self._built += 1
                build(event, value)
            if event in _STARTS:
                depth += 1
            if max(values, self._built) > _MOST_VALUES or depth > _DEEPEST:
                raise ValueError("nested too deeply" if depth > _DEEPEST else "a single entry is too large")
        self._depth, self._values, self._inside = depth, values, inside


def _pushed(stream: BinaryIO, make: Any, *arguments: str) -> Iterator[list[Any]]:
    """What ijson makes of each piece of the body. Raises `ValueError` for what isn't JSON, or is truncated."""
    found = ijson.sendable_list()
    parser = make(found, *arguments)  # with `use_float` it would take no number that C has no type for
    stream.seek(0)
    first = True
    try:
        while piece := stream.read(_PIECE):
            parser.send(piece.removeprefix(codecs.BOM_UTF8) if first else piece)
            first = False
            yield found
            del found[:]
        parser.close()
    except ijson.JSONError as error:
        raise ValueError(f"not JSON: {str(error).partition(chr(10))[0]}") from error
    except (ArithmeticError, SystemError) as error:  # of more digits than Python reads, or an exponent as long
        raise ValueError("a number is too large") from error
    yield found


def json_object(data: bytes) -> dict[str, Any]:
    """The object in a small JSON document. Raises `ValueError`."""
    try:
        value = orjson.loads(data.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def dump(value: object) -> bytes:
    """As JSON. Raises `ValueError` for what can't be JSON again (too deep, no Unicode)."""
    try:
        return orjson.dumps(value, default=_number)
    except (orjson.JSONEncodeError, RecursionError) as error:
        # Integers beyond 64 bits are JSON (RFC 8259, 6), and no reason to refuse a package.
        try:
            return json.dumps(value, default=_number, separators=(",", ":")).encode()
        except (TypeError, RecursionError):
            raise ValueError(f"can't be JSON again: {error}") from error


def _number(value: object) -> float:
    """What ijson has for a number with fraction or exponent, as JavaScript would have it but for infinity."""
    if not isinstance(value, Decimal):
        raise TypeError
    number = float(value)
    return number if math.isfinite(number) else math.copysign(sys.float_info.max, number)
