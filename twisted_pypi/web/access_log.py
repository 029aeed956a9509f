"""The access log: one line for each answer, buffered, past twistd's observers.

    192.0.2.7 [1994-11-06T08:49:37Z] "GET /simple/six/ HTTP/1.1" cache.example 200 1834 HIT - 0.000 "pip/25.0"

that is: client, time, request, host, status, body bytes, cache state, seconds waited for upstream, seconds in all,
agent; and after that, of one who logged in (`--htpasswd`), the user. A log that can't be written never ends the
service: lines are dropped, and that is reported once.
"""

from __future__ import annotations

import os

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_pypi.events import Event, Served
from twisted_pypi.http.dates import iso_date
from twisted_pypi.http.escaping import escaped
from twisted_pypi.web.log_writer import ThreadWriter, Writer

FLUSH_SECONDS = 1.0
FLUSH_LINES = 500

_MAX_FIELD = 2000
_log = Logger()


def access_line(event: Served, now: float) -> str:
    """One answer as a line, with its line end; `now` is in seconds since the epoch."""
    upstream = "-" if event.upstream_seconds is None else f"{event.upstream_seconds:.3f}"
    state = event.state.value if event.state else "-"
    return (
        f"{_word(event.client)} [{iso_date(now)}] "
        f'"{_field(event.method)} {_field(event.target) or "-"} {_field(event.protocol)}" '
        f"{_word(event.host)} {event.status} {event.size} {state}{'' if event.complete else '/ABORTED'} "
        f'{upstream} {event.seconds:.3f} "{_field(event.agent)}"{_user(event.user)}\n'
    )


def _user(name: str) -> str:
    return f" {_word(name)}" if name else ""


def _field(text: str) -> str:
    return escaped(text[:_MAX_FIELD])


def _word(text: str) -> str:
    """A field without quotes: one word, "-" for none."""
    return _field(text).replace(" ", "\\x20") or "-"


@define(eq=False)
class AccessLog:
    """An observer of `Served` that writes to `path`, "-" for stdout.

    `start` opens (raises `OSError` when the file can't be), `stop` writes what is left and closes, `reopen` begins a
    new file after the old one was moved away.
    """

    path: str
    clock: IReactorTime
    writer: Writer = field(factory=ThreadWriter)
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
            self._complain(str(error))

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
        if not self.writer.write(_lines(taken).encode("ascii")):
            self._complain("it takes no more lines")
        elif self.writer.error is not None:
            self._complain(str(self.writer.error))
        else:
            self._complained = False

    def _complain(self, reason: str) -> None:
        if not self._complained:
            self._complained = True
            _log.error("access log {path}: {reason}; lines are dropped", path=self.path, reason=reason)


def _lines(taken: list[tuple[Served, float]]) -> str:
    """The lines of many answers. The same answer within the same second is the same line, which is made once."""
    made: dict[tuple[int, int], str] = {}
    lines = []
    for event, now in taken:
        key = (id(event), int(now))
        line = made.get(key)
        if line is None:
            line = made[key] = access_line(event, now)
        lines.append(line)
    return "".join(lines)
