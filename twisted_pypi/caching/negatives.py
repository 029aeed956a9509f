"""What upstream said it doesn't have, remembered for a while, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field


@define
class Expiring:
    """Keys that each count until a time; at most `limit` of them, the oldest entries give way. Times are seconds."""

    limit: int = 10_000
    _until: OrderedDict[str, float] = field(factory=OrderedDict, init=False)

    def add(self, key: str, until: float) -> None:
        """`key` counts until the clock shows `until`."""
        self._until[key] = until
        self._until.move_to_end(key)
        while len(self._until) > self.limit:
            self._until.popitem(last=False)

    def left(self, key: str, now: float) -> float:
        """For how many seconds `key` still counts; 0 when it doesn't."""
        until = self._until.get(key)
        if until is None:
            return 0.0
        if until <= now:
            del self._until[key]
            return 0.0
        return until - now

    def clear(self) -> None:
        """No key counts any more."""
        self._until.clear()

    def discard(self, key: str) -> None:
        """`key` counts no more."""
        self._until.pop(key, None)
