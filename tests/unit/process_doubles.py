"""Links without UNIX sockets: two ends in memory, whose frames and descriptors are delivered when a test says so."""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_pypi.processes.links import Ends, Link


class Wire(StringTransport):
    """One end's transport. A descriptor is sent with what was written last before it, as the kernel does."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: deque[int] = deque()

    def sendFileDescriptor(self, descriptor: int) -> None:  # noqa: N802
        self.descriptors.append(os.dup(descriptor))


@define(eq=False)
class Pair:
    """Two links that are each other's other end."""

    near: Link
    far: Link
    wires: dict[Link, Wire] = field(factory=dict)

    @classmethod
    def of(cls, near: Ends, far: Ends) -> Pair:
        return cls(Link(near), Link(far))

    def __attrs_post_init__(self) -> None:
        for link in (self.near, self.far):
            self.wires[link] = Wire()
            link.makeConnection(self.wires[link])

    def deliver(self, sender: Link) -> int:
        """Let what `sender` wrote arrive; how many bytes that were."""
        receiver = self.far if sender is self.near else self.near
        wire = self.wires[sender]
        while wire.descriptors:
            receiver.fileDescriptorReceived(wire.descriptors.popleft())
        data = wire.value()
        wire.clear()
        if data:
            receiver.dataReceived(data)
        return len(data)

    def settle(self) -> None:
        """Deliver until there is nothing more to say."""
        while self.deliver(self.near) + self.deliver(self.far):
            pass

    def cut(self) -> None:
        """Both ends lose each other; what is under way is lost."""
        for link in (self.near, self.far):
            while self.wires[link].descriptors:
                os.close(self.wires[link].descriptors.popleft())
            link.connectionLost(Failure(ConnectionLost()))


@define(eq=False)
class Side:
    """Records what `Ends` are told."""

    clock: Any
    messages: list[object] = field(factory=list)
    taken: list[tuple[socket.socket, bytes]] = field(factory=list)
    kept: list[tuple[socket.socket, bytes]] = field(factory=list)

    def ends(self) -> Ends:
        return Ends(
            opened=lambda link: None,
            received=lambda link, message: self.messages.append(message),
            taken=lambda link, connection, data: self.taken.append((connection, data)),
            closed=lambda link, kept: self.kept.extend(kept),
            clock=self.clock,
        )
