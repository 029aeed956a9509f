"""The access log: one line for each answer, buffered, past twistd's observers (`access_lines` has what they hold).

A log that can't be written never ends the service: lines are dropped, and that is reported once.
"""

from __future__ import annotations

import os

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_pypi.events import Event, Served
from twisted_pypi.web.access_lines import LINE_FORMS, LineForm
from twisted_pypi.web.log_writer import ThreadWriter, Writer

FLUSH_SECONDS = 1.0
FLUSH_LINES = 500

_log = Logger()


@define(eq=False)
class AccessLog:
    """An observer of `Served` that writes to `path`, "-" for stdout.

    `start` opens (raises `OSError` when the file can't be), `stop` writes what is left and closes, `reopen` begins a
    new file after the old one was moved away.
    """

    path: str
    clock: IReactorTime
    writer: Writer = field(factory=ThreadWriter)
    form: LineForm = LINE_FORMS["text"]
    _taken: list[tuple[Served, float]] = field(factory=list, init=False)
    _open: bool = field(default=False, init=False)
    _flush: IDelayedCall | None = field(default=None, init=False)
    _complained: bool = field(default=False, init=False)

    def start(self) -> None:
        """Open the log."""
        if self.path == "-":
            # The descriptor, not `sys.stdout`, which twistd replaces.
            descriptor = os.dup(1)
        else:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.writer.start(descriptor)
        self._open = True

    def stop(self) -> None:
        """Write what is left and close. Idempotent."""
        self.flush()
        self._open = False
        self.writer.stop()

    def reopen(self) -> None:
        """Go on in a new file of the same name (after logrotate). Keeps the old one when that can't be opened."""
        if self.path == "-":
            return
        self.flush()
        try:
            self.start()
        except OSError as error:
            _log.error(
                "access log {path} can't be opened anew, it goes on where it was: {error}", path=self.path, error=error
            )

    def observe(self, event: Event) -> None:
        """Take one line for the next flush."""
        if not isinstance(event, Served):
            return
        self._taken.append((event, self.clock.seconds()))
        if len(self._taken) >= FLUSH_LINES:
            self.flush()
        elif self._flush is None:
            self._flush = self.clock.callLater(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hand over the lines taken so far."""
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None
        taken, self._taken = self._taken, []
        if not taken or not self._open:
            return
        if not self.writer.write(_lines(taken, self.form).encode("ascii")):
            self._complain("it takes no more lines")
        elif self.writer.error is not None:
            self._complain(str(self.writer.error))
        else:
            self._complained = False

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._complained = True
            _log.error("access log {path}: {reason}; lines are dropped", path=self.path, reason=reason)


def _lines(taken: list[tuple[Served, float]], form: LineForm) -> str:
    """The lines of many answers. What is the same event differs in its time only, and is made once."""
    made: dict[int, tuple[str, str]] = {}
    lines = []
    for event, now in taken:
        parts = made.get(id(event))
        if parts is None:
            parts = made[id(event)] = form.parts(event)
        lines.append(f"{parts[0]}{form.stamp(now)}{parts[1]}")
    return "".join(lines)
