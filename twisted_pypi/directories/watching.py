"""Watching one directory: what comes, changes or goes there is seen within seconds.

It is looked through again and again (works on every file system, and a look is one `stat` a file), so seldom that
looking takes a small part of the time. A file is read once it rests: when two looks saw it alike, or nothing touched
it for `REST` seconds.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping

from attrs import define, field, frozen
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_pypi.directories.ledger import Ledger, Readings
from twisted_pypi.directories.listing import Listing, Stamp, look
from twisted_pypi.directories.reading import Reading, Stopped, read
from twisted_pypi.directories.shelf import Shelf, Unreadable, arranged
from twisted_pypi.events import DirectoryTaken, DirectoryTrouble, StoreTrouble
from twisted_pypi.interfaces import Observer, Workers

log = Logger()

INTERVAL = 2.0
"""Seconds between two looks."""

SHARE = 50
"""A look may take this part of the time: a slow one is repeated less often."""

LONGEST_INTERVAL = 30.0

REST = 3.0
"""Seconds after its last change from which a file is taken for complete at the first look."""

BATCH = 0.5
"""Seconds of reading after which what was read is offered."""

TURN = 5.0
"""Seconds of reading after which the directory is looked through again."""

PATIENCE = 8.0
"""Seconds that a request waits for the first look, or for files that are being read."""

Wanted = Callable[[Shelf], Collection[str]]
"""The names of the files that a request is about."""

MAX_TOLD = 20
"""Files that can't be served that are named in the log at once; of the others it tells how many."""


def _none(shelf: Shelf) -> Collection[str]:
    return ()


@frozen
class _Read:
    """What came of reading some files."""

    readings: dict[str, tuple[Stamp, Reading]] = field(factory=dict)
    failed: dict[str, tuple[Stamp, str]] = field(factory=dict)


