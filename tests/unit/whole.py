"""The whole daemon in memory: real parts from the site to the wire, in turns, on a clock that the test advances.

Disk and catalogue are real, in a directory of the test's; works for threads are done in the reactor's next turn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import define, evolve, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from twisted_pypi import assembly
from twisted_pypi.clocks import WallClock
from twisted_pypi.parts import Parts
from twisted_pypi.settings import Settings
from unit.test_config import load
from unit.test_fetching_upstream import Names
from unit.web_doubles import NOW, Response, Turning, parse
from unit.whole_upstream import MemoryIndex

TURNS = 50_000
STEP = 0.25
"""Seconds by which time goes on at once."""


class TurningReactor(Turning, MemoryReactorClock):
    """A reactor in memory, turn by turn."""

    @property
    def due(self) -> bool:
        """Whether something is to be done now."""
        return any(call.getTime() <= self.rightNow for call in self.calls)


@define(eq=False)
class TurnWorkers:
    """Does each work in a later turn, in order; with `held`, none."""

    reactor: TurningReactor
    size: int = 1
    name: str = ""
    stalled: bool = False
    under_way: int = 0

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def run(self, work: Callable[..., Any], *args: object) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.reactor.callLater(0, self._do, done, work, args)
        return done

    def _do(self, done: Deferred[Any], work: Callable[..., Any], args: tuple[object, ...]) -> None:
        # What the thread does is done, whether or not anybody still waits.
        try:
            result: Any = work(*args)
        except Exception:
            result = Failure()
        done.callback(result)


class Line(StringTransport):
    """The client's end of a connection. With `window` bytes unread it takes no more until `read_on`."""

    protocol: Any = None
    window: int | None = None
    full = ended = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.window is not None and not self.full and len(self.value()) > self.window and self.producer:
            self.full = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:  # noqa: N802
        self.write(b"".join(data))

    def read_on(self) -> None:
        """Take all that comes."""
        self.window = None
        if self.full:
            self.full = False
            if self.producer:
                self.producer.resumeProducing()

    def loseConnection(self) -> None:  # noqa: N802
        super().loseConnection()
        self.end()

    def abortConnection(self) -> None:  # noqa: N802
        self.end()

    def end(self) -> None:
        """It is over, whoever ended it."""
        if not self.ended:
            self.ended = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@define(eq=False)
class Pending:
    """A request and what has come of it."""

    line: Line
    method: str
    path: str
    headers: dict[str, str]
    asked_at: float
    keep: str = ""
    head_at: float | None = None
    authorized: bool = True

    @property
    def answer(self) -> Response | None:
        """What came so far; None without a head."""
        raw = self.line.value()
        return parse(raw, self.method == "HEAD") if b"\r\n\r\n" in raw else None


