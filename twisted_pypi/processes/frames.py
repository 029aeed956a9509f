"""What a worker and the owner of the cache tell each other, as bytes. Pure.

A frame is a letter, the length of a JSON text, that text, and bytes that are not text. Both ends are processes of one
daemon and of one version, so a frame that can't be read is a defect: `BadFrame`.
"""

from __future__ import annotations

import struct
from typing import Any

import orjson
from attrs import asdict, evolve, frozen

from twisted_pypi import events
from twisted_pypi.answers import CacheState, Seal
from twisted_pypi.web.memo import Lasting

LARGEST = 1 << 20
"""Bytes of one frame."""

_HEAD = struct.Struct(">cI")
_REPORTED = {kind.__name__: kind for kind in (events.Served, events.TurnedAway, events.Crowded, events.ReactorLagged)}


class BadFrame(ValueError):
    """Bytes that are no message."""


@frozen
class Rules:
    """Owner to worker: from now on these hold, and what was lent before doesn't. Networks are texts.

    Requests of clients that `allow` doesn't let in, or that come through a `trusted` proxy, are the owner's.
    """

    allow: tuple[str, ...]
    trusted: tuple[str, ...]
    per_client: int
    grace: float


@frozen
class Pass:
    """Either way, with a descriptor: a client's connection, and what it sent that is not answered yet."""

    number: int
    data: bytes = b""


@frozen
class Passed:
    """Either way: the connection with this number came to no harm on its way."""

    number: int


@frozen
class Report:
    """Worker to owner: so many connections are open there, and these events happened so many times each.

    `usage` are its resident bytes, and the seconds of CPU time that it took since it began.
    """

    connections: int
    counts: tuple[tuple[events.Event, int], ...] = ()
    usage: tuple[int, float] = (0, 0.0)


@frozen
class Leave:
    """Worker to owner: it ends, and wants no connection back. Owner to worker: none comes any more."""


Message = Rules | Pass | Passed | Report | Leave | Lasting


def encode(message: Message) -> bytes:
    """The frame of a message."""
    match message:
        case Rules():
            return _frame(b"R", asdict(message))
        case Pass(number, data):
            return _frame(b"P", number, data)
        case Passed(number):
            return _frame(b"K", number)
        case Leave():
            return _frame(b"E", None)
        case Report(connections, counts, usage):
            return _frame(b"C", [connections, [[*_plain(event), count] for event, count in counts], usage])
        case Lasting(head, second, pieces, seal, served):
            fields = [second, asdict(seal), _plain(served), len(head), *map(len, pieces)]
            return _frame(b"L", fields, b"".join((head, *pieces)))


def decode(frame: bytes) -> Message:
    """The message of a frame. Raises `BadFrame` for anything else."""
    try:
        kind, size = _HEAD.unpack_from(frame)
        fields: Any = orjson.loads(frame[_HEAD.size : _HEAD.size + size])
        return _message(kind, fields, frame[_HEAD.size + size :])
    except (struct.error, ValueError, TypeError, AttributeError, LookupError) as error:
        raise BadFrame(f"{type(error).__name__}: {error}") from error


def _message(kind: bytes, fields: Any, blob: bytes) -> Message:
    match kind:
        case b"R":
            allow, trusted = tuple(fields.pop("allow")), tuple(fields.pop("trusted"))
            return Rules(allow, trusted, **fields)
        case b"P":
            return Pass(fields, blob)
        case b"K":
            return Passed(fields)
        case b"E":
            return Leave()
        case b"C":
            connections, counts, (memory, seconds) = fields
            told = tuple((_event(name, values), count) for name, values, count in counts)
            return Report(connections, told, (memory, seconds))
        case b"L":
            return _lasting(fields, blob)
    raise ValueError(f"no message begins with {kind!r}")


def _lasting(fields: Any, blob: bytes) -> Lasting:
    second, seal, (name, values), *sizes = fields
    served = _event(name, values)
    if sum(sizes) != len(blob) or not isinstance(served, events.Served):
        raise ValueError("an answer with a part missing")
    parts, start = [], 0
    for size in sizes:
        parts.append(blob[start : start + size])
        start += size
    return Lasting(parts[0], second, tuple(parts[1:]), Seal(**seal), served)


def _frame(kind: bytes, fields: object, blob: bytes = b"") -> bytes:
    # Odd bytes of a request are told as Latin-1: JSON takes any text of those.
    text = orjson.dumps(fields)
    return _HEAD.pack(kind, len(text)) + text + blob


def _plain(event: events.Event) -> tuple[str, dict[str, Any]]:
    return type(event).__name__, asdict(event)


def _event(name: str, values: dict[str, Any]) -> events.Event:
    event = _REPORTED[name](**values)
    if isinstance(event, events.Served) and event.state is not None:
        return evolve(event, state=CacheState(event.state))
    return event
