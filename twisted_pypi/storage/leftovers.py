"""Partial files that wait to be gone on with: in `tmp/`, each with a note beside it that says what it is of.

Laws: what is unknown, older than a week, or beyond a tenth of the cache goes. Where no digest is known only bytes count
that were flushed in order and are still the same; else all that are there, and the digest decides in the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import orjson
from attrs import asdict, define, field, frozen

from twisted_pypi.digests import Digests
from twisted_pypi.records import PartialOrigin
from twisted_pypi.storage.digests import digests_of
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.tree import Tree

LONGEST = 7 * 86400.0
SHARE = 10
_CHUNK = 1 << 20


@frozen
class Note:
    """What is written beside a partial file. `size` bytes with this SHA-256 were flushed; 0: it never came to that."""

    key: str
    origin: PartialOrigin
    size: int = 0
    sha256: str = ""

    def encode(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> Note:
        """Raises `ValueError` for anything that isn't a note."""
        try:
            said: dict[str, Any] = orjson.loads(data)
            note = cls(**{**said, "origin": PartialOrigin(**said["origin"])})
            length = note.origin.length
            sound = isinstance(note.key, str) and isinstance(note.origin.hashes, Mapping) and isinstance(note.size, int)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a note: {error}") from error
        if not sound or not (length is None or isinstance(length, int)):
            raise ValueError("not a note")
        return note


@frozen
class Leftover:
    """One partial file; `size` is what it takes on disk, `used` when it was last written (seconds since the epoch)."""

    name: str
    note: Note
    size: int
    used: float


def surplus(kept: Iterable[Leftover], now: float, limit: int) -> list[Leftover]:
    """Which have to go: what is too old, and the oldest of what takes more than its share of `limit` bytes."""
    gone, taken = [], 0
    for each in sorted(kept, key=lambda leftover: leftover.used, reverse=True):
        taken += each.size
        if taken > limit // SHARE or now - each.used > LONGEST:
            gone.append(each)
            taken -= each.size
    return gone


@define(eq=False)
class Leftovers:
    """What was kept, by key: one of each. Changed in the reactor thread alone."""

    engine: Engine
    _kept: dict[str, Leftover] = field(factory=dict, init=False)

    async def load(self) -> list[str]:
        """Find what an earlier run left. The names of what is of no use."""
        names, found = await self.engine.workers.run(self._look)
        for leftover in sorted(found, key=lambda each: each.size):
            self._kept[leftover.note.key] = leftover
        for leftover in surplus(self._kept.values(), self.engine.clock.seconds(), self.engine.limits.total):
            del self._kept[leftover.note.key]
        used = {leftover.name for leftover in self._kept.values()}
        self.engine.partial_bytes += sum(leftover.size for leftover in self._kept.values())
        return [name for name in names if self.engine.tree.data_of(name) not in used]

    def take(self, key: str) -> Leftover | None:
        """What is kept under this key; it is the caller's now."""
        return self._kept.pop(key, None)

    async def add(self, leftover: Leftover) -> None:
        """Keep this one, in place of what was kept under its key, and drop what is too much then."""
        before = self._kept.pop(leftover.note.key, None)
        self._kept[leftover.note.key] = leftover
        gone = surplus(self._kept.values(), self.engine.clock.seconds(), self.engine.limits.total)
        for each in gone:
            del self._kept[each.note.key]
        for each in [*gone, *([before] if before else [])]:
            await self.discard(each)

    async def discard(self, leftover: Leftover) -> None:
        """Delete one that was taken."""
        self.engine.partial_bytes -= leftover.size
        with suppress(OSError):  # the next start finds it again
            await self.engine.workers.run(self.engine.tree.discard, leftover.name)

    def _look(self) -> tuple[list[str], list[Leftover]]:
        names = self.engine.tree.leftovers()
        return names, list(noted(self.engine.tree, names))


def noted(tree: Tree, names: Iterable[str]) -> Iterator[Leftover]:
    """The partial files among these names in `tmp/`, as far as a note says what they are of. Blocks."""
    for name in names:
        with suppress(OSError, ValueError):
            note = Note.decode(tree.read_note(name))
            state = tree.stat_partial(name)
            yield Leftover(name, note, state.st_size, state.st_mtime)


def reopened(leftover: Leftover, descriptor: int, digests: Digests) -> int:
    """How many bytes of an open partial file count; `digests` are those of them, and the rest is cut off.

    Raises `OSError`. Called in a worker thread.
    """
    note = leftover.note
    end = os.fstat(descriptor).st_size
    if digests.confirms(note.origin.hashes) is None:
        same = digests_of(descriptor, length=note.size).hexdigest("sha256") == note.sha256
        end = note.size if same and end >= note.size else 0
    if note.origin.length is not None:
        # Of a whole one the last byte is asked for again: the answer tells whether upstream's is still that file.
        end = max(0, min(end, note.origin.length - 1))
    position = 0
    while position < end and (data := os.pread(descriptor, min(_CHUNK, end - position), position)):
        digests.update(data)
        position += len(data)
    os.ftruncate(descriptor, position)
    return position
