"""Documents whose absolute links are completed for the base URL that a client uses.

They are never stored so; what was made is kept in memory while there is room. Its bytes follow from the stored
template, the base URL and the coding, and so does its name: it is never wrong, and known before it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import lru_cache, partial
from weakref import WeakValueDictionary

from attrs import define, field, frozen

from twisted_pypi.answers import ByteSource
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.interfaces import Workers
from twisted_pypi.lru import Lru
from twisted_pypi.storage.coding import encoded
from twisted_pypi.web.sending import MemorySource, pieces_of

Template = Callable[[], Awaitable[bytes | ByteSource]]

LIMIT = 16 << 20
"""Bytes of finished documents that are kept."""

_INLINE = 16 << 10  # what is larger is finished in a thread


@frozen
class Finished:
    """One document as one client gets it: `template` is the digest of the stored body, of `length` bytes.

    `placeholder` there becomes `base`, with its final slash.
    """

    template: str
    length: int
    placeholder: bytes
    base: bytes
    encoding: str

    @property
    def digest(self) -> str:
        """A hex digest of what its bytes follow from."""
        return _digest(self.template, self.base, self.encoding)


@define(eq=False)
class Large:
    """A body that is kept only while it is sent."""

    data: bytes

    def source(self) -> MemorySource:
        """All of it, for one client."""
        return _Shared(self.data, large=self)


@define(eq=False)
class _Shared(MemorySource):
    large: Large | None = field(default=None, kw_only=True)

    def close(self) -> None:
        """Give back the bytes."""
        super().close()
        self.large = None


@define(eq=False)
class Finishing:
    """Makes them, each once for all who wait for it."""

    workers: Workers
    _made: Lru[Finished, bytes] = field(factory=lambda: Lru(LIMIT, len), init=False)
    _large: WeakValueDictionary[Finished, Large] = field(factory=WeakValueDictionary, init=False)
    """What is too large for that, while it is sent to anybody: however many slow clients there are, they share it."""

    _flights: Singleflight[bytes | Large] = field(factory=Singleflight, init=False)

    def at_hand(self, finished: Finished) -> bytes | Large | None:
        """The body, if it is in memory."""
        made = self._made.get(finished)
        return self._large.get(finished) if made is None else made

    async def body(self, finished: Finished, template: Template) -> bytes | Large:
        """The body. What `template` raises passes through."""
        made = self.at_hand(finished)
        return await self._flights.do(finished, partial(self._make, finished, template)) if made is None else made

    async def _make(self, finished: Finished, template: Template) -> bytes | Large:
        body = await template()
        if isinstance(body, bytes) and len(body) <= _INLINE:
            made = _finish(finished, body)
        else:
            try:
                made = await self.workers.run(_finish, finished, body)
            finally:
                # Here and not in the thread: who reads what is counted by the store, which has no lock for that.
                if not isinstance(body, bytes):
                    body.close()
        if len(made) > LIMIT:
            return self._large.setdefault(finished, Large(made))
        self._made.put(finished, made)
        return made


def _finish(finished: Finished, template: bytes | ByteSource) -> bytes:
    pieces = [template] if isinstance(template, bytes) else pieces_of(template, finished.length)
    body = completed(pieces, finished.placeholder, finished.base)
    return b"".join(body if finished.encoding == "identity" else encoded(body, finished.encoding))


def completed(pieces: Iterable[bytes], placeholder: bytes, base: bytes) -> Iterator[bytes]:
    """The pieces with `base` for each `placeholder`, wherever they are divided.

    A template of 50 MB is never whole in memory so, nor is the interpreter's lock held while all of it is copied.
    """
    kept = b""
    for piece in pieces:
        *done, rest = (kept + piece).split(placeholder)
        cut = max(0, len(rest) - len(placeholder) + 1)  # what follows may begin a placeholder
        yield base.join([*done, rest[:cut]])
        kept = rest[cut:]
    yield kept


@lru_cache(maxsize=4096)
def _digest(template: str, base: bytes, encoding: str) -> str:
    return hashlib.sha256(b"\0".join((template.encode(), base, encoding.encode()))).hexdigest()
