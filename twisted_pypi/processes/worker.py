"""A worker: takes connections, answers what it was lent an answer for, and passes all else to the owner.

It parses nothing. A connection on which anything comes but a request that the owner knows, whole and alone, goes to the
owner with the bytes that came, for good or until the owner gives it back; the owner then serves it as if it had
accepted it. While there is no owner, connections wait here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Factory

from twisted_pypi.events import Event
from twisted_pypi.processes.doors import Door
from twisted_pypi.processes.frames import Leave, Message, Report, Rules
from twisted_pypi.processes.leases import Leases
from twisted_pypi.processes.links import Ends, Link, Waiting
from twisted_pypi.processes.usage import used
from twisted_pypi.web import transport
from twisted_pypi.web.admission import Admission
from twisted_pypi.web.clients import is_trusted
from twisted_pypi.web.deadlines import Sweeper
from twisted_pypi.web.lag import LagSampler

PATIENCE = 10.0
"""Seconds that a connection waits for an owner before it is answered that there is none."""

REPORT = 1.0
"""Seconds between two reports to the owner."""

EVENTS = 50
"""Events in one frame: each may name a request target and an agent, and a frame must not exceed `frames.LARGEST`."""

MOST_EVENTS = 50_000
"""Different events that are kept while there is no owner; more are not counted."""

AGAIN = 0.1
"""Seconds until the owner is looked for again."""

_BODY = b"The cache is being restarted\n"
_NO_OWNER = (
    b"HTTP/1.1 503 The cache is being restarted\r\nServer: pypicache\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 2\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_BODY), _BODY)
)


@define(eq=False)
class Worker:
    """The factory's side of one worker process. `wall` is the time of day, `reactor` gives all else.

    `usage` tells the process' resident bytes and its seconds of CPU time.
    """

    reactor: Any
    wall: Any
    total: int
    path: str
    usage: Callable[[], tuple[int, float]] = used
    leases: Leases = field(init=False)
    admission: Admission = field(init=False)
    sweeper: Sweeper = field(init=False)
    lag: LagSampler = field(init=False)
    factory: Factory = field(init=False)
    ending: bool = field(default=False, init=False)
    grace: float = field(default=10.0, init=False)
    _doors: set[Door] = field(factory=set, init=False)
    _link: Link | None = field(default=None, init=False)
    _waiting: dict[int, tuple[Waiting, Any]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)
    _counts: dict[int, list[Any]] = field(factory=dict, init=False)
    _told: int = field(default=0, init=False)
    _left: bool = field(default=False, init=False)
    _empty: list[Deferred[None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.leases = Leases(self._happened, self.wall)
        self.admission = Admission(self._happened, self.reactor, self.total)
        self.sweeper = Sweeper(self.reactor)
        self.lag = LagSampler(self.reactor, self._happened, worker=True)
        self.factory = Factory.forProtocol(lambda: Door(self))
        self.factory.noisy = False

    def start(self) -> None:
        """Look for the owner, and report to it now and then."""
        self._connect()
        self.lag.start()
        self.reactor.callLater(REPORT, self._report_again)

    # -- connections of clients ----------------------------------------------------------------------------------

    def opened(self, door: Door) -> None:
        """There is a new connection."""
        self._doors.add(door)
        self.sweeper.watch(door)  # type: ignore[arg-type]

    def closed(self, door: Door) -> None:
        """A connection is closed or passed on."""
        self._doors.discard(door)
        self.sweeper.forget(door)  # type: ignore[arg-type]
        self.admission.leave(door)
        self._tell_empty()

    def pass_on(self, connection: socket.socket, data: bytes) -> None:
        """The owner is to answer what came over this connection, and whatever comes after it."""
        if self._link is not None:
            self.report()  # so that what is known of a client comes in its order
            self._link.give(connection, data)
            return
        if len(self._waiting) >= self.admission.total:
            _turn_away(connection)
            return
        self._count += 1
        number = self._count
        timer = self.reactor.callLater(PATIENCE, self._refuse, number)
        self._waiting[number] = (connection, data), timer

    def _refuse(self, number: int) -> None:
        (connection, _), _ = self._waiting.pop(number)
        _turn_away(connection)
        self._tell_empty()

    # -- the owner -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if not (self.ending and not self._waiting):
            ends = Ends(self._linked, self._received, self._given_back, self._unlinked, self.reactor, self._tell_empty)
            self.reactor.connectUNIX(self.path, _Connector(lambda: Link(ends), self._connect_later))

    def _connect_later(self) -> None:
        self.reactor.callLater(AGAIN, self._connect)

    def _linked(self, link: Link) -> None:
        self._link, self._told, self._left = link, 0, False
        if self.ending:
            link.send(Leave())
        waiting, self._waiting = self._waiting, {}
        for (connection, data), timer in waiting.values():
            timer.cancel()
            link.give(connection, data)

    def _unlinked(self, link: Link, unconfirmed: list[Waiting]) -> None:
        self._link = None
        self.leases.clear()
        for connection, data in unconfirmed:
            self.pass_on(connection, data)
        self._tell_empty()
        self._connect_later()

    def _received(self, link: Link, message: Message) -> None:
        match message:
            case Rules():
                self.leases.use(message)
                self.grace, self.admission.per_client = message.grace, message.per_client
                for door in self._doors:
                    door.client = None
                self.admission.is_exempt = lambda host: not host or is_trusted(host, self.leases.trusted)
            case Leave():
                self._left = True
                self._tell_empty()
            case Report():
                raise ValueError("reports are for the owner")
            case _:
                self.leases.put(message)  # type: ignore[arg-type]

    def _given_back(self, link: Link, connection: socket.socket, data: bytes) -> None:
        if self.ending:
            self.pass_on(connection, data)
        else:
            transport.attach(connection, self.factory, self.reactor)

    # -- reports -------------------------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        # By identity: the same answer is the same event, and the list keeps it alive.
        tally = self._counts.get(id(event))
        if tally is None:
            if len(self._counts) >= MOST_EVENTS:
                return
            tally = self._counts[id(event)] = [event, 0]
        tally[1] += 1

    def report(self) -> None:
        """Tell the owner what happened since the last report; while there is none, later."""
        connections = len(self._doors)
        if self._link is not None and (self._counts or connections != self._told):
            counts, self._counts = self._counts, {}
            self._told = connections
            told = tuple((event, count) for event, count in counts.values())
            for start in range(0, max(1, len(told)), EVENTS):
                self._link.send(Report(connections, told[start : start + EVENTS], self.usage()))

    def _report_again(self) -> None:
        self.report()
        self.reactor.callLater(REPORT, self._report_again)

    # -- the end -------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """Close what idles, pass on the rest, wait for what is being sent, for the grace at most; report."""
        self.ending = True
        self.lag.stop()
        for door in tuple(self._doors):
            door.leave()
        if self._link is not None:
            self._link.send(Leave())
        done: Deferred[None] = Deferred()
        self._empty.append(done)
        self._tell_empty()
        done.addTimeout(self.grace, self.reactor)
        with suppress(Exception):
            await done
        self.report()
        if self._link is not None:
            over: Deferred[None] = Deferred()
            self._empty.append(over)
            closing: Any = self._link.transport
            closing.loseConnection()
            over.addTimeout(self.grace, self.reactor)
            with suppress(Exception):
                await over

    def _tell_empty(self) -> None:
        left = self._link is None or (self._left and not self._link.giving)
        if self._empty and left and not self._doors and not self._waiting:
            done = self._empty.pop()
            if not done.called:
                done.callback(None)


def _turn_away(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.send(_NO_OWNER)
        connection.shutdown(socket.SHUT_WR)
    connection.close()


class _Connector(ClientFactory):
    """Makes one link; tells when it can't."""

    noisy = False

    def __init__(self, make: Callable[[], Link], failed: Callable[[], None]) -> None:
        self._make, self._failed = make, failed

    def buildProtocol(self, addr: IAddress | None) -> Link:  # noqa: N802
        """See `ClientFactory`."""
        return self._make()

    def clientConnectionFailed(self, connector: object, reason: object) -> None:  # noqa: N802
        """See `ClientFactory`."""
        self._failed()
