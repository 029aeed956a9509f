"""Hits and misses by hour, as the bars of an inline SVG. Pure: where each bar is; the template draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

WIDTH, HEIGHT = 480, 120
_GAP = 4


@frozen
class Bar:
    """One hour's: misses stand on hits. Positions are from the top left, in units of the drawing."""

    x: float
    width: float
    hits_y: float
    hits_height: float
    misses_y: float
    misses_height: float
    label: str
    hits: int
    misses: int


@frozen
class Chart:
    """The drawing; `top` is how many requests its full height stands for, 0: there were none."""

    bars: tuple[Bar, ...]
    top: int
    hits: int
    misses: int


def chart(hours: Sequence[Mapping[str, Any]]) -> Chart:
    """Of the document's `hours`, the oldest first."""
    top = max((each["hits"] + each["misses"] for each in hours), default=0)
    step = WIDTH / max(1, len(hours))

    def bar(number: int, each: Mapping[str, Any]) -> Bar:
        hits, misses = (HEIGHT * each[name] / top if top else 0.0 for name in ("hits", "misses"))
        return Bar(
            round(number * step + _GAP / 2, 2),
            round(step - _GAP, 2),
            round(HEIGHT - hits, 2),
            round(hits, 2),
            round(HEIGHT - hits - misses, 2),
            round(misses, 2),
            each["hour"][11:16],
            each["hits"],
            each["misses"],
        )

    bars = tuple(bar(number, each) for number, each in enumerate(hours))
    return Chart(bars, top, sum(each.hits for each in bars), sum(each.misses for each in bars))
