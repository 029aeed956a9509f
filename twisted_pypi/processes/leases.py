"""The answers that a worker may give by itself, lent by the owner for what is left of the second in which it gave them.

Laws: the same bytes, from a client of which the owner need not look at each request, get the same answer, within the
same second, while the file behind it is the one that it was (one `os.stat`). Everything else is the owner's.
"""

from __future__ import annotations

import os
from ipaddress import ip_network

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Seal
from twisted_pypi.events import Served
from twisted_pypi.interfaces import Observer
from twisted_pypi.lru import Lru
from twisted_pypi.processes.frames import Rules
from twisted_pypi.web.clients import Networks, is_allowed, is_trusted
from twisted_pypi.web.memo import LIMIT, Lasting, Pieces

_MOST_SERVED = 4096


def _weight(lease: Lasting) -> int:
    return len(lease.head) + sum(map(len, lease.pieces))


@define(eq=False)
class Leases:
    """Implements `web.repeating.Repeats`. `clock` is the time of day; requests of `trusted` proxies are the owner's."""

    observer: Observer
    clock: IReactorTime
    trusted: Networks = ()
    _allow: Networks = ()
    _known: bool = False
    _held: Lru[bytes, Lasting] = field(factory=lambda: Lru(LIMIT, _weight), init=False)
    _served: dict[tuple[int, str], tuple[Served, Served]] = field(factory=dict, init=False)

    def use(self, rules: Rules) -> None:
        """What was lent so far is void."""
        self._allow, self.trusted = _networks(rules.allow), _networks(rules.trusted)
        self._known = True
        self.clear()

    def clear(self) -> None:
        """Nothing is lent any more."""
        self._held.clear()

    def put(self, lease: Lasting) -> None:
        """The owner lends this answer."""
        self._held.put(lease.head, lease)

    def client_of(self, peer: str) -> str | None:
        """See `Repeats`."""
        allowed = self._known and is_allowed(peer, self._allow) and not is_trusted(peer, self.trusted)
        return peer if allowed else None

    def again(self, head: bytes, client: str) -> Pieces | None:
        """The answer to a request with this head, reported already; None when it is for the owner to answer."""
        lease: Lasting | None = self._held.get(head)
        if lease is None:
            return None
        if lease.second != int(self.clock.seconds()) or not _fits(lease.seal):
            self._held.pop(head)
            return None
        self.observer(self._for_client(lease.served, client))
        return lease.pieces

    def _for_client(self, served: Served, client: str) -> Served:
        """The same object each time for each client: who counts them need not compare them."""
        if served.client == client:
            return served
        made = self._served.get((id(served), client))
        if made is None or made[0] is not served:
            if len(self._served) >= _MOST_SERVED:
                self._served.clear()
            made = self._served[id(served), client] = served, evolve(served, client=client)
        return made[1]


def _fits(seal: Seal) -> bool:
    try:
        state = os.stat(seal.path, follow_symlinks=False)
    except OSError:
        return False
    return (state.st_ino, state.st_mtime_ns, state.st_size) == (seal.inode, seal.mtime_ns, seal.size)


def _networks(texts: tuple[str, ...]) -> Networks:
    return tuple(map(ip_network, texts))
