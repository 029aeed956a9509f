"""The sockets that clients connect to when several processes serve them: made once, before privileges are dropped.

With `--port` each worker has one of its own, among which the kernel spreads the connections (SO_REUSEPORT: a shared
one can give every connection to one process). Endpoints have one, which all share.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory

from twisted_pypi.errors import ConfigError
from twisted_pypi.listening import BACKLOG, Listeners, describe
from twisted_pypi.preflight import check_port
from twisted_pypi.settings import Settings


@define
class Sockets:
    """The listening sockets of all workers."""

    reactor: Any
    settings: Settings
    _own: list[socket.socket] = field(factory=list, init=False)
    _shared: Listeners | None = field(default=None, init=False)

    def bind(self) -> None:
        """Bind all of them. Raises `ConfigError` that names the option."""
        if self.settings.listen:
            self._shared = Listeners(self.reactor, self.settings)
            self._shared.bind(Factory())
            for port in self._shared.ports:
                port.stopReading()
            return
        interface, port = self.settings.interface, self.settings.port
        # Without SO_REUSEPORT: with it, a second daemon would silently take half of the connections.
        check_port(interface, port)
        try:
            for _ in range(self.settings.workers):
                bound = _listening(interface, port)
                self._own.append(bound)
                port = bound.getsockname()[1]
        except OSError as error:
            self._close_own()
            raise ConfigError("--port", f"{interface}:{port} can't be bound: {os.strerror(error.errno or 0)}") from None

    def of_worker(self, number: int) -> list[int]:
        """The descriptors on which worker `number` (from 0) listens."""
        if self._shared is not None:
            return [port.fileno() for port in self._shared.ports]
        return [self._own[number].fileno()]

    def addresses(self) -> list[str]:
        """What is listened on, for people."""
        if self._shared is not None:
            return self._shared.addresses()
        name = self._own[0].getsockname()
        kind = IPv6Address if self._own[0].family == socket.AF_INET6 else IPv4Address
        return [describe(kind("TCP", *name), self.settings, "http")]

    async def close(self) -> None:
        """Listen no more."""
        self._close_own()
        if self._shared is not None:
            await self._shared.close()

    def _close_own(self) -> None:
        while self._own:
            self._own.pop().close()


def _listening(interface: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in interface else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((interface, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
