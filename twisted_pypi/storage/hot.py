"""What is kept in memory: least recently used goes first, within a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _one(value: object) -> int:
    return 1


@define
class Lru(Generic[K, V]):
    """A mapping whose values weigh no more than `limit` together; `weigh` tells what one weighs (1 each by default)."""

    limit: int
    weigh: Callable[[V], int] = _one
    weight: int = field(default=0, init=False)
    _items: OrderedDict[K, V] = field(factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> V | None:
        """The value, now the most recently used one, or None."""
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def peek(self, key: K) -> V | None:
        """The value, without counting as use."""
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        """Keep `value`, in place of what was there; what is heavier than the whole limit isn't kept."""
        self.pop(key)
        weight = self.weigh(value)
        if weight > self.limit:
            return
        self._items[key] = value
        self.weight += weight
        self._lighten()

    def resize(self, limit: int) -> None:
        """From now on the limit is another."""
        self.limit = limit
        self._lighten()

    def _lighten(self) -> None:
        while self.weight > self.limit:
            _, dropped = self._items.popitem(last=False)
            self.weight -= self.weigh(dropped)

    def pop(self, key: K) -> V | None:
        """Forget the key; what was there."""
        value = self._items.pop(key, None)
        if value is not None:
            self.weight -= self.weigh(value)
        return value
