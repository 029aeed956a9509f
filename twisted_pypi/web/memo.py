"""Answers that are given again without being made again: installers send the same few request heads over and over.

Laws:
- an answer gets in here only after the ordinary path, with all its checks, gave it to exactly these bytes, which were
  one whole request: there is no second parser, and whatever is odd about a request never gets here;
- it is good within the second in which it was made (`Date`, `max-age`, `ttl`) and while `Reply.still` says so; after
  that the ordinary path makes it anew, from the request as it was parsed then;
- nothing holds the page or file of an answer much longer than that: what was asked stays, what was answered doesn't;
- what differs from one connection to the next is decided once for each (`client_of`), or keeps it out of here.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.answers import Seal, Still
from twisted_pypi.errors import CacheError
from twisted_pypi.events import Served
from twisted_pypi.interfaces import Observer
from twisted_pypi.lru import Lru
from twisted_pypi.web.clients import Ask, Networks, is_allowed, is_trusted
from twisted_pypi.web.responding import Reply, Window, reason_of
from twisted_pypi.web.site import response_head

LIMIT = 8 << 20
"""Bytes of requests and answers that are remembered."""

LARGEST = 128 << 10
"""Bytes of a body up to which its answer is remembered."""

_JOINED = 16 << 10  # up to here a copy costs less than a second piece
_OVERHEAD = 3000  # what an entry takes beside request and answer
_CLIENTS = 64
_MOST_ONCE = 16384

Pieces = tuple[bytes, ...]

_NO_MORE = Still(lambda: False, lambda: None)


@define(eq=False)
class _Hot:
    """One answer, good for `second`. `served` is what is reported of it, by client."""

    ask: Ask
    second: int
    still: Still
    pieces: Pieces
    served: dict[str, Served]
    weight: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.weight = _OVERHEAD + sum(map(len, self.pieces))

    def cool(self) -> None:
        """Its second has passed: let go of what it was made of. The weight stays, for it will be made anew."""
        self.still, self.pieces = _NO_MORE, ()


@frozen
class Lasting:
    """An answer that another process may give to a request with this head, within `second` and while `seal` fits.

    `served` is to be reported each time, with the client who it was for.
    """

    head: bytes
    second: int
    pieces: Pieces
    seal: Seal
    served: Served


def _weight(hot: _Hot) -> int:
    return hot.weight


@define(eq=False)
class Memo:
    """Remembers answers by the bytes of their requests.

    `answer` is the ordinary path from the parsed request on: the reply if it is at hand, else None.
    """

    answer: Callable[[Ask], Reply | None]
    observer: Observer
    clock: IReactorTime
    allow: Networks = ()
    trusted_proxy: Networks = ()
    _hot: Lru[bytes, _Hot] = field(factory=lambda: Lru(LIMIT, _weight), init=False)
    _once: set[int] = field(factory=set, init=False)
    _second: int = field(default=0, init=False)
    _made: set[bytes] = field(factory=set, init=False)
    """The heads to which answers were made in `_second`."""

    @property
    def held(self) -> tuple[int, int]:
        """How many requests are remembered, and their bytes with those of their answers."""
        return len(self._hot), self._hot.weight

    def client_of(self, peer: str) -> str | None:
        """Who is at the other end, as events name it; None for one whose requests have to be looked at each time."""
        allowed = is_allowed(peer, self.allow) and not is_trusted(peer, self.trusted_proxy)
        return peer if allowed else None

    def again(self, head: bytes, client: str) -> Pieces | None:
        """The answer to a request with this head, reported already; None when the ordinary path has to answer."""
        hot: _Hot | None = self._hot.get(head)
        if hot is None:
            return None
        if hot.second != int(self.clock.seconds()) or not hot.still():
            hot = self._made_anew(head, hot)
            if hot is None:
                return None
        served = hot.served.get(client)
        self.observer(served if served is not None else _for_client(hot.served, client))
        return hot.pieces

    def lasting(self, head: bytes) -> Lasting | None:
        """What was answered to this head a moment ago, if others may answer so too."""
        hot: _Hot | None = self._hot.get(head)
        if hot is None or hot.second != int(self.clock.seconds()):
            return None
        seal = hot.still.seal()
        return None if seal is None else Lasting(head, hot.second, hot.pieces, seal, next(iter(hot.served.values())))

    def keep(self, head: bytes, ask: Ask, reply: Reply, served: Served) -> None:
        """Remember the reply that was sent to a request with this head, and `served`, which was reported of it.

        At its second time: of the heads that are never seen again, not much is kept.
        """
        if hash(head) not in self._once:
            if len(self._once) >= _MOST_ONCE:
                self._once.clear()
            self._once.add(hash(head))
            return
        # What the ordinary path took stays under the access log's resolution.
        self._put(head, ask, reply, {served.client: evolve(served, seconds=0.0)})

    def _put(self, head: bytes, ask: Ask, reply: Reply, served: dict[str, Served]) -> _Hot | None:
        body = b"" if ask.head else reply.body
        if reply.still is None or not isinstance(body, bytes) or len(body) > LARGEST:
            return None
        second = int(self.clock.seconds())
        top = response_head(reply.status, reason_of(reply), reply.lines, second)
        pieces = (top, body) if len(body) > _JOINED else (top + body,)
        hot = _Hot(ask, second, reply.still, pieces, served)
        if second != self._second:
            self._cool()
            self._second = second
        self._made.add(head)
        self._hot.put(head, hot)
        return hot

    def _cool(self) -> None:
        for head in self._made:
            hot = self._hot.peek(head)
            if hot is not None:
                hot.cool()
        self._made.clear()

    def _made_anew(self, head: bytes, hot: _Hot) -> _Hot | None:
        try:
            reply = self.answer(hot.ask)
        except CacheError:
            reply = None
        made = None if reply is None else self._put(head, hot.ask, reply, _same_served(hot, reply))
        if made is None:
            if reply is not None and isinstance(reply.body, Window):
                reply.body.source.close()
            self._hot.pop(head)
        return made


def _same_served(hot: _Hot, reply: Reply) -> dict[str, Served]:
    """What is reported, if nothing in it has changed; else made anew from it."""
    served = next(iter(hot.served.values()))
    size = len(reply.body) if isinstance(reply.body, bytes) and not hot.ask.head else 0
    if (served.status, served.size) == (reply.status, size):
        return hot.served
    return {served.client: evolve(served, status=reply.status, size=size)}


def _for_client(all_served: dict[str, Served], client: str) -> Served:
    served = evolve(next(iter(all_served.values())), client=client)
    if len(all_served) >= _CLIENTS:
        all_served.clear()
    all_served[client] = served
    return served
