"""Who may stay connected: a limit of connections in all, and one for each client. Bookkeeping alone, no IO.

Laws: at most `total` connections are seated, at most `per_client` of one client. Where there is no seat, the connection
that has idled longest makes way, of that client or of all; a connection that is being answered never does, nor does one
that is too fresh to have sent its request. Only when there is none is a newcomer refused: it stands, for one request,
which a health check may be. At most `room` stand; the one that stands longest makes way then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.events import Crowded, TurnedAway
from twisted_pypi.interfaces import Observer

UNLIMITED = 1 << 30

FRESH = 5.0
"""Seconds for which a new connection that was not asked anything yet keeps its seat, whoever comes."""

INTERVAL = 60.0
"""Seconds between two lines of the log about connections that were turned away."""


class Connection(Protocol):
    """What is admitted."""

    def dismiss(self) -> None:
        """Close: nothing is being answered."""


@define(eq=False)
class Admission:
    """The connections of one site, of which so many `entered` so far; `elsewhere` are with other processes.

    `per_client` 0 is no limit. `is_exempt(host)`: the address is a proxy's, behind which any number of clients are.
    """

    observer: Observer
    clock: IReactorTime
    total: int = UNLIMITED
    per_client: int = 0
    is_exempt: Callable[[str], bool] = lambda host: False
    entered: int = field(default=0, init=False)
    elsewhere: int = field(default=0, init=False)
    _seats: dict[Connection, str] = field(factory=dict, init=False)
    _clients: dict[str, dict[Connection, None]] = field(factory=dict, init=False)
    # Since when; in that order, as everyone is added at the end.
    _fresh: dict[Connection, float] = field(factory=dict, init=False)
    _kept: dict[Connection, float] = field(factory=dict, init=False)
    _standing: dict[Connection, None] = field(factory=dict, init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)
    _told: float | None = field(default=None, init=False)

    @property
    def room(self) -> int:
        """How many may stand."""
        return min(256, max(8, self.total // 4))

    @property
    def seated(self) -> int:
        """How many have a seat."""
        return len(self._seats)

    def enter(self, connection: Connection, host: str) -> bool:
        """Whether the newcomer has a seat; else it stands. `host` is its address, "" on a UNIX socket."""
        self.entered += 1
        client = "" if not host or self.is_exempt(host) else client_of(host)
        limit = self._limit_reached(client)
        if limit:
            victim = self._oldest_of(client) if limit == "client" else self._oldest()
            if victim is None:
                self._stand(connection, client, limit)
                return False
            self._dismiss(victim, "idle")
        self._seats[connection] = client
        self._fresh[connection] = self.clock.seconds()
        if client:
            self._clients.setdefault(client, {})[connection] = None
        return True

    def busy(self, connection: Connection) -> None:
        """A request of it is being answered."""
        if self._kept.pop(connection, None) is None:
            self._fresh.pop(connection, None)

    def idle(self, connection: Connection) -> None:
        """It was answered."""
        if connection in self._seats:
            self._kept[connection] = self.clock.seconds()

    def answered(self, connection: Connection) -> None:
        """A request of it came and was answered at once."""
        self.busy(connection)
        self.idle(connection)

    def leave(self, connection: Connection) -> None:
        """It is closed, or about to be. Idempotent."""
        self._standing.pop(connection, None)
        self._fresh.pop(connection, None)
        self._kept.pop(connection, None)
        client = self._seats.pop(connection, "")
        if client:
            del self._clients[client][connection]
            if not self._clients[client]:
                del self._clients[client]

    def turned_away(self, client: str, reason: str) -> None:
        """Report a connection that was refused or closed: each as an event, all together once in `INTERVAL`."""
        self.observer(TurnedAway(client, reason))
        self._counts[reason] += 1
        now = self.clock.seconds()
        if self._told is None or now - self._told >= INTERVAL:
            counts = ", ".join(f"{count} {_WORDS[reason]}" for reason, count in sorted(self._counts.items()))
            self.observer(Crowded(counts, client, self.seated, self.total))
            self._counts.clear()
            self._told = now

    def _limit_reached(self, client: str) -> str:
        if client and self.per_client and len(self._clients.get(client, ())) >= self.per_client:
            return "client"
        return "total" if len(self._seats) >= self.total else ""

    def _oldest(self) -> Connection | None:
        """Who has idled longest of all."""
        kept, fresh = next(iter(self._kept), None), next(iter(self._fresh), None)
        if fresh is None or not self._is_settled(fresh):
            return kept
        return fresh if kept is None or self._fresh[fresh] < self._kept[kept] else kept

    def _oldest_of(self, client: str) -> Connection | None:
        """Who has idled longest of one client's."""
        theirs = self._clients[client]
        idle = {connection: self._kept[connection] for connection in theirs if connection in self._kept}
        fresh = (connection for connection in theirs if connection in self._fresh and self._is_settled(connection))
        idle.update((connection, self._fresh[connection]) for connection in fresh)
        return min(idle, key=idle.__getitem__, default=None)

    def _is_settled(self, connection: Connection) -> bool:
        return self.clock.seconds() - self._fresh[connection] >= FRESH

    def _stand(self, connection: Connection, client: str, limit: str) -> None:
        if len(self._standing) >= self.room:
            self._dismiss(next(iter(self._standing)), "standing")
        self._standing[connection] = None
        self.turned_away(client, limit)

    def _dismiss(self, connection: Connection, reason: str) -> None:
        client = self._seats.get(connection, "")
        self.leave(connection)
        self.turned_away(client, reason)
        connection.dismiss()


_WORDS = {
    "client": "refused, as their client had too many",
    "idle": "closed while idle, to make room",
    "slow": "closed, as their request took too long to arrive",
    "standing": "closed without an answer",
    "total": "refused, as all were busy",
}
"""The reasons that `turned_away` takes, as the log says them."""


@lru_cache(maxsize=4096)
def client_of(host: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 subscriber has (RFC 6177)."""
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None or not isinstance(address, IPv6Address):
        return str(mapped or address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def connections_for(descriptors: int, fetches: int, kept: int = 0) -> int:
    """How many connections the limit of open files allows, `kept` of which stay open for whoever asks next.

    Each may read a file of the cache, which takes a second descriptor. Upstream's, with the files that they are written
    to, have a share of their own, and so have the catalogue, the logs and the listening sockets.
    """
    left = descriptors - OWN_DESCRIPTORS - kept
    return max(8, min(MOST_CONNECTIONS, (left - min(4 * fetches, left // 3)) // 2))


OWN_DESCRIPTORS = 32
"""Of the daemon itself: catalogue, directories, logs, listening sockets, the reactor's own."""

MOST_CONNECTIONS = 8192
"""The default is never more: each connection takes some memory, too."""
