"""The daemon's log: one line for each event, at a level that fits its kind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from attrs import define, field, fields
from twisted.logger import Logger, LogLevel

from twisted_pypi import events
from twisted_pypi.http.escaping import escaped
from twisted_pypi.web.log_limits import LogLimits, with_rest

_MOST, _SAME, _ENTRIES = 60, 20, 10  # lines a minute
_ERRNO = re.compile(r"\[Errno \d+\]")

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
    events.TransferResumed: (LogLevel.debug, "transfer goes on at byte {position}: {url}"),
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

    Nothing is formatted for levels below `level`: there is a debug event for every request. What can be brought about
    at will is told so often a minute (of the clock `seconds`), and then counted: see `_limit`.
    """

    level: Any = LogLevel.info
    log: Logger = field(factory=partial(Logger, "pypicache"))
    seconds: Callable[[], float] = time.monotonic
    _limits: dict[str, LogLimits] = field(factory=dict, init=False)

    def observe(self, event: events.Event) -> None:
        """Write one line. Text in it comes from outside: control characters are escaped."""
        level, line = _LINES.get(type(event), (None, ""))
        if isinstance(event, events.FetchFailed) and event.repeated:
            level = LogLevel.debug
        if level is None or level < self.level:
            return
        rest: int | None = 0
        if level > LogLevel.debug and (limited := _limit(event)) is not None:
            kind = type(event).__name__
            rest = self._limits.setdefault(kind, LogLimits(self.seconds)).admit(*limited)
        if rest is not None:
            told = line.format(**_fields(event), verdict=_verdict(event))
            self.log.emit(level, "{line}", line=with_rest(told, rest))


def _limit(event: events.Event) -> tuple[Hashable, int] | None:
    """What of its kind an event is counted with, and how many lines of that there may be in a minute; None: any number.

    A reason that was not told yet is told, however often others are.
    """
    match event:
        case events.RequestRefused():
            return event.client, 1
        case events.StoreTrouble():
            # What fails for the whole store fails with each request, what is wrong with one entry doesn't.
            number = _ERRNO.search(event.reason)
            what = event.what.partition(" ")[0]
            return (what, number and number[0]), 1 if number or what == "catalogue" else _ENTRIES
        case events.TransferEnded() if event.stored:
            return None
        case events.FetchFailed() | events.PageRejected() | events.TransferBroke() | events.TransferEnded():
            return (_host(event.url), event.reason), _SAME
        case events.PageRegressed() | events.IntegrityFailed():
            return _host(event.url), _MOST
    return "", _MOST


def _host(url: str) -> str:
    return url.split("/", 3)[2] if url.count("/") > 1 else ""


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
