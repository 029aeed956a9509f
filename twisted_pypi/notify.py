"""What the service manager is told, by sd_notify(3) and sd_watchdog_enabled(3), without libsystemd.

That the daemon is ready, reads its configuration anew, stops; how it is; and that its reactor turns. Threads that hang
with a disk are none of the watchdog's business: a restart would not mend the disk, and hits in memory are served still.
Without `$NOTIFY_SOCKET` nobody is told anything.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

log = Logger(namespace="pypicache")

STATUS_SECONDS = 10.0
"""Seconds between two words on how the daemon is, at most."""

OVERTIME = 30.0
"""Seconds beyond the grace that stopping may take."""

AGAIN = 0.1
"""Seconds until a message is tried again for which the manager had no room."""

MOST_WAITING = 16

Tell = Callable[[str], None]
"""Takes one message for the manager: lines of NAME=VALUE."""


def ignored(message: str) -> None:
    """The `Tell` where there is no manager."""


def manager_of(reactor: Any, environ: Mapping[str, str] = os.environ) -> Tell:
    """How the manager that the environment names is told."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return ManagerSocket(reactor, "\0" + address[1:])
    return ManagerSocket(reactor, address) if address.startswith("/") else ignored


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Within which time the manager wants to hear of the process `pid` again and again; None: not at all."""
    watched, period = environ.get("WATCHDOG_PID", str(pid)), environ.get("WATCHDOG_USEC", "")
    if watched != str(pid) or not period.isascii() or not period.isdigit() or int(period) == 0:
        return None
    return int(period) / 1e6


@define(eq=False)
class ManagerSocket:
    """Sends messages to the manager's datagram socket, in order, and never waits. Begin it after the fork."""

    reactor: Any
    address: str
    _socket: socket.socket = field(init=False)
    _waiting: deque[bytes] = field(factory=lambda: deque(maxlen=MOST_WAITING), init=False)
    _again: IDelayedCall | None = field(default=None, init=False)
    _complained: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def __call__(self, message: str) -> None:
        """Send it, or have it wait for its turn."""
        self._waiting.append(message.encode("utf-8", "replace"))
        if self._again is None:
            self._send()

    def _send(self) -> None:
        self._again = None
        while self._waiting:
            try:
                self._socket.sendto(self._waiting[0], self.address)
            except BlockingIOError:
                self._again = self.reactor.callLater(AGAIN, self._send)
                return
            except OSError as error:
                self._complain(error)
            self._waiting.popleft()

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warn("the service manager can't be told how it goes: {error}", error=error)


@define(eq=False)
class Notifier:
    """Tells the manager of one daemon. `status` is one line on how it is; `watchdog` see `watchdog_seconds`."""

    reactor: Any
    tell: Tell
    watchdog: float | None = None
    status: Callable[[], str] = lambda: ""
    _beat: IDelayedCall | None = field(default=None, init=False)

    def ready(self) -> None:
        """It is open for clients; from now on it is heard of."""
        self.tell(f"READY=1\n{self._status()}")
        if self._beat is None:
            self._beat_later()

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """While it reads its configuration anew. Nobody is told of that before it is ready, nor when it ends."""
        if self._beat is None:
            yield
            return
        # For managers that have Type=notify-reload.
        self.tell(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            if self._beat is not None:
                self.ready()

    def stopping(self, grace: float) -> None:
        """It ends, which takes `grace` seconds and a little more at most. It is not heard of any more."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        self.tell(stopping(grace))

    def failed(self, problem: str) -> None:
        """It can't start."""
        self.tell(f"STATUS={_line(problem)}")

    def _status(self) -> str:
        return f"STATUS={_line(self.status())}"

    def _beat_later(self) -> None:
        period = STATUS_SECONDS if self.watchdog is None else min(STATUS_SECONDS, self.watchdog / 2)
        self._beat = self.reactor.callLater(period, self._beat_now)

    def _beat_now(self) -> None:
        self._beat_later()
        self.tell(self._status() if self.watchdog is None else f"WATCHDOG=1\n{self._status()}")


def notifier(reactor: Any) -> Notifier:
    """That of this process. To be made after the fork."""
    return Notifier(reactor, manager_of(reactor), watchdog_seconds(os.environ, os.getpid()))


def stopping(grace: float) -> str:
    """The message that the daemon ends, and how many seconds running answers may go on."""
    return (
        f"STOPPING=1\nSTATUS=Running answers end, for {grace:g} s\nEXTEND_TIMEOUT_USEC={int((grace + OVERTIME) * 1e6)}"
    )


def _line(text: str) -> str:
    return " ".join(text.split())