@define(eq=False)
class Watch:
    """The directory `root`, which is the index `index`. `changed` is called when there is something new, or less.

    `workers` must be threads that nothing urgent waits for.
    """

    index: str
    root: str
    workers: Workers
    ledger: Ledger
    observer: Observer
    clock: IReactorTime
    changed: Callable[[], None]
    failure: str = field(default="", init=False)
    _shelf: Shelf | None = field(default=None, init=False)
    _listing: Listing | None = field(default=None, init=False)
    _readings: dict[str, tuple[Stamp, Reading]] = field(factory=dict, init=False)
    _failed: dict[str, tuple[Stamp, str]] = field(factory=dict, init=False)
    _told: Mapping[str, str] = field(factory=dict, init=False)
    _waiters: list[Deferred[None]] = field(factory=list, init=False)
    _task: Deferred[None] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _pause: float = field(default=INTERVAL, init=False)
    _settled: bool = field(default=False, init=False)
    _beginning: bool = field(default=True, init=False)

    def start(self) -> None:
        """Begin to look."""
        self._task = Deferred.fromCoroutine(self._run())

    def stop(self) -> None:
        """End, also what is being read."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
        self._wake()

    async def shelf(self, wanted: Wanted = _none) -> Shelf | None:
        """What there is, after the first look; None when the directory can't be read (`failure` tells why).

        While none of the files that are `wanted` could be read yet, it is waited for, at the beginning for all of them;
        but not longer than `PATIENCE`.
        """
        if self._is_awaited(wanted):
            try:
                await Deferred.fromCoroutine(self._changed(wanted)).addTimeout(PATIENCE, self.clock)
            except defer.TimeoutError:
                self._beginning = False
                if self._shelf is None:  # as a file system does whose server is gone
                    self._fail(f"{self.root} does not answer")
        return None if self.failure else self._shelf

    async def _changed(self, wanted: Wanted) -> None:
        while self._is_awaited(wanted):
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

    def _is_awaited(self, wanted: Wanted) -> bool:
        if self.failure or self._stopped:
            return False
        if self._shelf is None:
            return True
        names = wanted(self._shelf)
        missing = sum(name in self._shelf.waiting for name in names)
        return missing > 0 and (self._beginning or missing == len(names))

    async def _run(self) -> None:
        try:
            await self._remember()
            while not self._stopped:
                unread = await self._look_guarded()
                await deferLater(self.clock, 0 if unread else self._pause)
        except (CancelledError, Stopped):
            pass

    async def _remember(self) -> None:
        try:
            self._readings = dict(await self.workers.run(self.ledger.load, self.index))
        except (OSError, sqlite3.Error) as error:
            self.observer(StoreTrouble("readings", str(error)))

    async def _look_guarded(self) -> bool:
        """Look, whatever comes of it: the watch goes on."""
        try:
            return await self._look()
        except OSError as error:
            self._fail(f"{self.root} can't be read: {error.strerror or error}")
        except (CancelledError, Stopped):
            raise
        except Exception:
            log.failure("directory {index}", index=self.index)
            self._fail("it can't be looked through")
        return False

    def _fail(self, reason: str) -> None:
        if reason != self.failure:
            self.failure = reason
            self.observer(DirectoryTrouble(self.index, "", reason))
        self._wake()

    async def _look(self) -> bool:
        """Look, and read for a while; whether more is to be read."""
        before = self._listing
        began = self.clock.seconds()
        listing = await self.workers.run(_look, self.root, before)
        self._pause = min(max(INTERVAL, SHARE * (self.clock.seconds() - began)), LONGEST_INTERVAL)
        if listing is before and not self.failure and self._settled:
            return False
        self._listing = listing
        for path in [path for path in self._failed if before is None or _touched(path, before, listing)]:
            del self._failed[path]  # it may have become readable
        await self._forget([path for path in self._readings if path not in listing.stamps])
        await self._offer(listing)
        unread = list(self._unread(listing))
        resting = [path for path in unread if self._rests(path, listing, before)]
        self._settled = not unread
        if self._settled:
            self._beginning = False
        resting.sort(key=lambda path: -listing.touched[path])  # what was put there now is waited for
        until = self.clock.seconds() + TURN
        while resting and self.clock.seconds() < until:
            done = await self.workers.run(self._read_some, resting, listing)
            self._readings.update(done.readings)
            self._failed.update(done.failed)
            resting = resting[len(done.readings) + len(done.failed) :]
            await self._offer(listing)
            await self._note(done.readings, [])
        return bool(resting)

    def _unread(self, listing: Listing) -> Iterator[str]:
        for path, stamp in listing.stamps.items():
            known = self._readings.get(path) or self._failed.get(path)
            if known is None or known[0] != stamp:
                yield path

    def _rests(self, path: str, listing: Listing, before: Listing | None) -> bool:
        """Whether the file may be taken for complete. A clock that was set back counts as rest."""
        if before is not None and before.stamps.get(path) == listing.stamps[path]:
            return True
        return not 0 <= self.clock.seconds() - listing.touched[path] < REST

    def _read_some(self, paths: list[str], listing: Listing) -> _Read:
        """Read the first of the files, as many as can be in `BATCH` seconds. In a worker thread. Raises `Stopped`."""
        done, until = _Read(), time.monotonic() + BATCH
        for path in paths:
            stamp = listing.stamps[path]
            try:
                done.readings[path] = stamp, read(os.path.join(self.root, path), stamp, lambda: self._stopped)
            except OSError as error:
                done.failed[path] = stamp, f"can't be read: {error.strerror or error}"
            except (ValueError, LookupError) as error:
                done.failed[path] = stamp, str(error)
            if time.monotonic() >= until:
                break
        return done

    async def _offer(self, listing: Listing) -> None:
        known = dict(self._readings), dict(self._failed)
        shelf = await self.workers.run(_arrange, listing, *known, self._shelf)
        self._tell(shelf.problems)
        if shelf is not self._shelf or self.failure:
            self._shelf, self.failure = shelf, ""
            self.changed()
            self.observer(DirectoryTaken(self.index, len(shelf.items), len(shelf.projects)))
        self._wake()

    def _tell(self, problems: Mapping[str, str]) -> None:
        """Tell of each problem once, as long as it lasts."""
        fresh = [(path, why) for path, why in problems.items() if self._told.get(path) != why]
        for path, why in fresh[:MAX_TOLD]:
            self.observer(DirectoryTrouble(self.index, path, why))
        if len(fresh) > MAX_TOLD:
            self.observer(DirectoryTrouble(self.index, "", f"{len(fresh) - MAX_TOLD} more are not served"))
        self._told = problems

    async def _forget(self, gone: list[str]) -> None:
        for path in gone:
            del self._readings[path]
        if gone:
            await self._note({}, gone)

    async def _note(self, readings: dict[str, tuple[Stamp, Reading]], gone: list[str]) -> None:
        try:
            await self.workers.run(self.ledger.save, self.index, readings, gone)
        except (sqlite3.Error, OSError) as error:  # they are read again after a restart
            self.observer(StoreTrouble("readings", str(error)))

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)


def _look(root: str, before: Listing | None) -> Listing:
    """What there is now; the same object as `before` when nothing was touched."""
    listing = look(root, before)
    return before if before is not None and listing == before and listing.touched == before.touched else listing


def _arrange(listing: Listing, readings: Readings, failed: Unreadable, before: Shelf | None) -> Shelf:
    """The shelf; the same object as `before` when it is as it was."""
    shelf = arranged(listing, readings, failed)
    return before if before is not None and shelf == before else shelf


def _touched(path: str, before: Listing, now: Listing) -> bool:
    return before.touched.get(path) != now.touched.get(path)
