"""Results that are good for a moment: many who ask cost what one does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.python.failure import Failure

from twisted_pypi.errors import Unavailable
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.lru import Lru

T = TypeVar("T")


@define(eq=False)
class Recent(Generic[T]):
    """Keeps up to `most` results for `lasting` seconds of the clock `seconds`.

    `behind`: who asks later gets the old one at once, and a new one is made behind it.
    """

    seconds: Callable[[], float]
    lasting: float
    most: int = 8
    behind: bool = False
    _kept: Lru[Hashable, tuple[float, T]] = field(init=False)
    _under_way: Singleflight[T] = field(factory=Singleflight, init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Lru(self.most)

    async def get(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, or of that which was begun under this key a moment ago. Raises what it raises."""
        kept = self._kept.get(key)
        if kept is not None and 0 <= self.seconds() - kept[0] < self.lasting:
            return kept[1]
        if kept is None or not self.behind:
            return await self._under_way.do(key, partial(self._work, key, work))
        if not self._under_way.running(key):
            self._under_way.do(key, partial(self._work, key, work)).addErrback(_unavailable)
        return kept[1]

    async def _work(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        result = await work()
        self._kept.put(key, (self.seconds(), result))
        return result


def _unavailable(failure: Failure) -> None:
    """The old one is good enough; anything else is a defect, and logged as one."""
    failure.trap(Unavailable)  # type: ignore[no-untyped-call]
