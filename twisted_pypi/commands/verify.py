"""`pypicache verify`: the whole store checked, and repaired by dropping what is damaged."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from twisted_pypi.commands.progress import Progress, progress_on
from twisted_pypi.commands.reaching import add_directory, reach_directory
from twisted_pypi.storage.verify import DAMAGED, FOREIGN, MISSING, UNREADABLE, Finding, Tally, verify
from twisted_pypi.units import shown_size

DESCRIPTION = """\
Reads everything in the cache directory and compares it with what was recorded of it. What is damaged is dropped, so
that it is fetched again when somebody asks for it; files that aren't the cache's are named and left alone. The daemon
must not be running: it checks each file by itself, after an unclean stop and once a week.
"""
STATUS = "Exit status: 0 all right, 1 something was damaged or missing, 2 the check could not be made."
WORDS = {
    DAMAGED: "damaged and dropped",
    MISSING: "missing and forgotten",
    UNREADABLE: "unreadable and kept",
    FOREIGN: "foreign and left alone",
}


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("verify", help="check the whole cache", description=DESCRIPTION, epilog=STATUS)
    add_directory(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check; the exit status. Raises `ConfigError`, `OSError` and `sqlite3.Error` when that can't be."""
    directory = reach_directory(arguments)
    began = time.monotonic()
    with progress_on(sys.stderr, arguments.quiet) as progress:
        tally = verify(directory, Printer(progress), time.time)
    for line in summary(directory, tally, time.monotonic() - began):
        print(line)
    return 0 if tally.right else 1


class Printer:
    """Findings as lines on stdout, between steps of the progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def total(self, size: int) -> None:
        """So many bytes will be looked at."""
        self._progress.begin(size)

    def checked(self, size: int) -> None:
        """So many bytes more were looked at."""
        self._progress.step(size)

    def found(self, finding: Finding) -> None:
        """A line for it."""
        self._progress.write(f"{finding.what}: {finding.path}: {finding.reason}")


def summary(directory: str, tally: Tally, seconds: float) -> list[str]:
    """What came of it."""
    right = f"{tally.files} files and {tally.pages} pages are right, {shown_size(tally.size)}, in {seconds:.0f} s"
    lines = [f"{directory}: {right}"]
    lines += [f"{tally.findings[what]} {words}" for what, words in WORDS.items() if what in tally.findings]
    if tally.adopted:
        lines.append(f"{tally.adopted} were not in the catalogue and are now")
    if tally.unconfirmed:
        lines.append(f"{tally.unconfirmed} files are to be confirmed by their pages when they are asked for")
    if tally.partial:
        lines.append(f"{tally.partial} partial files of transfers that were broken off")
    return [*lines, "all right" if tally.right else "not all was right"]
