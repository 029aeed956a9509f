"""A service manager's part: the socket that it is notified on, and listening sockets that outlive the daemon."""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from attrs import define, field

from e2e.daemon import Daemon
from e2e.waiting import wait_for

LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Does to the process what systemd does: the given descriptor is its first listening socket."""

_CREDENTIALS = struct.Struct("3i")


@define(eq=False)
class Manager:
    """Hears what daemons tell `$NOTIFY_SOCKET`. Used as a context manager."""

    address: str
    senders: set[int] = field(factory=set, init=False)
    _messages: list[str] = field(factory=list, init=False)
    _socket: socket.socket = field(init=False)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(re.sub("^@", "\0", self.address))
        self._socket.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def messages(self) -> list[str]:
        """All so far."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(8192, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return self._messages
            self.senders.add(_CREDENTIALS.unpack(ancillary[0][2])[0])
            self._messages.append(data.decode())

    def count(self, beginning: str) -> int:
        """How many there are that begin so."""
        return sum(message.startswith(beginning) for message in self.messages)

    def wait_for(self, beginning: str, times: int = 1) -> str:
        """The last of so many messages that begin so, once it is there."""
        wait_for(f"{beginning} of {self.messages}", lambda: self.count(beginning) >= times)
        return [message for message in self.messages if message.startswith(beginning)][times - 1]


@contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A listening socket, as a `.socket` unit has it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.bind((address, 0))
        bound.listen(4096)
        yield bound


@define(eq=False)
class Activated(Daemon):
    """A daemon that is given the listening socket `descriptors[0]`, under the name "http", and serves there."""

    def command(self) -> list[str]:
        """The command line, by way of a process that turns into the daemon and knows its own number."""
        launch = [sys.executable, "-c", LAUNCH, str(self.descriptors[0])]
        return [*launch, *super().command(), "--listen", "systemd:domain=INET:name=http"]
