"""The owner's end: it serves the connections that workers pass on, lends them answers, and hears what they answered."""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from twisted_pypi.answers import Seal
from twisted_pypi.events import WorkersUsed
from twisted_pypi.processes.frames import Leave, Message, Report, Rules
from twisted_pypi.processes.links import Ends, Link, Waiting
from twisted_pypi.settings import Settings
from twisted_pypi.web import transport
from twisted_pypi.web.memo import Lasting, Memo
from twisted_pypi.web.repeating import Repeats
from twisted_pypi.web.site import CacheChannel, CacheSite


class PassedChannel(CacheChannel):
    """A client's connection that came from a worker, over `link`."""

    link: Link | None = None
    house: Any = None

    def _answered_again(self, memo: Repeats, data: bytes, client: str) -> bool:
        """After an answer that the worker could have given as well, it may go on from there."""
        answered = super()._answered_again(memo, data, client)
        if answered and isinstance(memo, Memo):
            self.house.lend(self, memo, data)
        return answered


@define
class _Lent:
    """What one worker was lent in this second."""

    _second: int = 0
    _answers: set[tuple[bytes, Seal]] = field(factory=set)

    def note(self, lasting: Lasting) -> bool:
        """Whether this is news."""
        if lasting.second != self._second:
            self._second = lasting.second
            self._answers.clear()
        before = len(self._answers)
        self._answers.add((lasting.head, lasting.seal))
        return len(self._answers) > before


@define(eq=False)
class House:
    """What the owner has in the place of `listening.Listeners`: the workers' links, on the UNIX socket `descriptor`.

    `shown` are the addresses that clients connect to, for people.
    """

    reactor: Any
    settings: Settings
    descriptor: int
    shown: list[str]
    _site: CacheSite | None = field(default=None, init=False)
    _port: IListeningPort | None = field(default=None, init=False)
    _links: dict[Link, Report] = field(factory=dict, init=False)
    _lent: dict[Link, _Lent] = field(factory=dict, init=False)

    # -- as `Listeners` ------------------------------------------------------------------------------------------

    def bind(self, site: CacheSite) -> None:
        """Let workers come."""
        self._site = site
        site.protocol = PassedChannel
        ends = Ends(self._opened, self._received, self._taken, self._closed, self.reactor)
        factory = Factory.forProtocol(lambda: Link(ends))
        factory.noisy = False
        self._port = self.reactor.adoptStreamPort(self.descriptor, socket.AF_UNIX, factory)

    def pace(self, accepted: object) -> None:
        """Workers are few."""

    def addresses(self) -> list[str]:
        """Where clients connect."""
        return self.shown

    def use(self, settings: Settings) -> None:
        """Other settings are in force: what was lent before is void."""
        self.settings = settings
        for link in tuple(self._lent):
            self._opened(link)

    async def close(self) -> None:
        """No more workers."""
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
            self._port = None
        for link in tuple(self._links):
            closing: Any = link.transport
            closing.loseConnection()

    # -- workers -------------------------------------------------------------------------------------------------

    def lend(self, channel: PassedChannel, memo: Memo, head: bytes) -> None:
        """Lend the answer to `head`, if it can be lent, and give the connection back with it if nothing is unsent."""
        link = channel.link
        lasting = memo.lasting(head) if link in self._lent else None
        if link is None or lasting is None:
            return
        if self._lent[link].note(lasting):
            link.send(lasting)
        connection: Any = channel.transport
        if connection.flushed:
            link.give(connection.detach())

    def _opened(self, link: Link) -> None:
        settings = self.settings
        self._links.setdefault(link, Report(0))
        self._lent[link] = _Lent()
        allow, trusted = tuple(map(str, settings.allow)), tuple(map(str, settings.trusted_proxy))
        link.send(Rules(allow, trusted, settings.max_client_connections, settings.grace))

    def _closed(self, link: Link, unconfirmed: list[Waiting]) -> None:
        self._links.pop(link, None)
        self._lent.pop(link, None)
        self._count()
        self._tell_usage(0.0)
        for connection, data in unconfirmed:
            self._serve(None, connection, data)

    def _taken(self, link: Link, connection: socket.socket, data: bytes) -> None:
        self._serve(link, connection, data)

    def _serve(self, link: Link | None, connection: socket.socket, data: bytes) -> None:
        assert self._site is not None
        channel = transport.attach(connection, self._site, self.reactor)
        if isinstance(channel, PassedChannel):
            channel.link, channel.house = link, self
            if data:
                channel.dataReceived(data)

    def _count(self) -> None:
        if self._site is not None:
            self._site.admission.elsewhere = sum(report.connections for report in self._links.values())

    def _tell_usage(self, seconds: float) -> None:
        if self._site is not None:
            memory = sum(report.usage[0] for report in self._links.values())
            self._site.observer(WorkersUsed(len(self._links), memory, seconds))

    def _received(self, link: Link, message: Message) -> None:
        assert self._site is not None
        if isinstance(message, Leave):
            self._lent.pop(link, None)
            link.send(message)
            return
        if not isinstance(message, Report):
            raise ValueError("only reports come from workers")
        before, self._links[link] = self._links.get(link, message), message
        self._count()
        self._tell_usage(message.usage[1] - before.usage[1])
        for event, count in message.counts:
            for _ in range(count):
                self._site.observer(event)
