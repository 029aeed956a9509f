"""Signals. SIGTERM and SIGINT end the daemon in order, a second one at once; SIGHUP and SIGUSR1 never end it.

SIGHUP has the configuration read anew and the logs opened anew, SIGUSR1 (on which twistd rotates its log) the latter.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from attrs import define


@define
class Signals:
    """What to do on each signal. The actions are called in the reactor."""

    reactor: Any
    end: Callable[[], None]
    reload: Callable[[], None]
    reopen: Callable[[], None]

    def install(self) -> None:
        """Set the handlers: those that end the daemon once the reactor, which sets its own, is running."""
        self._chain(signal.SIGHUP, self.reload)
        self._chain(signal.SIGUSR1, self.reopen)
        self.reactor.callWhenRunning(self._install_ends)

    def _install_ends(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.reactor.callFromThread(self.end))

    def _chain(self, number: signal.Signals, action: Callable[[], None]) -> None:
        """Besides what twistd does on this signal (it rotates its log on SIGUSR1)."""
        before = signal.getsignal(number)

        def handle(received: int, frame: FrameType | None) -> None:
            if callable(before):
                before(received, frame)
            self.reactor.callFromThread(action)

        signal.signal(number, handle)
