"""What a process of the daemon is told by its supervisor: first its job, then orders of one letter, over one pipe.

The pipe's end means that the supervisor has gone. Signals are the supervisor's: systemd and terminals send them to all.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, frozen
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from twisted_pypi.reloading import Reread
from twisted_pypi.settings import Loaded

END, HURRY, RELOAD, REOPEN = b"E", b"N", b"R", b"O"
"""End in order, end the grace, read the configuration anew, open the logs anew."""

SOCKETS = 3
"""The first descriptor of the listening sockets, which follow each other."""

log = Logger(namespace="pypicache")

_SIZE = struct.Struct(">Q")


@frozen
class Job:
    """What to be: the owner, or with `owner` False a worker, with so many `sockets`.

    `path` is that of the owner's UNIX socket. `addresses` are those of clients, for people.
    """

    owner: bool
    sockets: int
    path: str
    addresses: tuple[str, ...]
    loaded: Loaded
    reread: Reread | None = None


def packed(job: Job) -> bytes:
    """The job as bytes; the other end of the pipe is nobody but a process of ours."""
    data = pickle.dumps(job)
    return _SIZE.pack(len(data)) + data


def receive(descriptor: int) -> Job:
    """The job from the pipe. Raises `EOFError` when that ends before."""
    (size,) = _SIZE.unpack(_exactly(descriptor, _SIZE.size))
    job: Job = pickle.loads(_exactly(descriptor, size))
    return job


def _exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            raise EOFError("the supervisor has gone")
        data += more
    return data


@implementer(IReadDescriptor)
@define(eq=False)
class Orders:
    """Reads orders from the pipe and calls what is given for each; `gone` at its end."""

    reactor: Any
    actions: Mapping[bytes, Callable[[], None]]
    gone: Callable[[], None]
    descriptor: int = 0

    def install(self) -> None:
        """Heed orders, and no signals."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        os.set_blocking(self.descriptor, False)
        self.reactor.addReader(self)

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        return self.descriptor

    def logPrefix(self) -> str:  # noqa: N802
        """See `ILoggingContext`."""
        return "orders"

    def doRead(self) -> None:  # noqa: N802
        """Take the orders that came."""
        try:
            data = os.read(self.descriptor, 64)
        except BlockingIOError:
            return
        if not data:
            self.connectionLost(None)
        for order in data:
            action = self.actions.get(bytes((order,)))
            if action is not None:
                action()

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        """The pipe has ended. Where it holds nothing any more, the reactor says so in place of `doRead`."""
        self.reactor.removeReader(self)
        self.gone()

    def close(self) -> None:
        """Heed no more orders: the reactor, which is about to end, would take this one for gone as well."""
        self.reactor.removeReader(self)
