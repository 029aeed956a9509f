"""Signals. SIGTERM and SIGINT end the daemon in order, a second one at once; SIGHUP and SIGUSR1 never end it."""

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
    reopen: Callable[[], None]

    def install(self) -> None:
        """Set the handlers: those that end the daemon once the reactor, which sets its own, is running."""
        for number in (signal.SIGHUP, signal.SIGUSR1):
            self._chain(number, self.reopen)
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
