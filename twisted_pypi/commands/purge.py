"""`pypicache purge`: pages expire and files are deleted, by a running daemon or where one is stopped."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from twisted_pypi.commands import output
from twisted_pypi.commands.reaching import add_place, reach
from twisted_pypi.interfaces.purging import Purge

DESCRIPTION = """\
Has the pages of a project expire: the next client gets what the index says now, or the old page if it can't be asked.
NAME may be a pattern, as in 'acme-*' (quoted, for the shell), or list, the project list. It also forgets which index
owns the name.
"""
STATUS = "Exit status: 0 done, 1 nothing is stored of that, 2 it could not be done."


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("purge", help="drop what is stored", description=DESCRIPTION, epilog=STATUS)
    parser.add_argument("name", metavar="NAME", help="a project, a pattern of names, or list")
    parser.add_argument("--files", action="store_true", help="delete the files too")
    parser.add_argument("--index", metavar="INDEX", help="what is of this index alone")
    add_place(parser)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Purge; the exit status. Raises what `reach` and its answer raise."""
    done = reach(arguments).purge(Purge(arguments.name, arguments.files, arguments.index))
    if arguments.json:
        output.print_json(done)
    else:
        print(summary(done))
    return 0


def summary(done: Mapping[str, Any]) -> str:
    """What was done, in words."""
    counts = {key: done.get(key, 0) for key in ("names", "pages", "files")}
    said = f"{_plural(counts['names'], 'name')}: {_plural(counts['pages'], 'page')} expired"
    return f"{said}, {_plural(counts['files'], 'file')} deleted ({output.size(done.get('bytes', 0))})"


def _plural(count: object, word: str) -> str:
    return f"{output.plain(count)} {word}{'' if count == 1 else 's'}"
