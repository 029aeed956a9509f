"""The command `pypicache`: what an administrator does beside the daemon.

Exit status: 0 all right, 1 the command found something wrong, 2 it could not run.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Sequence

from twisted_pypi import __version__
from twisted_pypi.commands import check_config, gc, ls, purge, status, verify
from twisted_pypi.commands.output import plain
from twisted_pypi.commands.problems import CommandError, NothingFits
from twisted_pypi.errors import ConfigError, Unavailable

FOUND_WRONG = 1
COULD_NOT_RUN = 2
"""Also argparse's own status for a command line that it can't read."""


def parser() -> argparse.ArgumentParser:
    """The command line. Each command sets `run`: (parsed arguments) -> exit status."""
    made = argparse.ArgumentParser(
        "pypicache", description="Look after the cache of the daemon, which is `twistd pypicache`."
    )
    made.add_argument("--version", action="version", version=f"twisted-pypi {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    for command in (status, ls, purge, verify, gc, check_config):
        command.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. What keeps it from running is one line on stderr."""
    parsed = parser().parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads this has enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except NothingFits as nothing:
        return _failed(nothing, FOUND_WRONG)
    except KeyboardInterrupt:
        return _failed("broken off", COULD_NOT_RUN)
    except (CommandError, ConfigError, Unavailable, OSError, sqlite3.Error) as error:
        return _failed(error, COULD_NOT_RUN)


def _failed(problem: object, status: int) -> int:
    print(f"pypicache: {plain(problem)}", file=sys.stderr)
    return status
