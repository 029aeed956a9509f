"""`pypicache status`: the figures of a running daemon, or of the directory of one that is stopped."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from twisted_pypi.commands import output
from twisted_pypi.commands.reaching import add_place, reach

DESCRIPTION = """\
Prints the figures of the daemon, or of the cache directory of a daemon that is not running. It finds them as the daemon
does, by the same variables and file.
"""
STATUS = "Exit status: 0 all right, 2 there is neither daemon nor cache."
TOP = 10
"""Rows of a list that are shown to people."""

_LEFT_OUT = ("hours",)  # a chart's
_UNITS = {"bytes": {"bytes", "size", "limit"}, "seconds": {"seconds"}}
"""Words of a figure's name that tell its unit."""


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser(
        "status", help="figures of the daemon or cache", description=DESCRIPTION, epilog=STATUS
    )
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document, as from /+status")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print; the exit status. Raises what `reach` and its answer raise."""
    place = reach(arguments)
    figures = place.status()
    if arguments.json:
        output.print_json(figures)
    else:
        output.print_lines([f"cache at {output.plain(place.shown)}", *lines(figures)])
    return 0


def lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """Figures as aligned lines, then each list as a table."""
    flat = list(_flat(figures))
    pairs = [(name, value) for name, value in flat if not isinstance(value, list)]
    yield from output.table([(_label(name), _shown(name, value)) for name, value in pairs]) if pairs else ()
    for name, rows in flat:
        if isinstance(rows, list) and rows and name not in _LEFT_OUT and isinstance(rows[0], Mapping):
            yield ""
            yield _label(name)
            yield from (f"  {line}" for line in _table(rows[:TOP]))


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in figures.items():
        name = f"{before}{output.plain(key)}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}_")
        else:
            yield name, value


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = [key for key, value in rows[0].items() if not isinstance(value, list | Mapping)]
    heads = [_label(output.plain(column)) for column in columns]
    numbers = [at for at, column in enumerate(columns) if all(_is_number(row.get(column)) for row in rows)]
    return output.table([heads, *([_shown(column, row.get(column)) for column in columns] for row in rows)], numbers)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) or value is None


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if _UNITS["bytes"].intersection(name.split("_")):
            return output.size(value)
        if _UNITS["seconds"].intersection(name.split("_")):
            return output.duration(value) if value >= 60 else f"{value:g}s"
    return output.plain(value)


def _label(name: str) -> str:
    """The name in words, without the unit, which the value has."""
    words = [word for word in name.split("_") if word not in _UNITS]
    return " ".join(words) if words else name
