"""The sockets that clients connect to: bound early, so that a failure is told before anything else begins."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from twisted_pypi.access import is_secure, is_wrapped
from twisted_pypi.errors import ConfigError
from twisted_pypi.server_tls import ServerTls
from twisted_pypi.settings import Settings
from twisted_pypi.web import transport

BACKLOG = 1024

PAUSE = 0.1
"""Seconds for which a port rests when it could not accept."""


@define
class Listeners:
    """The listening ports of one daemon."""

    reactor: Any
    settings: Settings
    ports: list[Any] = field(factory=list, init=False)
    _tls: ServerTls | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.settings.tls_certificate is not None:
            self._tls = ServerTls(self.settings.tls_certificate, self.reactor)

    def pace(self, accepted: Callable[[], int]) -> None:
        """Have a port that can't accept rest for a moment. `accepted` tells how many connections were, so far.

        Twisted keeps a descriptor in reserve for when there is no other, but may lose it to another thread. From then
        on a connection that waits would keep the reactor spinning, with a line in the log for each turn.
        """
        for port in self.ports:
            self._pace(port, accepted)

    def _pace(self, port: Any, accepted: Callable[[], int]) -> None:
        read = port.doRead

        def resume() -> None:
            if port in self.ports:
                port.startReading()

        def paced() -> Any:
            before = accepted()
            result = read()
            if accepted() == before:
                port.stopReading()
                self.reactor.callLater(PAUSE, resume)
            return result

        port.doRead = paced

    def bind(self, factory: IProtocolFactory) -> None:
        """Bind all of them. Raises `ConfigError` that names the option; what was bound is released by `close`."""
        if self.settings.listen:
            for description in self.settings.listen:
                within = self._within_tls(factory) if is_wrapped(description, self.settings) else factory
                self._add(self._from_endpoint(description, within), factory)
            return
        try:
            within = self._within_tls(factory)
            port = self.reactor.listenTCP(self.settings.port, within, BACKLOG, self.settings.interface)
        except CannotListenError as error:
            raise ConfigError("--port", str(error.socketError)) from None
        self._add(port, factory)

    def adopt(self, descriptor: int, family: int, factory: IProtocolFactory) -> None:
        """Listen on a socket that another process bound."""
        self._add(self.reactor.adoptStreamPort(descriptor, family, factory), factory)

    def _within_tls(self, factory: IProtocolFactory) -> IProtocolFactory:
        """The factory of connections to a port of ours, which in turn serves `factory`: with TLS if that is set."""
        if self._tls is None:
            return factory
        made = TLSMemoryBIOFactory(self._tls, False, factory, self.reactor)
        made.noisy = False
        return made

    def use(self, settings: Settings) -> None:
        """Other settings are in force. What is bound stays as it is; new connections see the certificate."""
        self.settings = settings
        if self._tls is not None and settings.tls_certificate is not None:
            self._tls.use(settings.tls_certificate)

    def addresses(self) -> list[str]:
        """What is listened on, for people: index URLs for TCP, else as Twisted describes it."""
        settings = self.settings
        secure = [is_secure(description, settings) for description in settings.listen] or [
            settings.tls_certificate is not None
        ]
        return [
            describe(port.getHost(), self.settings, "https" if tls else "http")
            for port, tls in zip(self.ports, secure, strict=True)
        ]

    async def close(self) -> None:
        """Listen no more."""
        while self.ports:
            await maybeDeferred(self.ports.pop().stopListening)

    def _add(self, port: IListeningPort, factory: IProtocolFactory) -> None:
        transport.use_on(port, factory)
        self.ports.append(port)

    def _from_endpoint(self, description: str, factory: IProtocolFactory) -> IListeningPort:
        """Unlike `StreamServerEndpointService`, which swallows them, this raises what goes wrong."""
        bound: list[IListeningPort | Failure] = []
        try:
            endpoint: IStreamServerEndpoint = serverFromString(self.reactor, description)  # type: ignore[no-untyped-call]
            if isinstance(endpoint, AdoptedStreamServerEndpoint):
                # systemd makes it IPv4 where the machine has no IPv6: it knows better than the description.
                endpoint.addressFamily = family_of(endpoint.fileno)
            endpoint.listen(factory).addBoth(bound.append)
        except Exception as error:
            raise ConfigError("--listen", f"{description}: {error}") from None
        if not bound:
            raise ConfigError("--listen", f"{description}: is not bound at once")
        if isinstance(bound[0], Failure):
            raise ConfigError("--listen", f"{description}: {bound[0].getErrorMessage()}")
        return bound[0]


def family_of(descriptor: int) -> int:
    """The address family of a socket. Raises `OSError` if it is none."""
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return found.family


def describe(address: Any, settings: Settings, scheme: str) -> str:
    """An address that is listened on, for people."""
    if isinstance(address, UNIXAddress):
        return f"the socket {os.fsdecode(address.name or b'(unnamed)')}"
    host = getattr(address, "host", None)
    if host is None:
        return str(address)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{address.port}{settings.prefix}/simple/ ({_reach(host, address.port, settings)})"


def _reach(host: str, port: int, settings: Settings) -> str:
    """Who can connect, and how to change that."""
    if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        return f"point clients at this machine's name, port {port}"
    return "this machine only" + ("" if settings.listen else "; --interface 0.0.0.0 opens it to the network")
