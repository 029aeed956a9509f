"""Log lines on their way to a descriptor: written in a thread of their own, since a write may block.

Who doesn't read the pipe that is our stdout, or a disk that hangs, holds up no client: what is too far behind is
dropped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from select import PIPE_BUF
from threading import Thread
from typing import Protocol

from attrs import define, field

BEHIND = 8 << 20
"""Bytes that may wait to be written."""

PATIENCE = 1.0
"""Seconds that `stop` waits for what is left to be written."""


class Writer(Protocol):
    """Writes to one descriptor at a time. Whoever gives it a descriptor leaves the closing to it."""

    error: OSError | None
    """Why the last lines could not be written; None when they could, or nothing is known yet."""

    def start(self, descriptor: int) -> None:
        """Begin, or go on with another descriptor once everything so far is written."""

    def write(self, data: bytes) -> bool:
        """Take lines; whether there was room for them."""

    def stop(self) -> None:
        """Write what is left, as far as that takes no more than `PATIENCE`, and close. Idempotent."""


@define(eq=False)
class ThreadWriter:
    """`Writer` with a thread that doesn't keep the process from ending."""

    name: str = "access log"
    error: OSError | None = field(default=None, init=False)
    _queue: SimpleQueue[bytes | int | None] = field(factory=SimpleQueue, init=False)
    _thread: Thread | None = field(default=None, init=False)
    # Each is changed in one thread alone.
    _taken: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)

    def start(self, descriptor: int) -> None:
        """Begin, or go on with another descriptor."""
        self._queue.put(descriptor)
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()

    def write(self, data: bytes) -> bool:
        """Take lines, unless too many are waiting."""
        if self._taken - self._done + len(data) > BEHIND:
            return False
        self._taken += len(data)
        self._queue.put(data)
        return True

    def stop(self) -> None:
        """Write what is left and close."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(PATIENCE)
            self._thread = None

    def _run(self) -> None:
        descriptor, shared = -1, False
        while (item := self._queue.get()) is not None:
            if isinstance(item, bytes):
                self._write(descriptor, pieces(item) if shared else (item,))
                self._done += len(item)
            else:
                _close(descriptor)
                descriptor, shared = item, not stat.S_ISREG(os.fstat(item).st_mode)
        _close(descriptor)

    def _write(self, descriptor: int, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
        except OSError as error:
            self.error = error
        else:
            self.error = None


def pieces(data: bytes) -> Iterator[bytes]:
    """The lines in as few pieces as a pipe takes whole (write(2)), so that nobody else's get between their parts."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + PIPE_BUF) + 1 or data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def _close(descriptor: int) -> None:
    if descriptor >= 0:
        os.close(descriptor)
