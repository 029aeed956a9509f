"""What was served, counted from events, and kept in the cache directory across restarts.

A hit costs one look into a dict: events are gathered as they are, and put into hours, days and projects (`settle`) when
somebody looks or a minute is over. What a crash loses is at most that minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from twisted_pypi.answers import CacheState
from twisted_pypi.errors import CacheError
from twisted_pypi.events import BytesFetched, Event, Served
from twisted_pypi.interfaces import Workers
from twisted_pypi.status.counts import Counts, History
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.usage import Usage, Used

MINUTE = 60.0
MOST_EVENTS = 1024
"""Different events that are gathered before they are settled: a client can make each hold a line of 8 KiB or two."""

MOST_PATHS = 5000
"""Different paths of a minute of which it is told what project they are of; more are not counted as uses."""

LONGEST_PATH = 1000
"""Characters of a path that is counted as a use: a name may be spelled with thousands of dashes."""

_OWN = frozenset({"admin", "health"})
_HITS = frozenset({CacheState.HIT, CacheState.STALE, CacheState.UPDATING, CacheState.REVALIDATED})
_CONTENT = frozenset({200, 206, 304})
_VERSION = 1


class Kept(Protocol):
    """Where statistics are kept: `storage.kept.KeptFile`."""

    def read(self) -> bytes | None:
        """What was written last."""

    def write(self, data: bytes) -> None:
        """Replace it."""


@define(eq=False)
class Statistics:
    """An observer of events. `wall` tells the time of day, `steady` one that nobody sets.

    `naming` says what paths mean; `trouble` is told what could not be read or written, and why.
    """

    kept: Kept
    workers: Workers
    wall: IReactorTime
    steady: Callable[[], float]
    trouble: Callable[[str, str], None]
    naming: Naming
    history: History = field(factory=History, init=False)
    usage: Usage = field(factory=Usage, init=False)
    _events: dict[int, list[Any]] = field(factory=dict, init=False)
    _fetched: int = field(default=0, init=False)
    _paths: dict[str, int] = field(factory=dict, init=False)
    _since: float = field(default=0.0, init=False)
    _samples: deque[tuple[float, int]] = field(factory=lambda: deque(maxlen=240), init=False)
    _requests: int = field(default=0, init=False)
    _written: bytes = field(default=b"", init=False)
    _failing: bool = field(default=False, init=False)
    _due: IDelayedCall | None = field(default=None, init=False)
    _keeping: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._since = self.wall.seconds()
        self._samples.append((self.steady(), 0))

    def observe(self, event: Event) -> None:
        """Gather one event; kinds that aren't counted are ignored."""
        # By identity: the same answer is the same event, and the list keeps it alive.
        gathered = self._events.get(id(event))
        if gathered is not None:
            gathered[1] += 1
        elif isinstance(event, Served):
            if len(self._events) >= MOST_EVENTS:
                self.settle()
            self._events[id(event)] = [event, 1]
        elif isinstance(event, BytesFetched):
            self._fetched += event.count

    def settle(self) -> None:
        """Put what was gathered where it belongs: into the hour and the day in which that was begun."""
        now, since = self.wall.seconds(), self._since
        events, self._events = self._events, {}
        counts = self._counted(events)
        self._fetched, self._since = 0, now
        if counts != Counts():
            self.history.add(since if 0 <= now - since <= 2 * MINUTE else now, counts)
        self._requests += counts.requests
        steady = self.steady()
        if steady - self._samples[-1][0] >= 1:
            self._samples.append((steady, self._requests))

    def per_second(self) -> float:
        """Requests a second, over the last minute or what there is of it."""
        now = self.steady()
        while len(self._samples) > 1 and now - self._samples[1][0] >= MINUTE:
            self._samples.popleft()
        then, count = self._samples[0]
        return (self._requests - count) / max(1.0, now - then)

    async def settle_uses(self) -> None:
        """Settle, and count of which projects that was."""
        self.settle()
        paths, self._paths = self._paths, {}
        if paths:
            self.usage.add(self.wall.seconds(), await self.workers.run(_uses, self.naming, paths))

    async def start(self) -> None:
        """Go on where the last run ended, and keep what is counted from now on. Never raises."""
        try:
            data = await self.workers.run(self.kept.read)
            if data is not None:
                history, usage = _decoded(data)
                self.history.join(history)
                self.usage.join(usage)
        except (OSError, ValueError, CacheError) as error:
            self.trouble("statistics begin anew", str(error))
        self._again()

    async def stop(self) -> None:
        """Write what was counted, unless it never started: the file may be another daemon's. Never raises."""
        if self._due is None:
            return
        if self._due.active():
            self._due.cancel()
        if self._keeping is not None:
            await self._keeping
        await self._keep()

    def _counted(self, events: dict[int, list[Any]]) -> Counts:
        requests = hits = misses = sent = 0
        for event, count in events.values():
            if event.kind in _OWN:
                continue
            requests += count
            if event.state is None:
                continue
            sent += count * event.size
            if event.status in _CONTENT:
                hits, misses = (hits + count, misses) if event.state in _HITS else (hits, misses + count)
                self._note_use(event.target, count)
        return Counts(requests, hits, misses, sent, self._fetched)

    def _note_use(self, path: str, count: int) -> None:
        if path in self._paths or (len(self._paths) < MOST_PATHS and len(path) <= LONGEST_PATH):
            self._paths[path] = self._paths.get(path, 0) + count

    def _again(self) -> None:
        # At full minutes, so that what happens in one hour is counted in that.
        self._due = self.wall.callLater(MINUTE - self.wall.seconds() % MINUTE, self._minute)

    def _minute(self) -> None:
        self._again()
        self.settle()
        if self._keeping is None:  # else the disk is slow
            self._keeping = Deferred.fromCoroutine(self._keep())
            self._keeping.addCallback(self._kept_it)

    def _kept_it(self, _: None) -> None:
        self._keeping = None

    async def _keep(self) -> None:
        try:
            await self.settle_uses()
            data = orjson.dumps([_VERSION, self.history.plain(), self.usage.plain()])
            if data != self._written:
                await self.workers.run(self.kept.write, data)
                self._written = data
            self._failing = False
        except Exception as error:
            if not self._failing:
                self.trouble("statistics are not kept", str(error))
            self._failing = True


def _uses(naming: Naming, paths: dict[str, int]) -> dict[Used, int]:
    """Runs in a thread."""
    uses: dict[Used, int] = {}
    for path, count in paths.items():
        used = naming.used(path)
        if used is not None:
            uses[used] = uses.get(used, 0) + count
    return uses


def _decoded(data: bytes) -> tuple[History, Usage]:
    """Raises `ValueError` for what is no statistics of ours."""
    try:
        version, history, usage = orjson.loads(data)
    except TypeError as error:
        raise ValueError(f"no statistics: {error}") from error
    if version != _VERSION:
        raise ValueError(f"their version {version!r:.40} is unknown")
    return History.of(history), Usage.of(usage)
