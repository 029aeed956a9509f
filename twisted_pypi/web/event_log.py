"""The daemon's log: one line for each event, at a level that fits its kind."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import define, field, fields
from twisted.logger import Logger, LogLevel

from twisted_pypi import events
from twisted_pypi.http.escaping import escaped

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
    events.Evicted: (LogLevel.info, "dropped {entries} least recently used entries, {size} bytes"),
    events.BreakerChanged: (LogLevel.warn, "{origin} is taken for {verdict}"),
}


@define
class EventLog:
    """An observer of events that writes them to twisted's logger. Events without a line are ignored.

    Nothing is formatted for levels below `level`: there is a debug event for every request.
    """

    level: Any = LogLevel.info
    log: Logger = field(factory=partial(Logger, "pypicache"))

    def observe(self, event: events.Event) -> None:
        """Write one line. Text in it comes from outside: control characters are escaped."""
        level, line = _LINES.get(type(event), (None, ""))
        if isinstance(event, events.FetchFailed) and event.repeated:
            level = LogLevel.debug
        if level is not None and level >= self.level:
            self.log.emit(level, "{line}", line=line.format(**_fields(event), verdict=_verdict(event)))


def _fields(event: events.Event) -> dict[str, object]:
    values = {attribute.name: getattr(event, attribute.name) for attribute in fields(type(event))}
    return {name: escaped(value) if isinstance(value, str) else value for name, value in values.items()}


def _verdict(event: events.Event) -> str:
    match event:
        case events.PageRegressed():
            return "taken after waiting long enough" if event.accepted else "ours is kept"
        case events.TransferEnded():
            return "stored" if event.stored else f"not stored ({escaped(event.reason)})"
        case events.BreakerChanged():
            return "down" if event.open else "up again"
    return ""
