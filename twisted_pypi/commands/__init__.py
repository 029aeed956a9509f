"""The command `pypicache`: what an administrator does beside the daemon.

Exit status: 0 all right, 1 the command found something wrong, 2 it could not run.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence

from twisted_pypi import __version__
from twisted_pypi.commands import check_config, verify
from twisted_pypi.errors import ConfigError

COULD_NOT_RUN = 2
"""Also argparse's own status for a command line that it can't read."""


def parser() -> argparse.ArgumentParser:
    """The command line. Each command sets `run`: (parsed arguments) -> exit status."""
    made = argparse.ArgumentParser(
        "pypicache", description="Look after the cache of the daemon, which is `twistd pypicache`."
    )
    made.add_argument("--version", action="version", version=f"twisted-pypi {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    check_config.add_to(commands)
    verify.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What keeps it from running is one line on stderr."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        problem: object = "broken off"
    except (ConfigError, OSError, sqlite3.Error) as error:
        problem = error
    print(f"pypicache: {problem}", file=sys.stderr)
    return COULD_NOT_RUN
