"""The daemon's log: one line for each event, at a level that fits its kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field, fields
from twisted.logger import Logger, LogLevel

from twisted_pypi import events
from twisted_pypi.http.escaping import escaped

REPEAT = 60.0
"""Seconds for which a client's further refused requests are not told again."""

_MAX_CLIENTS = 1000

_LINES = {
    events.Decided: (LogLevel.debug, "{key}: {state} ({reason})"),
    events.FetchDone: (LogLevel.debug, "upstream answered {status} in {seconds:.3f} s: {url}"),
    events.FetchFailed: (LogLevel.warn, "upstream failed, {reason}: {url}"),
    events.PageRejected: (LogLevel.warn, "upstream's page is not usable, {reason}: {url}"),
    events.PageRegressed: (LogLevel.warn, "upstream's page has serial {theirs}, ours {ours}, {verdict}: {url}"),
    events.OwnerAbsent: (LogLevel.warn, "{name} is gone from {index}, which owns the name; no other index is asked"),
    events.IntegrityFailed: (
        LogLevel.error,
        "file is not what was announced, {algorithm} should be {expected}, is {got}: {url}",
    ),
    events.TransferStarted: (LogLevel.debug, "transfer begins: {url}"),
    events.TransferBroke: (LogLevel.info, "transfer broke at byte {position}, {reason}; it goes on there: {url}"),
    events.TransferEnded: (LogLevel.info, "transfer of {size} bytes ended, {verdict}: {url}"),
    events.StoreTrouble: (LogLevel.warn, "store: {what}: {reason}"),
    events.DirectoryTrouble: (LogLevel.warn, "directory {index}: {path}: {reason}"),
    events.DirectoryTaken: (LogLevel.info, "directory {index}: {files} files of {projects} projects"),
    events.Evicted: (LogLevel.info, "dropped {entries} least recently used entries, {size} bytes"),
    events.CachePurged: (
        LogLevel.info,
        "{client} purged {what}: {pages} pages expired, {files} files of {size} bytes deleted{verdict}",
    ),
    events.TurnedAway: (LogLevel.debug, "a connection of {client} was turned away: {reason}"),
    events.Crowded: (
        LogLevel.warn,
        "connections: {counts}; open now {seated} of {limit}; the last client was {client}",
    ),
    events.BreakerChanged: (LogLevel.warn, "{origin} is taken for {verdict}"),
    events.RequestRefused: (LogLevel.info, "refused a request of {client} with {status}: {reason}"),
}


@define
class EventLog:
    """An observer of events that writes them to twisted's logger. Events without a line are ignored.

    Nothing is formatted for levels below `level`: there is a debug event for every request. Clients that send garbage
    are named once in `REPEAT` seconds each (of the clock `seconds`), lest they fill the log.
    """

    level: Any = LogLevel.info
    log: Logger = field(factory=partial(Logger, "pypicache"))
    seconds: Callable[[], float] = time.monotonic
    _named: dict[str, float] = field(factory=dict, init=False)

    def observe(self, event: events.Event) -> None:
        """Write one line. Text in it comes from outside: control characters are escaped."""
        level, line = _LINES.get(type(event), (None, ""))
        if isinstance(event, events.FetchFailed) and event.repeated:
            level = LogLevel.debug
        if level is None or level < self.level:
            return
        if not isinstance(event, events.RequestRefused) or self._names(event.client):
            self.log.emit(level, "{line}", line=line.format(**_fields(event), verdict=_verdict(event)))

    def _names(self, client: str) -> bool:
        """Whether this client is to be named now."""
        now = self.seconds()
        if len(self._named) >= _MAX_CLIENTS:
            self._named = {known: since for known, since in self._named.items() if now - since < REPEAT}
        if now - self._named.get(client, -REPEAT) < REPEAT or len(self._named) >= _MAX_CLIENTS:
            return False
        self._named[client] = now
        return True


def _fields(event: events.Event) -> dict[str, object]:
    values = {attribute.name: getattr(event, attribute.name) for attribute in fields(type(event))}
    return {name: escaped(value) if isinstance(value, str) else value for name, value in values.items()}


def _verdict(event: events.Event) -> str:
    match event:
        case events.PageRegressed():
            return "taken after waiting long enough" if event.accepted else "ours is kept"
        case events.TransferEnded():
            return "stored" if event.stored else f"not stored ({escaped(event.reason)})"
        case events.CachePurged():
            return "" if event.complete else "; then it was broken off"
        case events.BreakerChanged():
            return "down" if event.open else "up again"
    return ""