@define(eq=False)
class Whole:
    """One daemon after the other in (copies of) one directory, and the index that they ask."""

    root: Path
    options: dict[str, object] = field(factory=dict)
    reactor: TurningReactor = field(factory=TurningReactor)
    index: MemoryIndex = field(init=False)
    parts: Parts = field(init=False)
    failures: list[str] = field(factory=list)
    _generation: int = 0
    _kept: dict[str, Line] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.reactor.nameResolver = Names()
        self.reactor.rightNow = NOW
        self.index = MemoryIndex(self.reactor)
        self.start()

    @property
    def directory(self) -> Path:
        """The cache directory."""
        return self.root / str(self._generation)

    @property
    def settings(self) -> Settings:
        """What the daemon runs with."""
        given = {"index-url": "http://index.example/simple/", "files-url": "http://files.example/", "min-free": "0"}
        settings = load({**given, **self.options, "cache-dir": str(self.directory)}).settings
        return evolve(settings, access_log=None)

    def start(self) -> None:
        """A daemon on the directory."""
        wall = lambda reactor: WallClock(reactor, reactor.seconds)  # noqa: E731
        with patch.multiple(assembly, ThreadWorkers=TurnWorkers, WallClock=wall):
            self.parts = assembly.assemble(self.reactor, self.settings)
        self.through(self.parts.store.start())
        self.parts.readiness.ready = True

    def stop(self) -> None:
        """In the order of the service, without grace."""
        parts = self.parts
        parts.readiness.ready = False
        parts.site.drain()
        parts.site.abort()
        parts.pages.stop()
        for ending in (parts.files.stop, parts.upstream.close, parts.store.stop):
            self.through(ending())
        self.settle()
        self._kept.clear()

    def crash(self) -> None:
        """The next daemon finds what the disk held at this moment; connections break."""
        seen = self.directory
        self._generation += 1
        # What is published is replaced, never written to.
        for name in os.listdir(seen):
            place, link = (seen / name, self.directory / name), os.link if name in ("files", "pages") else shutil.copy2
            self.directory.mkdir(mode=0o700, exist_ok=True)
            if place[0].is_dir():
                shutil.copytree(*place, copy_function=link)
            else:
                shutil.copy2(*place)
        self.stop()
        shutil.rmtree(seen)
        self.start()

    # -- time ------------------------------------------------------------------------------------------------------

    def turn(self, times: int = 1) -> None:
        """So many turns of the reactor."""
        for _ in range(times):
            self.reactor.advance(0)
            self.index.turn()

    def settle(self) -> None:
        """Turn until nothing happens at this moment any more."""
        for _ in range(TURNS):
            self.reactor.advance(0)
            if not self.index.turn() and not self.reactor.due:
                return
        raise AssertionError("it never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        until = self.reactor.seconds() + seconds
        self.settle()
        while (left := until - self.reactor.seconds()) > 0:
            # Nobody has a timer before the next one that is due.
            waits = [call.getTime() - self.reactor.seconds() for call in self.reactor.calls]
            waits += [wire.ready_at - self.reactor.seconds() for wire in self.index.wires if wire.steps]
            step = min([left, *(wait for wait in waits if wait > 0)])
            self.reactor.advance(max(step, 1e-3))
            self.settle()

    def through(self, work: Any) -> Any:
        """The result of a coroutine, once it is through."""
        results: list[Any] = []
        Deferred.fromCoroutine(work).addBoth(results.append)
        for _ in range(TURNS):
            if results:
                break
            self.turn()
        assert results, "it is never through"
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]

    # -- clients ---------------------------------------------------------------------------------------------------

    def ask(
        self,
        path: str,
        method: str = "GET",
        keep: str = "",
        window: int | None = None,
        peer: str = "192.0.2.7",
        **headers: str,
    ) -> Pending:
        """Begin a request, on a connection of its own or on the one kept under that name."""
        line = self._kept.get(keep)
        if line is None or line.ended or line.disconnecting:
            line = self._connect(peer)
        if keep:
            self._kept[keep] = line
        line.clear()
        line.window = window
        named = {"Host": "cache"} | {name.replace("_", "-"): text for name, text in headers.items()}
        lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in named.items()))
        pending = Pending(line, method, path, named, self.reactor.seconds(), keep)
        line.protocol.dataReceived("\r\n".join((*lines, "", "")).encode("ascii"))
        return pending

    def _connect(self, peer: str) -> Line:
        line = Line(peerAddress=IPv4Address("TCP", peer, 4000))
        line.protocol = self.parts.site.buildProtocol(None)
        line.protocol.makeConnection(line)
        return line

    def get(self, path: str, **more: Any) -> Response:
        """One request, answered within a minute."""
        pending = self.ask(path, **more)
        self.advance(60)
        assert pending.answer is not None
        return pending.answer


@contextmanager
def watched() -> Iterator[list[str]]:
    """The unhandled errors that were logged."""
    failures: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    try:
        yield failures
    finally:
        globalLogPublisher.removeObserver(observe)


def open_below(directory: Path) -> list[str]:
    """What this process has open there."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [name for name in found if name.startswith(str(directory))]
