"""The connection between a worker and the owner: frames both ways, and client connections with them.

Laws: a connection that is given away stays open here, too, until the other end says that it has it; when the link
breaks before that, it is still here. Whoever gets one says so before anything is done with it.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pypi.processes.frames import LARGEST, Leave, Message, Pass, Passed, decode, encode

log = Logger(namespace="pypicache")

Waiting = tuple[socket.socket, bytes]
"""A client's connection and what it sent so far."""


@define(eq=False)
class Ends:
    """What one end does: `opened` and `closed` with the link, `received` for a message, `taken` for a connection.

    `confirmed`: all that was given has arrived.
    """

    opened: Callable[[Link], None]
    received: Callable[[Link, Message], None]
    taken: Callable[[Link, socket.socket, bytes], None]
    closed: Callable[[Link, list[Waiting]], None]
    clock: IReactorTime = field()
    confirmed: Callable[[], None] = lambda: None


@implementer(IFileDescriptorReceiver)
class Link(Int32StringReceiver):
    """One end of a connection over a UNIX socket."""

    MAX_LENGTH = LARGEST

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._count = 0
        self._unconfirmed: dict[int, Waiting] = {}
        self._descriptors: deque[int] = deque()

    def connectionMade(self) -> None:  # noqa: N802
        """Begin."""
        self._ends.opened(self)

    def send(self, message: Message) -> None:
        """Tell the other end."""
        self.sendString(encode(message))  # type: ignore[no-untyped-call]

    def give(self, connection: socket.socket, data: bytes = b"") -> None:
        """Let the other end have a client's connection, and answer `data`, which came over it."""
        self._count += 1
        self._unconfirmed[self._count] = connection, data
        transport: Any = self.transport
        transport.sendFileDescriptor(connection.fileno())
        self.send(Pass(self._count, data))

    @property
    def giving(self) -> bool:
        """Whether some of what was given hasn't arrived yet, as far as is known."""
        return bool(self._unconfirmed)

    def fileDescriptorReceived(self, descriptor: int) -> None:  # noqa: N802
        """The descriptor of a `Pass` that is here or still to come."""
        self._descriptors.append(descriptor)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802
        """Take a frame."""
        message = decode(string)
        match message:
            case Passed(number):
                connection, _ = self._unconfirmed.pop(number)
                connection.close()
                if not self._unconfirmed:
                    self._ends.confirmed()
            case Pass(number, data):
                connection = socket.socket(fileno=self._descriptors.popleft())
                self.send(Passed(number))
                # A turn of the reactor for what was just written to go out, so that no end has it twice.
                self._later(self._later, self._ends.taken, self, connection, data)
            case Leave():
                # Behind the connections that came before it.
                self._later(self._later, self._ends.received, self, message)
            case _:
                self._ends.received(self, message)

    def lengthLimitExceeded(self, length: int) -> None:  # noqa: N802
        """No frame of ours is so long."""
        log.error("a frame of {length} bytes between worker and owner", length=length)
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802
        """The other end has gone: what it did not confirm is still ours."""
        while self._descriptors:
            os.close(self._descriptors.popleft())
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._ends.closed(self, list(unconfirmed.values()))

    def _later(self, call: Callable[..., None], *args: object) -> None:
        self._ends.clock.callLater(0, call, *args)
