"""A port that can't accept rests."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_pypi.config import load
from twisted_pypi.listening import PAUSE, Listeners, family_of


class Port:
    """A listening port, which is read while `reading`."""

    def __init__(self, factory: list[None], can_accept: Callable[[], bool]) -> None:
        self.reading = True
        self._factory, self._can_accept = factory, can_accept

    def doRead(self) -> None:  # noqa: N802
        if self._can_accept():
            self._factory.append(None)

    def startReading(self) -> None:  # noqa: N802
        self.reading = True

    def stopReading(self) -> None:  # noqa: N802
        self.reading = False

    def stopListening(self) -> None:  # noqa: N802
        self.reading = False


class Reactor(Clock):
    """Time, and one port."""

    def __init__(self) -> None:
        super().__init__()
        self.can_accept = True
        self.ports: list[Port] = []

    def listenTCP(self, port: int, factory: Any, *_: object) -> Port:  # noqa: N802
        self.ports.append(Port(factory, lambda: self.can_accept))
        return self.ports[-1]


def paced() -> tuple[Reactor, Port, Listeners, list[None]]:
    reactor, accepted = Reactor(), list[None]()
    listeners = Listeners(reactor, load({"cache-dir": "/cache"}, {}).settings)
    listeners.bind(accepted)  # type: ignore[arg-type]
    listeners.pace(lambda: len(accepted))
    return reactor, reactor.ports[0], listeners, accepted


def test_a_port_that_accepts_goes_on() -> None:
    _, port, _, accepted = paced()
    port.doRead()
    assert port.reading
    assert len(accepted) == 1


def test_one_that_cannot_rests_and_tries_again() -> None:
    reactor, port, _, accepted = paced()
    reactor.can_accept = False
    for _ in range(3):
        port.doRead()
        assert not port.reading
        reactor.advance(PAUSE)
        assert port.reading
    reactor.can_accept = True
    port.doRead()
    assert port.reading
    assert len(accepted) == 1


def test_one_that_was_closed_meanwhile_stays_so() -> None:
    reactor, port, listeners, _ = paced()
    reactor.can_accept = False
    port.doRead()
    closing = listeners.close()
    with suppress(StopIteration):
        closing.send(None)
    reactor.advance(PAUSE)
    assert not port.reading


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_socket_that_was_handed_over_tells_its_family_and_stays_open(family: int) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as given:
        assert family_of(given.fileno()) == family
        assert os.fstat(given.fileno())
