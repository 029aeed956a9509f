"""The log of a process of the daemon: a JSON line for each event, over stderr, which its supervisor logs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
from attrs import define, field
from twisted.logger import ILogObserver, InvalidLogLevelError, LogEvent, Logger, LogLevel, eventAsText
from zope.interface import implementer

from twisted_pypi.notify import Tell, ignored

_LONGEST = 64 << 10


@implementer(ILogObserver)
@define
class LineObserver:
    """Writes events to a descriptor. What can't be written is lost: nobody listens any more."""

    descriptor: int

    def __call__(self, event: LogEvent) -> None:
        """Write one."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        level = event.get("log_level") or LogLevel.info
        line = orjson.dumps([level.name, str(event.get("log_namespace", "pypicache")), text[:_LONGEST]])
        with suppress(OSError):
            os.write(self.descriptor, line + b"\n")


def pass_on(message: str, descriptor: int = 2) -> None:
    """The `notify.Tell` of such a process: its supervisor tells the service manager."""
    with suppress(OSError):
        os.write(descriptor, orjson.dumps([message]) + b"\n")


@define
class LogLines:
    """Takes what such a process writes, and hands it to this one's log. `told` hears each text with its level.

    `passed` hears what is for the service manager.
    """

    told: Callable[[str, str], None]
    passed: Tell = ignored
    _rest: bytes = field(default=b"", init=False)
    _loggers: dict[str, Logger] = field(factory=dict, init=False)

    def take(self, data: bytes) -> None:
        """Some bytes came."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-4 * _LONGEST :]
        for line in lines:
            self._tell(line)

    def _tell(self, line: bytes) -> None:
        try:
            parts = orjson.loads(line)
            if isinstance(parts, list) and len(parts) == 1:
                self.passed(parts[0])
                return
            name, namespace, text = parts
            level: Any = LogLevel.levelWithName(name)
        except (ValueError, TypeError, InvalidLogLevelError):
            # Not by way of the log: the interpreter itself, in distress.
            level, namespace, text = LogLevel.error, "pypicache", line.decode("utf-8", "replace")
        logger = self._loggers.setdefault(namespace, Logger(namespace=namespace))
        logger.emit(level, "{text}", text=text)
        self.told(level.name, text)
