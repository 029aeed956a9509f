"""A check beside the serving: whatever becomes of it, those who read are told."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest
from twisted.internet.defer import Deferred

from twisted_pypi.errors import Unavailable
from twisted_pypi.storage.checks import Checks
from twisted_pypi.storage.tasks import Tasks


@pytest.mark.parametrize("problem", [LookupError("damaged"), Unavailable("busy"), RuntimeError("a defect")])
def test_readers_are_told_and_the_next_check_can_begin(problem: Exception) -> None:
    begun: list[Deferred[None]] = []
    tasks = Mock(run=lambda work: begun.append(Tasks().run(work)))
    check = AsyncMock(side_effect=problem)
    checks, entry, sources = Checks(Mock(tasks=tasks), check), Mock(key="key"), [Mock(), Mock()]
    for source in sources:
        checks.watch(entry, source)
        (told,) = source.settle.call_args.args
        assert isinstance(told, LookupError | Unavailable)
    assert check.call_count == 2
    for waiter in begun:
        waiter.addErrback(lambda failure: failure.trap(RuntimeError))
