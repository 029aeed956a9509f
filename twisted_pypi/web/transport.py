"""A client's TCP connection that sends at once what the socket takes, and bodies without copies of them.

Twisted's own transport buffers every write and sends it in the reactor's next turn. Here a write with nothing buffered
before it goes to the socket at once, and the reactor gets what is left. A file goes from the page cache to the socket
(sendfile(2)) without passing through this process; bytes in memory from where they are, without a buffer in between.

Laws: bytes leave in the order in which they were written. A registered push producer (twisted.web's channel registers
itself) is paused while the socket takes no more and resumed when it does, for bodies as for writes.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from twisted.internet.tcp import Port, Server
from twisted.python.failure import Failure

PER_TURN = 4 << 20
"""Bytes of a body that are sent in one turn of the reactor, at most: then other connections have theirs.

As nginx's `sendfile_max_chunk`, and what a socket's buffer has room for at most (Linux's `tcp_wmem`). The more goes in
at once, the fewer turns, and the fewer times the client's side has to be woken: eight clients at 2 MiB a turn cost a
sixth more, at 256 KiB three quarters."""

_COPIED = 128 << 10
_BUSY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS})
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_IOV_MAX = 64


def _copy(out: socket.socket, fileno: int, offset: int, count: int) -> int:
    """What `os.sendfile` does, for systems and file systems that can't."""
    data = os.pread(fileno, min(count, _COPIED), offset)
    return out.send(data) if data else 0


def _sendfile(out: socket.socket, fileno: int, offset: int, count: int) -> int:
    try:
        return os.sendfile(out.fileno(), fileno, offset, count)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return _copy(out, fileno, offset, count)


def _send_view(out: socket.socket, data: memoryview, count: int) -> int:
    return out.send(data[:count])


_send: Callable[[socket.socket, int, int, int], int] = _sendfile if hasattr(os, "sendfile") else _copy


class CacheTransport(Server):
    """The server side of one connection; set as `transport` of a listening `tcp.Port`."""

    _buffered = False
    """Whether the base class holds bytes that the socket didn't take."""

    def write(self, data: bytes) -> None:
        """Send `data` now as far as the socket takes it, the rest when it does."""
        if data and self._may_send():
            data = data[self._try(self.socket.send, data) :]
        if data:
            self._buffered = True
            super().write(data)  # type: ignore[no-untyped-call]

    def writeSequence(self, iovec: Iterable[bytes]) -> None:  # noqa: N802
        """Send all of them, as with `write`, without joining what the socket takes at once."""
        pieces = list(iovec)
        if len(pieces) > _IOV_MAX or not self._may_send():
            self.write(b"".join(pieces))
            return
        sent, size = self._try(self.socket.sendmsg, pieces), sum(map(len, pieces))
        if sent < size:
            self._buffered = True
            super().write(b"".join(pieces)[sent:])  # type: ignore[no-untyped-call]

    def send_file(self, fileno: int, offset: int, count: int) -> int:
        """Send up to `count` bytes from position `offset` of an open file; how many the socket took.

        That may be none, and at most `PER_TURN`. If it is fewer than `count` the registered producer was paused, and is
        resumed when there is room for more. Raises `EOFError` when the file ends before `offset`, `ConnectionError` or
        `TimeoutError` when the client has gone, `OSError` when the file can't be read.
        """
        return self._hand_over(count, _send, fileno, offset)

    def send_bytes(self, data: memoryview) -> int:
        """Send what the socket takes of bytes in memory; how many that were. Otherwise as `send_file`."""
        return self._hand_over(len(data), _send_view, data)

    @property
    def flushed(self) -> bool:
        """Whether the socket has taken all that was written."""
        return not self._buffered

    def wait_until_sent(self) -> None:
        """Pause the registered producer until the socket has taken all that was written, if it hasn't yet."""
        if self._buffered:
            self._pause()

    def detach(self) -> socket.socket:
        """Give the connection away: its socket, connected as it is. The protocol sees its connection lost.

        What was written must be `flushed`.
        """
        self.stopReading()  # type: ignore[no-untyped-call]
        self.stopWriting()
        taken, self.socket = self.socket, _GivenAway()  # type: ignore[assignment]
        self.connectionLost(Failure(ConnectionDone()))  # type: ignore[no-untyped-call]
        return taken

    def doWrite(self) -> Any:  # noqa: N802
        """There is room in the socket: for what is buffered, else for the producer that waits for it."""
        if self._buffered or not self.producerPaused or self.producer is None:
            return super().doWrite()  # type: ignore[no-untyped-call]
        # As in the base class, without an empty send and without leaving the reactor's set in between. What the
        # producer leaves undone (nothing written, the connection to be closed) the base class finds in the next turn.
        self.producerPaused = False
        self.producer.resumeProducing()  # type: ignore[attr-defined]
        return None

    def stopWriting(self) -> None:  # noqa: N802
        """Everything is sent, or the connection ends: the base class calls this exactly then."""
        self._buffered = False
        super().stopWriting()  # type: ignore[no-untyped-call]

    def _may_send(self) -> bool:
        """Whether bytes may go to the socket directly."""
        return bool(self.connected and not self._buffered and not self.TLS)

    def _try(self, send: Callable[..., int], data: bytes | list[bytes]) -> int:
        """How much of it the socket took. A broken connection is left for the reactor to find."""
        try:
            return send(data)
        except OSError:
            return 0

    def _hand_over(self, count: int, send: Callable[..., int], *what: Any) -> int:
        """Let `send` put up to `count` bytes of a body into the socket."""
        sent = 0
        if self._may_send() and count > 0:
            try:
                sent = send(self.socket, *what, min(count, PER_TURN))
            except OSError as error:
                if error.errno not in _BUSY:
                    raise
            else:
                if not sent:
                    raise EOFError("the file is shorter than it was")
        if sent < count:
            self._pause()
        return sent

    def _pause(self) -> None:
        if self.producer is not None and self.connected:
            if not self.producerPaused:
                self.producerPaused = True
                producer: IPushProducer = self.producer  # type: ignore[assignment]
                producer.pauseProducing()
            self.startWriting()  # type: ignore[no-untyped-call]


class _GivenAway:
    """In the place of a socket that somebody else has now: it is neither shut down nor closed here."""

    def shutdown(self, how: int) -> None:
        """Leave it open."""

    def setsockopt(self, *option: object) -> None:
        """Leave it as it is."""

    def close(self) -> None:
        """Leave it open."""


def attach(connection: socket.socket, factory: IProtocolFactory, reactor: Any) -> IProtocol | None:
    """Serve a connected TCP socket, as if it had been accepted here; None when it is not connected any more.

    The socket is the transport's from now on, or closed.
    """
    try:
        peer = connection.getpeername()
    except OSError:
        connection.close()
        return None
    kind = IPv6Address if connection.family == socket.AF_INET6 else IPv4Address
    protocol = factory.buildProtocol(kind("TCP", *peer))
    if protocol is None:
        connection.close()
        return None
    transport = CacheTransport(connection, protocol, peer, None, 0, reactor)  # type: ignore[arg-type]
    transport.repstr = f"<{type(protocol).__name__} of {peer[0]}>"
    protocol.makeConnection(transport)
    return protocol


def use_on(port: object, factory: IProtocolFactory) -> None:
    """Let `port` make such transports for `factory`'s connections, if it can: a plain TCP port that nothing wraps."""
    if isinstance(port, Port) and port.transport is Server and port.factory is factory:
        port.transport = CacheTransport
