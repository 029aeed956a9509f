"""How often the same is told, however many different things there are."""

from __future__ import annotations

from collections.abc import Hashable, ItemsView

from twisted.internet.task import Clock

from twisted_pypi.web.log_limits import MOST_KEYS, REPEAT, LogLimits


class Counting(dict[Hashable, object]):
    """Counts how often it was looked through."""

    looks = 0

    def items(self) -> ItemsView[Hashable, object]:
        self.looks += 1
        return super().items()


def test_different_things_are_bounded_and_make_room_when_they_are_over() -> None:
    clock = Clock()
    limits = LogLimits(clock.seconds)
    assert [limits.admit(key) for key in range(MOST_KEYS)] == [0] * MOST_KEYS
    assert limits.admit("one more") is None
    clock.advance(REPEAT)
    assert limits.admit("one more") == 0


def test_what_is_over_is_not_looked_for_with_each_event() -> None:
    limits = LogLimits(Clock().seconds)
    for key in range(MOST_KEYS):
        limits.admit(key)
    windows = limits._windows = Counting(limits._windows)  # type: ignore[assignment]
    for key in range(5):
        assert limits.admit(f"other {key}") is None
    assert windows.looks == 1  # type: ignore[attr-defined]
