"""How often a client may guess: a guess takes a token of its client and one of that client and user name together.

Laws: who guesses at one name from behind an address that others share (NAT) keeps nobody out who comes with another
name; one client's guesses are no other client's matter; a right guess costs nothing.
"""

from __future__ import annotations

from attrs import define, field, frozen

from twisted_pypi.lru import Lru

MOST = 8192
"""Clients and names of clients that are remembered; those that guessed last."""


@frozen
class Rate:
    """So many guesses at once, and so many a second after that."""

    burst: float
    per_second: float


OF_NAME = Rate(5, 0.5)
"""For one client and one user name."""

OF_CLIENT = Rate(30, 2)
"""For one client, whatever the names."""

_Key = tuple[str, bytes]


@define(eq=False)
class _Bucket:
    """`tokens` there were at `since`."""

    rate: Rate
    tokens: float
    since: float

    def fill(self, now: float) -> None:
        gained = max(0.0, now - self.since) * self.rate.per_second
        self.tokens, self.since = min(self.rate.burst, self.tokens + gained), now

    @property
    def wait(self) -> float:
        return max(0.0, 1 - self.tokens) / self.rate.per_second


@define(eq=False)
class Throttle:
    """The tokens of all clients. `now` is in seconds, of a clock that goes on steadily."""

    _buckets: Lru[_Key, _Bucket] = field(factory=lambda: Lru(MOST), init=False)

    def take(self, client: str, name: bytes, now: float) -> float:
        """Take the tokens of one guess: 0.0; or take none, and say after how many seconds there will be one."""
        both = self._both(client, name, now)
        wait = max(bucket.wait for bucket in both)
        if not wait:
            for bucket in both:
                bucket.tokens -= 1
        return wait

    def give_back(self, client: str, name: bytes, now: float) -> None:
        """The guess was right."""
        for bucket in self._both(client, name, now):
            bucket.tokens = min(bucket.rate.burst, bucket.tokens + 1)

    def _both(self, client: str, name: bytes, now: float) -> tuple[_Bucket, _Bucket]:
        # A name that is empty would be the client's own key: no user has that.
        return self._bucket((client, b":" + name), OF_NAME, now), self._bucket((client, b""), OF_CLIENT, now)

    def _bucket(self, key: _Key, rate: Rate, now: float) -> _Bucket:
        bucket: _Bucket | None = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(rate, rate.burst, now)
            self._buckets.put(key, bucket)
        bucket.fill(now)
        return bucket
