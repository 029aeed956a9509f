"""The daemon's log where it goes to systemd's journal, which has a time for each line and reads `<3>` as its priority.

See systemd.exec(5), `$JOURNAL_STREAM`, and sd-daemon(3).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from attrs import define, field
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
    """Writes events to a stream, one or more lines each. What can't be written is lost, as with twistd's own.

    The stream is the stdout of when this is made: the patient one (`output`), and not what twistd later has log itself.
    """

    stream: TextIO = field(factory=lambda: sys.stdout)

    def __call__(self, event: LogEvent) -> None:
        """Write one."""
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        lines = [line for line in text.splitlines() if line]
        priority = _PRIORITIES.get(event.get("log_level"), 6)
        with suppress(OSError):
            self.stream.write("".join(f"<{priority}>{line}\n" for line in lines))
            self.stream.flush()
