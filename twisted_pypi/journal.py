"""The daemon's log where it goes to systemd's journal, which has a time for each line and reads `<3>` as its priority.

See systemd.exec(5), `$JOURNAL_STREAM`, and sd-daemon(3).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import define
from twisted.logger import ILogObserver, LogEvent, LogLevel, eventAsText
from zope.interface import implementer

STDOUT = 1

_PRIORITIES: dict[Any, int] = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}


def is_journal(descriptor: int = STDOUT, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this descriptor is the stream to the journal that systemd opened, and not one that came later."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


@implementer(ILogObserver)
@define
class JournalObserver:
    """Writes events to a descriptor, one or more lines each. What can't be written is lost, as with twistd's own."""

    descriptor: int = STDOUT

    def __call__(self, event: LogEvent) -> None:
        """Write one."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        lines = [line for line in text.splitlines() if line]
        priority = _PRIORITIES.get(event.get("log_level"), 6)
        with suppress(OSError):
            os.write(self.descriptor, "".join(f"<{priority}>{line}\n" for line in lines).encode("utf-8", "replace"))
