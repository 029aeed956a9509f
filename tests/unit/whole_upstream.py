"""An index in memory, at the other end of the connections of a `MemoryReactorClock`, that can fail in many ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from e2e.content import Catalogue, Request, Response
from e2e.registry import NpmCatalogue

PIECE = 3000
"""Bytes of a body that come in one turn."""

HOSTS = {"8.8.8.1": "index", "8.8.8.2": "files", "8.8.8.3": "registry"}

Step = bytes | float | Exception
"""What an upstream does next on a connection: send, wait so many seconds, close with a reason."""

FOREVER = 1e9


def healthy(response: Response, head_only: bool = False) -> list[Step]:
    """The answer in pieces."""
    bodyless = head_only or response.status == 304
    body = b"" if bodyless else response.body
    return [response.head(), *(body[start : start + PIECE] for start in range(0, len(body), PIECE))]


def _cut(then: Step, share: float) -> Callable[[Response], list[Step]]:
    def act(response: Response) -> list[Step]:
        return [response.head(), *healthy(response)[1 : 1 + int(len(response.body) * share) // PIECE], then]

    return act


def _other(**changes: Any) -> Callable[[Response], list[Step]]:
    return lambda response: healthy(evolve(response, **changes))


def _slow(response: Response) -> list[Step]:
    return [step for piece in healthy(response) for step in (2.0, piece)]


def _corrupt(response: Response) -> list[Step]:
    return healthy(evolve(response, body=bytes(byte ^ 0xFF for byte in response.body[:1]) + response.body[1:]))


def _truncated(response: Response) -> list[Step]:
    return healthy(evolve(response, body=response.body[: len(response.body) // 2]))


def _unmarked(response: Response) -> list[Step]:
    return [*healthy(evolve(response, content_length=False)), ConnectionDone()]


def _lying(response: Response) -> list[Step]:
    headers = {**response.headers, "Content-Length": str(len(response.body) + 7)}
    return [*healthy(evolve(response, headers=headers, content_length=False)), FOREVER]


LOGIN = b"<!DOCTYPE html><html><body>log in first</body></html>"

FAULTS: dict[str, Callable[[Response], list[Step]]] = {
    "503": _other(status=503, headers={}, body=b"no"),
    "429": _other(status=429, headers={"Retry-After": "3"}, body=b""),
    "403": _other(status=403, headers={}, body=b""),
    "login page": _other(status=200, headers={"Content-Type": "text/html"}, body=LOGIN),
    "elsewhere": _other(status=302, headers={"Location": "http://169.254.169.254/"}, body=b""),
    "silent": lambda response: [FOREVER],
    "hangs behind the head": _cut(FOREVER, 0),
    "hangs in the body": _cut(FOREVER, 0.5),
    "late": lambda response: [3.0, *healthy(response)],
    "slow": _slow,
    "reset": lambda response: [ConnectionLost()],
    "reset behind the head": _cut(ConnectionLost(), 0),
    "reset in the body": _cut(ConnectionLost(), 0.5),
    "closed in the body": _cut(ConnectionDone(), 0.7),
    "corrupt": _corrupt,
    "truncated": _truncated,
    "without an end": _unmarked,
    "announces too much": _lying,
    "garbage": lambda response: [b"\x00nonsense\r\n\r\n", ConnectionDone()],
    "large head": _other(headers={f"X-{number}": "x" * 1000 for number in range(80)}),
}
"""By name: what is done in the place of a healthy answer."""


class Wire(StringTransport):
    """The index's end of a connection."""

    def __init__(self, index: MemoryIndex, host: str, protocol: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 80), lenient=True)
        self.index, self.origin, self.protocol = index, HOSTS[host], protocol
        self.steps: list[Step] = []
        self.ready_at, self.lost, self.faulty = 0.0, False, False
        protocol.makeConnection(self)

    def writeSequence(self, data: Any) -> None:  # noqa: N802
        super().writeSequence(data)
        self._look()

    def write(self, data: bytes) -> None:
        super().write(data)
        self._look()

    def _look(self) -> None:
        while b"\r\n\r\n" in self.value():
            head, _, rest = self.value().partition(b"\r\n\r\n")
            self.clear()
            super().write(rest)
            self.steps += self.index.answer(self, head)

    @property
    def busy(self) -> bool:
        """Whether an answer is not through."""
        return bool(self.steps) or self.ready_at > self.index.reactor.seconds()

    def turn(self) -> bool:
        """One step, if one is due; whether there was."""
        if self.lost or not self.steps or self.ready_at > self.index.reactor.seconds():
            return False
        if self.producerState != "producing" and isinstance(self.steps[0], bytes):
            return False
        match self.steps.pop(0):
            case bytes() as piece:
                self.protocol.dataReceived(piece)
            case float() as pause:
                self.ready_at = self.index.reactor.seconds() + pause
            case Exception() as reason:
                self.lose(reason)
        return True

    def lose(self, reason: Exception) -> None:
        """The connection has ended."""
        if not self.lost:
            self.lost = True
            self.index.wires.discard(self)
            self.protocol.connectionLost(Failure(reason))

    def loseConnection(self) -> None:  # noqa: N802
        self.abortConnection()

    def abortConnection(self) -> None:  # noqa: N802
        # Like a real one, it tells of its end in a later turn.
        if not self.lost:
            self.index.reactor.callLater(0, self.lose, ConnectionAborted())


