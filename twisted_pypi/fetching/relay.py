"""A body passed straight to one client, through a bounded window: nothing of it is stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred

from twisted_pypi.digests import Digests
from twisted_pypi.events import Event
from twisted_pypi.fetching.integrity import HOLD_BACK, first_mismatch, refuse
from twisted_pypi.interfaces import FetchedBody, Observer

WINDOW = 256 << 10
"""Nothing more is read from upstream while so many bytes wait for the client; one read may add as many."""


def _nobody(event: Event) -> None:
    pass


@define(eq=False)
class RelaySource:
    """A `answers.ByteSource` over `body`, which it owns from now on; read forward only.

    `expected` maps algorithms to hex digests; if there are any, the last 16 KiB are held back until they match.
    `length` is what the body must have, if known.
    """

    body: FetchedBody
    expected: Mapping[str, str]
    length: int | None
    url: str = ""
    observer: Observer = _nobody
    finished: bool = field(default=False, init=False)
    failure: Exception | None = field(default=None, init=False)
    _digests: Digests = field(init=False)
    _chunks: deque[bytes] = field(factory=deque, init=False)
    _position: int = field(default=0, init=False)
    _received: int = field(default=0, init=False)
    _wanted: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _room: Deferred[None] | None = field(default=None, init=False)
    _changed: Callable[[], None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._digests = Digests(self.expected)
        Deferred.fromCoroutine(self._run())

    def read(self, position: int, limit: int) -> bytes:
        """See `answers.ByteSource`. Raises `ValueError` for a position before that of an earlier read."""
        if position < self._wanted:
            raise ValueError(f"position {position} has passed")
        self._wanted = position
        self._drop()
        allowed = min(limit, self._available - position)
        return self._slice(position - self._position, allowed) if allowed > 0 else b""

    def extent(self, position: int) -> None:
        """See `answers.ByteSource`: in no file."""

    def hexdigest(self, algorithm: str) -> str:
        """The digest of everything received so far. `ValueError` for one that is neither expected nor SHA-256."""
        return self._digests.hexdigest(algorithm)

    def subscribe(self, changed: Callable[[], None]) -> None:
        """See `answers.ByteSource`."""
        self._changed = changed

    def close(self) -> None:
        """Abandon the body. Idempotent."""
        self._closed = True
        self._changed = None
        self._chunks.clear()
        self._position = self._received
        self.body.abandon()
        self._wake()

    @property
    def _available(self) -> int:
        return self._received if self.finished or not self.expected else self._received - HOLD_BACK

    async def _run(self) -> None:
        try:
            await self._pump()
        except Exception as error:
            if not self._closed:
                self.body.abandon()
                self.failure = error
                self._notify()

    async def _pump(self) -> None:
        if self.body.length is not None:
            self._check_length(self.body.length)
        while data := await self.body.read():
            self._digests.update(data)
            self._chunks.append(data)
            self._received += len(data)
            if self.length is not None and self._received > self.length:
                self._check_length(self._received)
            self._notify()
            self._drop()
            # Counted from what the reader has, not from what could be dropped: a piece may be as large as the window,
            # and its end be held back until more comes.
            while self._received - self._wanted >= WINDOW and not self._closed:
                self._room = Deferred()
                await self._room
        self._check_length(self._received)
        mismatch, _ = first_mismatch(self.expected, self._digests.hexdigest)
        if mismatch is not None:
            refuse(self.observer, self.url, *mismatch)
        self.length = self._received
        self.finished = True
        self._notify()

    def _check_length(self, length: int) -> None:
        if self.length is not None and length != self.length:
            refuse(self.observer, self.url, "length", str(self.length), str(length))

    def _drop(self) -> None:
        """Forget what the reader has behind it, which makes room for more."""
        while self._chunks and self._position + len(self._chunks[0]) <= self._wanted:
            self._position += len(self._chunks.popleft())
        self._wake()

    def _slice(self, skip: int, size: int) -> bytes:
        pieces: list[bytes] = []
        for chunk in self._chunks:
            piece = chunk[skip : skip + size]
            skip = max(0, skip - len(chunk))
            size -= len(piece)
            pieces.append(piece)
            if not size:
                break
        return b"".join(pieces)

    def _wake(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed()
