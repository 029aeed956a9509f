"""How often the same is told in the log: what clients or upstreams can bring about at will must not fill it."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from attrs import define, field

REPEAT = 60.0
"""Seconds after which what was told often enough is told again."""

MOST_KEYS = 1000
"""Different things that are told of at a time; of further ones nothing is told meanwhile."""

_SWEEP = 1.0
"""Seconds between two looks for what is over, while there are that many: a look takes longer than an event."""


@define
class _Window:
    """What was told, and not told, `since` then."""

    since: float
    told: int = 1
    left_out: int = 0


@define
class LogLimits:
    """Counts lines by their keys, on the clock `seconds`."""

    seconds: Callable[[], float]
    _windows: dict[Hashable, _Window] = field(factory=dict, init=False)
    _swept: float = field(default=float("-inf"), init=False)

    def admit(self, key: Hashable, most: int = 1) -> int | None:
        """Whether to tell a line of this key, of which `most` in `REPEAT` seconds may be.

        None: not now. Else how many were left out since the last one.
        """
        now = self.seconds()
        window = self._windows.get(key)
        if window is None and not self._has_room(now):
            return None
        if window is None or now - window.since >= REPEAT:
            self._windows[key] = _Window(now)
            return 0 if window is None else window.left_out
        if window.told < most:
            window.told += 1
            return 0
        window.left_out += 1
        return None

    def _has_room(self, now: float) -> bool:
        if len(self._windows) >= MOST_KEYS and now - self._swept >= _SWEEP:
            self._swept = now
            self._windows = {key: window for key, window in self._windows.items() if now - window.since < REPEAT}
        return len(self._windows) < MOST_KEYS


def with_rest(line: str, left_out: int) -> str:
    """The line, with how many like it were left out."""
    return f"{line} ({left_out} more like this were not told)" if left_out else line
