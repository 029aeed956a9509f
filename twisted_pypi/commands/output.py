"""What commands print: aligned for people, JSON for programs; text from outside steers no terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from twisted_pypi.units import shown_size

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def plain(text: object) -> str:
    """Text on one line: what isn't printable is escaped."""
    said = str(text)
    return said if said.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in said)


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """The rows as lines, the first of them the heads; columns in `right` are aligned to the right."""
    ends = set(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_fill(cell, widths[at], at in ends) for at, cell in enumerate(row)).rstrip() for row in rows]


def _fill(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


def size(amount: object) -> str:
    """Bytes as people read them."""
    return shown_size(int(amount)) if isinstance(amount, int | float) else "-"


def duration(seconds: float) -> str:
    """A length of time as people read it: `3d`, `5m`, `40s`."""
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(max(0.0, seconds))}s"


def ago(moment: float, now: float | None = None) -> str:
    """How long ago that was (seconds since the epoch); "-" for 0, never."""
    return duration((time.time() if now is None else now) - moment) if moment > 0 else "-"


def print_json(document: Any) -> None:
    """A document on one line. ASCII: no name in it steers a terminal."""
    print(json.dumps(document, default=str))


def print_lines(lines: Iterable[str]) -> None:
    """Lines to stdout."""
    for line in lines:
        print(line)
    sys.stdout.flush()
