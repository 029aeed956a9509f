"""Files that are checked beside their serving: one check of each, for all who read it meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from twisted_pypi.errors import Unavailable
from twisted_pypi.storage.digests import digests_of
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.rows import Entry
from twisted_pypi.storage.sources import CheckedSource, FileSource


class Gone(LookupError):
    """There is no such file any more: nothing is said against its content."""


@define(eq=False)
class Checks:
    """Checks under way, by key.

    `check` opens the entry's file, found right. It raises `Gone`, `LookupError` when it is damaged, `Unavailable`.
    """

    engine: Engine
    check: Callable[[Entry], Coroutine[Deferred[Any], Any, FileSource]]
    _running: dict[str, list[CheckedSource]] = field(factory=dict, init=False)

    def watch(self, entry: Entry, source: CheckedSource) -> None:
        """Have the source settled when the entry's file is checked."""
        if entry.key in self._running:
            self._running[entry.key].append(source)
        else:
            self._running[entry.key] = [source]
            self.engine.tasks.run(self._run(entry))

    async def _run(self, entry: Entry) -> None:
        failure: Exception | None = LookupError("the check came to nothing")
        try:
            (await self.check(entry)).close()
            failure = None
        except Gone as error:  # it was purged or dropped, which is nothing to those who have it open
            failure = None if await self._is_right(entry) else error
        except (LookupError, Unavailable) as error:
            failure = error
        finally:  # whatever else happens, nobody waits for ever
            for source in self._running.pop(entry.key):
                source.settle(failure)

    async def _is_right(self, entry: Entry) -> bool:
        """Whether what readers have open is what was recorded; also if nobody has it open any more."""
        descriptors = (source.duplicate() for source in self._running[entry.key])
        try:
            descriptor = next((each for each in descriptors if each is not None), None)
        except OSError:
            return False
        if descriptor is None:
            return True
        try:
            digests = await self.engine.workers.run(digests_of, descriptor)
        except (OSError, Unavailable):
            return False
        finally:
            os.close(descriptor)
        return digests.hexdigest("sha256") == entry.sha256