@define(eq=False)
class MemoryIndex:
    """The index. `fault` is the one in force, by name, for paths below `place`; "refused" and "unreachable" are too."""

    reactor: MemoryReactorClock
    catalogue: Catalogue = field(factory=lambda: Catalogue("http://files.example"))
    registry: NpmCatalogue = field(factory=lambda: NpmCatalogue(url="http://cdn.example"))
    fault: str = ""
    place: str = "/"
    requests: list[str] = field(factory=list)
    healthy_answers: Counter[str] = field(factory=Counter)
    unanswered: list[Any] = field(factory=list)
    denied: dict[str, float] = field(factory=dict)
    """By path: when it was last answered with 404."""
    wires: set[Wire] = field(factory=set)

    def answer(self, wire: Wire, head: bytes) -> list[Step]:
        """What comes of a request."""
        line, *fields = head.decode("latin-1").split("\r\n")
        method, path, _ = line.split(" ")
        headers = {name.lower(): text for name, _, text in (each.partition(": ") for each in fields)}
        request = Request(wire.origin, method, path, "", headers)
        self.requests.append(path)
        response = (self.registry if wire.origin == "registry" else self.catalogue).answer(request)
        wire.faulty = bool(self.fault and path.startswith(self.place))
        if wire.faulty and self.fault in FAULTS:
            return FAULTS[self.fault](evolve(response, body=b"") if method == "HEAD" else response)
        self.healthy_answers[wire.origin] += 1
        if response.status == 404:
            self.denied[path] = self.reactor.seconds()
        return healthy(response, method == "HEAD")

    def connect(self) -> bool:
        """Accept or refuse those who want to connect; whether there were any."""
        wanted, self.reactor.tcpClients[:] = list(self.reactor.tcpClients), []
        connectors, self.reactor.connectors[:] = list(self.reactor.connectors), []
        for (host, _, factory, *_), connector in zip(wanted, connectors, strict=True):
            if connector.stoppedConnecting:
                continue
            if self.fault == "unreachable":
                self.unanswered.append(connector)
                continue
            if self.fault == "refused":
                factory.clientConnectionFailed(connector, Failure(Refused()))
                continue
            protocol = factory.buildProtocol(None)
            if protocol is not None:
                self.wires.add(Wire(self, host, protocol))
        return bool(wanted)

    def turn(self) -> bool:
        """Everybody's next step; whether there was any."""
        connected = self.connect()
        moved = sum(wire.turn() for wire in list(self.wires))
        return connected or moved > 0

    @property
    def troubled(self) -> bool:
        """Whether a fault is in force, or some answer that began under one is not through."""
        waiting = [connector for connector in self.unanswered if not connector.stoppedConnecting]
        return bool(self.fault or waiting) or any(wire.faulty and wire.busy for wire in self.wires)

    def hang_up(self) -> None:
        """Close every connection."""
        for wire in list(self.wires):
            wire.lose(ConnectionLost())
