"""What ends a command before it is through, each as one line on stderr."""

from __future__ import annotations


class CommandError(Exception):
    """The command could not run: status 2."""


class NothingFits(Exception):
    """There is nothing of what was named: status 1."""
