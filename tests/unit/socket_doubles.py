"""Connections over real loopback sockets, driven turn by turn by a reactor that does nothing by itself."""

from __future__ import annotations

import select
import socket

from attrs import define, field
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_pypi.web.transport import CacheTransport
from unit.web_doubles import Turning

SMALL = 16 << 10
TURNS = 20_000


@implementer(IReactorFDSet)
@define(eq=False)
class SocketReactor:
    """Looks at its descriptors, and at the clock, once in each `turn`."""

    clock: Turning
    readers: set[object] = field(factory=set)
    writers: set[object] = field(factory=set)

    def addReader(self, reader: object) -> None:  # noqa: N802
        self.readers.add(reader)

    def addWriter(self, writer: object) -> None:  # noqa: N802
        self.writers.add(writer)

    def removeReader(self, reader: object) -> None:  # noqa: N802
        self.readers.discard(reader)

    def removeWriter(self, writer: object) -> None:  # noqa: N802
        self.writers.discard(writer)

    def callLater(self, delay: float, call: object, *args: object):  # noqa: N802
        return self.clock.callLater(delay, call, *args)

    def turn(self) -> None:
        readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for ready, descriptors, act in ((readable, self.readers, "doRead"), (writable, self.writers, "doWrite")):
            for descriptor in ready:
                if descriptor in descriptors and (why := getattr(descriptor, act)()):
                    self._disconnect(descriptor, why, reading=act == "doRead")
        self.clock.advance(0)

    def _disconnect(self, descriptor: object, why: Exception, *, reading: bool) -> None:
        self.removeReader(descriptor)
        if reading and why is CONNECTION_DONE:
            descriptor.readConnectionLost(Failure(why))
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))


@define(eq=False, repr=False)
class Client:
    """The client's end of a connection with small socket buffers, and the transport at the other."""

    reactor: SocketReactor
    transport: CacheTransport
    socket: socket.socket
    received: bytearray = field(factory=bytearray)
    ended: bool = False
    reset: bool = False

    def take(self, size: int = 1 << 20) -> int:
        """Read what is there, at most `size` bytes; how many that were."""
        try:
            data = self.socket.recv(size)
        except BlockingIOError:
            return 0
        except ConnectionError:
            self.reset = self.ended = True
            return 0
        self.ended = not data
        self.received += data
        return len(data)

    def take_until(self, size: int, at_a_time: int = 1 << 20) -> bytes:
        """Read until `size` bytes have come, or the connection has ended."""
        for _ in range(TURNS):
            if len(self.received) >= size or self.ended:
                return bytes(self.received)
            self.take(at_a_time)
            self.reactor.turn()
        raise AssertionError(f"{len(self.received)} bytes came, not {size}")

    def take_to_end(self) -> bytes:
        """Read until the connection ends."""
        for _ in range(TURNS):
            if self.ended:
                return bytes(self.received)
            self.take()
            self.reactor.turn()
        raise AssertionError("the connection doesn't end")

    def fill(self) -> None:
        """Let the reactor turn until the socket takes no more, or nothing is left to do."""
        for _ in range(TURNS):
            _, writable, _ = select.select([], list(self.reactor.writers), [], 0)
            if not writable and not [call for call in self.reactor.clock.calls if call.getTime() <= self.now]:
                return
            self.reactor.turn()
        raise AssertionError("the socket is never full")

    def send(self, data: bytes) -> None:
        """Send, and let the server see it."""
        self.socket.sendall(data)
        for _ in range(2):
            self.reactor.turn()

    @property
    def now(self) -> float:
        return self.reactor.clock.seconds()

    def close(self) -> None:
        self.socket.close()
        for _ in range(3):
            self.reactor.turn()


def connect(protocol: object, reactor: SocketReactor) -> Client:
    """A connection between a client and `protocol`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        near.connect(listener.getsockname())
        far, address = listener.accept()
    near.setblocking(False)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as twisted.web does; else small bytes wait for an ACK
    transport = CacheTransport(far, protocol, address, None, 0, reactor)
    protocol.makeConnection(transport)
    return Client(reactor, transport, near)
