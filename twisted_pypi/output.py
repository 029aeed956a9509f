"""The stdout to which twistd writes its log, when it may be a pipe that nobody reads: that must not stop the daemon.

twistd writes each line in the reactor's thread. Where stdout is neither a file nor closed, it gets one in whose place
a thread writes (`web.log_writer`).
"""

from __future__ import annotations

import atexit
import io
import os
import stat
import sys

from twisted_pypi.web.log_writer import ThreadWriter, Writer


class PatientOutput(io.TextIOBase):
    """A text stream to a writer. What it has no room for is dropped, and counted in the next line that it takes."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer
        self._dropped = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Take the text, or drop it. Never waits, never raises."""
        note = f"({self._dropped} pieces of the log were dropped: nobody read them)\n" if self._dropped else ""
        if self._writer.write(f"{note}{text}".encode("utf-8", "backslashreplace")):
            self._dropped = 0
        else:
            self._dropped += 1
        return len(text)


_writers: list[Writer] = []


def be_patient(descriptor: int = 1) -> None:
    """Have nobody wait for what is written to `sys.stdout` from now on, and goes to this descriptor.

    Not before a fork: it begins a thread.
    """
    try:
        kind = os.fstat(descriptor).st_mode
    except OSError:
        return
    if not stat.S_ISREG(kind):
        writer = ThreadWriter("log")
        writer.start(os.dup(descriptor))
        _writers.append(writer)
        sys.stdout = PatientOutput(writer)
        atexit.register(finish)


def finish() -> None:
    """Wait until what was written has gone out, for a second at most. Idempotent."""
    while _writers:
        _writers.pop().stop()
