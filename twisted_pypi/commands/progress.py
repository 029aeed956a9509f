"""How far a long command is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from attrs import define, field
from tqdm import tqdm  # type: ignore[import-untyped]

from twisted_pypi.units import shown_size

INTERVAL = 10.0
"""Seconds between two lines where there is no terminal."""


class Progress(Protocol):
    """Counts bytes up to a total that may turn out too small."""

    def begin(self, total: int) -> None:
        """There are so many bytes."""

    def step(self, size: int) -> None:
        """So many more are done."""

    def write(self, line: str) -> None:
        """A line of the command's own, to stdout."""


class Silent:
    """No progress, lines alone."""

    def begin(self, total: int) -> None:
        """Nothing."""

    def step(self, size: int) -> None:
        """Nothing."""

    def write(self, line: str) -> None:
        """Print."""
        print(line)


@define
class Lines(Silent):
    """A line on `stream` every `INTERVAL` seconds of `clock`."""

    stream: TextIO
    clock: Callable[[], float] = time.monotonic
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)

    def begin(self, total: int) -> None:
        """There are so many bytes."""
        self._total, self._due = total, self.clock() + INTERVAL

    def step(self, size: int) -> None:
        """So many more are done; perhaps a line."""
        self._done += size
        if self.clock() >= self._due:
            self._due = self.clock() + INTERVAL
            print(f"checked {shown_size(self._done)} of {shown_size(self._total)}", file=self.stream, flush=True)


@define
class Bar:
    """A bar on a terminal."""

    bar: Any

    def begin(self, total: int) -> None:
        """There are so many bytes."""
        self.bar.reset(total)

    def step(self, size: int) -> None:
        """So many more are done."""
        self.bar.update(size)

    def write(self, line: str) -> None:
        """A line above the bar."""
        self.bar.write(line, file=sys.stdout)


@contextmanager
def progress_on(stream: TextIO, quiet: bool = False) -> Iterator[Progress]:
    """What suits the stream; a bar is gone at the end."""
    if quiet or not stream.isatty():
        yield Silent() if quiet else Lines(stream)
        return
    with tqdm(file=stream, unit="B", unit_scale=True, unit_divisor=1024, leave=False, desc="verify") as bar:
        yield Bar(bar)
