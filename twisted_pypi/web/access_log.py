"""The access log: one line for each answer, buffered, past twistd's observers.

    192.0.2.7 [1994-11-06T08:49:37Z] "GET /simple/six/ HTTP/1.1" cache.example 200 1834 HIT - 0.000 "pip/25.0"

that is: client, time, request, host, status, body bytes, cache state, seconds waited for upstream, seconds in all,
agent. A log that can't be written never ends the service: lines are dropped, and that is reported once.
"""

from __future__ import annotations

import os

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twisted_pypi.events import Event, Served
from twisted_pypi.http.dates import iso_date
from twisted_pypi.http.escaping import escaped

FLUSH_SECONDS = 1.0
FLUSH_CHARACTERS = 64 << 10

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
        f'{upstream} {event.seconds:.3f} "{_field(event.agent)}"\n'
    )


def _field(text: str) -> str:
    return escaped(text[:_MAX_FIELD])


def _word(text: str) -> str:
    """A field without quotes: one word, "-" for none."""
    return _field(text).replace(" ", "\\x20") or "-"


@define
class AccessLog:
    """An observer of `Served` that writes to `path`, "-" for stdout.

    `start` opens (raises `OSError` when the file can't be), `stop` writes what is left and closes, `reopen` begins a
    new file after the old one was moved away.
    """

    path: str
    clock: IReactorTime
    _lines: list[str] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)
    _descriptor: int = field(default=-1, init=False)
    _flush: IDelayedCall | None = field(default=None, init=False)
    _complained: bool = field(default=False, init=False)

    def start(self) -> None:
        """Open the log."""
        if self.path == "-":
            # The descriptor, not `sys.stdout`, which twistd replaces.
            self._descriptor = os.dup(1)
        else:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def stop(self) -> None:
        """Write what is left and close. Idempotent."""
        self.flush()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def reopen(self) -> None:
        """Go on in a new file of the same name (after logrotate). Keeps the old one when that can't be opened."""
        if self.path == "-":
            return
        self.flush()
        old = self._descriptor
        try:
            self.start()
        except OSError as error:
            self._complain(error)
            return
        if old >= 0:
            os.close(old)

    def observe(self, event: Event) -> None:
        """Take one line for the next flush."""
        if not isinstance(event, Served):
            return
        line = access_line(event, self.clock.seconds())
        self._lines.append(line)
        self._size += len(line)
        if self._size >= FLUSH_CHARACTERS:
            self.flush()
        elif self._flush is None:
            self._flush = self.clock.callLater(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the lines taken so far."""
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None
        data = "".join(self._lines).encode("ascii")
        self._lines, self._size = [], 0
        try:
            while data and self._descriptor >= 0:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self._complain(error)
        else:
            self._complained = False

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _log.error("access log {path}: {reason}; lines are dropped", path=self.path, reason=str(error))
