"""`pypicache ls`: what is stored, by a running daemon or in the directory of one that is stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted_pypi.commands import output
from twisted_pypi.commands.problems import NothingFits
from twisted_pypi.commands.reaching import add_place, reach
from twisted_pypi.interfaces.listing import ORDERS, Wanted

DESCRIPTION = """\
Lists what is stored, a line for each project, or with --long for each page and file. PATTERN is a pattern for the whole
name if it holds *, as in 'acme-*', else a part of it.
"""
STATUS = "Exit status: 0 something is listed, 1 nothing fits, 2 it could not be looked for."
ALL = 1 << 40

_Columns = Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]]


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("ls", help="list what is stored", description=DESCRIPTION, epilog=STATUS)
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="", help="only what fits this")
    parser.add_argument("-l", "--long", action="store_true", help="each page and file by itself")
    parser.add_argument("--kind", choices=("page", "file"), default="", help="pages or files alone")
    parser.add_argument("--index", metavar="NAME", help="what is of this index alone")
    orders = [*ORDERS, *(f"-{order}" for order in ORDERS)]
    parser.add_argument(
        "--sort",
        metavar="KEY",
        choices=orders,
        default="name",
        help="name, size, used or stored: the largest, last used and last stored first; --sort=-KEY the other way",
    )
    parser.add_argument("--limit", metavar="N", type=_count, default=ALL, help="at most so many lines")
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="a JSON document on each line, as from /cache/")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print; the exit status. Raises what `reach` and its answer raise."""
    place = reach(arguments)
    wanted = Wanted(arguments.pattern, arguments.kind, arguments.index, arguments.sort, arguments.limit)
    any_rows = False
    for document in place.listed(wanted, by_name=not arguments.long):
        rows = document.get("entries" if arguments.long else "names") or []
        if arguments.json:
            for row in rows:
                output.print_json(row)
        elif rows:
            columns = LONG if arguments.long else SHORT
            output.print_lines(table(rows, columns, heads=not any_rows))
        any_rows = any_rows or bool(rows)
        total = document["total"]
    if not any_rows:
        raise NothingFits("nothing is stored" + (f" that fits {arguments.pattern}" if arguments.pattern else ""))
    if not arguments.json:
        print(summary(total), file=sys.stderr)
    return 0


def table(rows: Iterable[Mapping[str, Any]], columns: _Columns, heads: bool) -> list[str]:
    """Aligned lines, numbers to the right; text comes last."""
    cells = [[shown(row) for _, shown in columns] for row in rows]
    # Always with the heads, so that one batch is about as wide as the next.
    lines = output.table([[head for head, _ in columns], *cells], range(len(columns) - 1))
    return lines if heads else lines[1:]


def summary(total: Mapping[str, Any]) -> str:
    """All that fits."""
    counts = f"{total['names']} names, {total['pages']} pages, {total['files']} files"
    return f"{counts}, {output.size(total['size'])}"


def _fresh(row: Mapping[str, Any]) -> str:
    if row["kind"] != "page":
        return "verified" if row.get("verified") else "unverified"
    left = row.get("fresh_for")
    if left is None:
        return f"confirmed {output.ago(row.get('confirmed', 0))} ago"
    return f"fresh for {output.duration(left)}" if left > 0 else f"stale since {output.duration(-left)}"


def _ago(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: output.ago(row[key], time.time())


def _last(row: Mapping[str, Any]) -> str:
    return output.plain(row["url"] if row["kind"] == "page" else row["url"].rpartition("/")[2])


SHORT: _Columns = (
    ("SIZE", lambda row: output.size(row["size"])),
    ("PAGES", lambda row: str(row["pages"])),
    ("FILES", lambda row: str(row["files"])),
    ("STORED", _ago("stored")),
    ("USED", _ago("used")),
    ("NAME", lambda row: output.plain(row["name"])),
)
LONG: _Columns = (
    ("SIZE", lambda row: output.size(row["size"])),
    ("STORED", _ago("stored")),
    ("USED", _ago("used")),
    ("STATE", _fresh),
    ("KIND", lambda row: output.plain(row["kind"])),
    ("INDEX", lambda row: output.plain(row["index"])),
    ("NAME", _last),
)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
