"""The twistd process with `--workers`: it has the sockets, and starts, watches and ends the other processes.

    twistd (supervisor) ── owner: store, catalogue, fetching, all that isn't a repeated hit
                        └─ workers: take connections, answer repeated hits, pass the others to the owner

It touches neither the cache nor a client. A process that dies is started again, at once at first, then ever later; its
listening socket is here, so connections wait for it. At the end workers go first, then the owner, with its grace.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pypi.errors import ConfigError
from twisted_pypi.notify import Tell, ignored, manager_of, stopping
from twisted_pypi.processes.child_log import LogLines
from twisted_pypi.processes.jobs import END, HURRY, RELOAD, REOPEN, SOCKETS, Job, packed
from twisted_pypi.processes.sockets import Sockets
from twisted_pypi.reloading import Reread
from twisted_pypi.service import CannotStart, exit_failed, tell_terminal
from twisted_pypi.settings import Loaded
from twisted_pypi.signals import Signals

log = Logger(namespace="pypicache")

AHEAD = 1.0
"""Seconds that workers have to end before the owner begins to."""

OVERTIME = 15.0
"""Seconds beyond the grace after which what still runs is killed."""

SOON, LATE, SETTLED = 0.1, 30.0, 10.0
"""Seconds until a process is started again: at first, at most; and how long one must live to begin anew with that."""


@define(eq=False)
class Running(ProcessProtocol):
    """One process, started and started again. `job` is what it has to do; `sockets` are the descriptors it gets."""

    name: str
    reactor: Any
    job: Job
    sockets: tuple[int, ...]
    hopeless: Callable[[str], None] = lambda problem: None
    passed: Tell = ignored
    transport: Any = field(default=None, init=False)
    _ending: bool = field(default=False, init=False)
    _reloaded: bool = field(default=False, init=False)
    _delay: float = field(default=SOON, init=False)
    _began: float = field(default=0.0, init=False)
    _starts: int = field(default=0, init=False)
    _problem: str = field(default="", init=False)
    _timer: Any = field(default=None, init=False)
    _ended: list[Deferred[None]] = field(factory=list, init=False)
    _lines: LogLines = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._lines = LogLines(self._told, self.passed)

    def start(self) -> None:
        """Start it."""
        self._timer, self._began = None, self.reactor.seconds()
        self._starts += 1
        given = {SOCKETS + index: descriptor for index, descriptor in enumerate(self.sockets)}
        command = [sys.executable, "-m", "twisted_pypi.processes"]
        self.reactor.spawnProcess(
            self, sys.executable, command, env=_environment(), childFDs={0: "w", 1: 1, 2: "r", **given}
        )

    def connectionMade(self) -> None:  # noqa: N802
        """It runs: tell it what to do."""
        # The job is as of the start of the daemon; whoever takes a dead one's place has the settings in force by then.
        self.transport.writeToChild(0, packed(self.job) + (RELOAD if self._reloaded else b""))

    def order(self, letter: bytes) -> None:
        """Tell it something (`jobs`)."""
        self._reloaded = self._reloaded or letter == RELOAD
        if self.transport is not None:
            with suppress(KeyError):  # the pipe has ended, and with it the process, of which we hear in a moment
                self.transport.writeToChild(0, letter)

    def end(self) -> Deferred[None]:
        """Have it end, in order; fires when it has."""
        self._ending = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        done: Deferred[None] = Deferred(self._ended.remove)
        self._ended.append(done)
        if self.transport is None:
            self._tell_ended()
        else:
            self.order(END)
        return done

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803
        """Its log."""
        self._lines.take(data)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802
        """It has ended, as it was told to or not."""
        self.transport = None
        if self._ending:
            self._tell_ended()
        elif self._starts == 1 and getattr(reason.value, "exitCode", None) == 1:
            self._ending = True
            self.hopeless(self._problem or f"the {self.name} can't start")
        else:
            self._start_again(reason)

    def _start_again(self, reason: Failure) -> None:
        lived = self.reactor.seconds() - self._began
        self._delay = SOON if lived >= SETTLED else min(LATE, 2 * self._delay)
        how = "ended" if isinstance(reason.value, ProcessDone) else str(reason.value)
        log.error("the {name} has gone ({how}); it is started again", name=self.name, how=how)
        self._timer = self.reactor.callLater(self._delay, self.start)

    def _tell_ended(self) -> None:
        while self._ended:
            self._ended.pop().callback(None)

    def _told(self, level: str, text: str) -> None:
        if level == "critical":
            self._problem = text.partition("\n")[0]


class Supervisor(Service):
    """The daemon with `--workers` above 1."""

    def __init__(self, reactor: Any, loaded: Loaded, reread: Reread) -> None:
        self._reactor = reactor
        self._loaded, self._reread = loaded, reread
        self._sockets = Sockets(reactor, loaded.settings)
        self._directory = ""
        self._inner: socket.socket | None = None
        self._owner: Running | None = None
        self._workers: list[Running] = []
        self._manager: Tell = ignored
        self._ending = False

    def privilegedStartService(self) -> None:  # noqa: N802
        """Bind the sockets. Exits with one line on stderr when that can't be."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._sockets.bind()
        except ConfigError as error:
            raise CannotStart(f"pypicache: {error}") from None

    def startService(self) -> None:  # noqa: N802
        """Start the processes."""
        super().startService()  # type: ignore[no-untyped-call]
        Signals(self._reactor, self._end, self._reload, self._reopen).install()
        # After privileges were dropped: it has to be the processes' own. mkdtemp makes it 0700.
        self._directory = tempfile.mkdtemp(prefix="pypicache-")
        path = os.path.join(self._directory, "owner")
        self._inner = _inner_socket(path)
        addresses = tuple(self._sockets.addresses())
        job = Job(True, 1, path, addresses, self._loaded, self._reread)
        self._manager = manager_of(self._reactor)
        self._owner = Running("owner", self._reactor, job, (self._inner.fileno(),), self._give_up, self._manager)
        plain = evolve(self._loaded, warnings=(), found={})
        for number in range(self._loaded.settings.workers):
            given = tuple(self._sockets.of_worker(number))
            job = Job(False, len(given), path, addresses, plain)
            self._workers.append(Running(f"worker {number + 1}", self._reactor, job, given))
        # A reactor that isn't running yet would not hear of one that ends at once.
        self._reactor.callWhenRunning(self._start_all)

    def _start_all(self) -> None:
        for running in self._all:
            running.start()

    @property
    def _all(self) -> list[Running]:
        return [*([self._owner] if self._owner is not None else []), *self._workers]

    def _give_up(self, problem: str) -> None:
        tell_terminal(problem)
        atexit.register(exit_failed)
        if not self._ending:
            self._ending = True
            self._reactor.stop()

    # -- signals -------------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        self._order_owner(RELOAD)

    def _reopen(self) -> None:
        self._order_owner(REOPEN)

    def _order_owner(self, letter: bytes) -> None:
        if self._owner is not None and not self._ending:
            self._owner.order(letter)

    def _end(self) -> None:
        """The first signal ends the daemon in order, a second one ends its grace."""
        if not self._ending:
            self._ending = True
            self._reactor.stop()
        else:
            for running in self._all:
                running.order(HURRY)

    # -- stopping ------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:  # noqa: N802
        """Stop in order; fires when no process is left."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._ending = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._manager(stopping(self._loaded.settings.grace))
        await self._sockets.close()
        killing = self._reactor.callLater(self._loaded.settings.grace + OVERTIME, self._kill)
        workers = DeferredList([worker.end() for worker in self._workers])
        ahead: Deferred[None] = Deferred()
        workers.addCallback(lambda _: None if ahead.called else ahead.callback(None))
        ahead.addTimeout(AHEAD, self._reactor, lambda _, seconds: None)
        await ahead
        if self._owner is not None:
            await self._owner.end()
        await workers
        if killing.active():
            killing.cancel()
        if self._inner is not None:
            self._inner.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _kill(self) -> None:
        for running in self._all:
            running.kill()


def _inner_socket(path: str) -> socket.socket:
    """The owner's socket for its workers. It stays here, so that workers that look for an owner wait for the next."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(path)
    os.chmod(path, 0o600)
    made.listen(128)
    made.setblocking(False)
    return made


def _environment() -> dict[str, str]:
    """This process's own, in which the same package is found."""
    place = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{path}" if path else place}
