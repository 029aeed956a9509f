"""`pypicache gc`: everything that may go, gone at once."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from typing import Any

from attrs import asdict

from twisted_pypi.commands import output
from twisted_pypi.commands.problems import CommandError
from twisted_pypi.commands.reaching import add_directory, given_by, in_use, reach_directory
from twisted_pypi.config import load_some
from twisted_pypi.storage.collecting import Collected, collect
from twisted_pypi.storage.limits import Limits

DESCRIPTION = """\
Drops at once what a daemon drops bit by bit: what nobody asked for in --inactive, what is over --cache-size, partial
files of transfers that nobody can go on with, files that nobody can name, what pages said of projects of which nothing
is stored any more. Then it gives the room that is free in the catalogue back to the disk, which no daemon does. The
daemon must not be running.
"""
STATUS = "Exit status: 0 done, 2 it could not be done."

_WORDS = (
    ("entries", "entries unused or over the limit, {size}"),
    ("missing", "entries whose file had gone"),
    ("partial", "partial files, {partial_size}"),
    ("damaged", "unrecorded files that are damaged or can't be read"),
    ("adopted", "unrecorded files and pages, which are recorded now"),
    ("links", "rows of what pages said"),
    ("notes", "notes that count no more"),
)


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("gc", help="drop everything that may go", description=DESCRIPTION, epilog=STATUS)
    add_directory(parser)
    parser.add_argument("--cache-size", metavar="SIZE", help="limit of the directory (default: the daemon's)")
    parser.add_argument("--inactive", metavar="DUR", help="drop what nobody asked for in this time (the daemon's)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Collect; the exit status. Raises `CommandError`, `ConfigError`, `OSError` and `sqlite3.Error`."""
    directory = reach_directory(arguments)
    if in_use(directory):
        raise CommandError(f"a daemon uses {directory} and does this by itself, bit by bit; to do it at once, stop it")
    limits = {"cache-size": arguments.cache_size, "inactive": arguments.inactive}
    given = given_by(arguments) | {name: text for name, text in limits.items() if text is not None}
    values = load_some(limits, given, os.environ)
    done = collect(directory, Limits(cache_size=values["cache-size"], inactive=values["inactive"]), time.time())
    if arguments.json:
        output.print_json(asdict(done))
    else:
        output.print_lines(summary(done))
    return 0


def summary(done: Collected) -> Iterator[str]:
    """What was done, in words."""
    sizes = {"size": output.size(done.size), "partial_size": output.size(done.partial_size)}
    lines = [f"{getattr(done, key)} {words.format(**sizes)}" for key, words in _WORDS if getattr(done, key)]
    yield from lines or ["nothing was to be dropped"]
    if done.shrunk:
        yield f"the catalogue is {output.size(done.shrunk)} smaller"
