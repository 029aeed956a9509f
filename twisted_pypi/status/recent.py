"""Results that are good for a moment: many who ask cost what one does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import define, field

from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.lru import Lru

T = TypeVar("T")


@define(eq=False)
class Recent(Generic[T]):
    """Keeps up to `most` results for `lasting` seconds of the clock `seconds`."""

    seconds: Callable[[], float]
    lasting: float
    most: int = 8
    _kept: Lru[Hashable, tuple[float, T]] = field(init=False)
    _under_way: Singleflight[T] = field(factory=Singleflight, init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = Lru(self.most)

    async def get(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, or of that which was begun under this key a moment ago. Raises what it raises."""
        kept = self._kept.get(key)
        if kept is not None and 0 <= self.seconds() - kept[0] < self.lasting:
            return kept[1]
        return await self._under_way.do(key, partial(self._work, key, work))

    async def _work(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        result = await work()
        self._kept.put(key, (self.seconds(), result))
        return result
