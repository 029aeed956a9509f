"""What was served and saved, by hour, by day and ever. Pure.

Laws:
- hours and days are UTC's, numbered from the epoch; of hours the last `HOURS` that something happened in are kept, of
  days the last `DAYS`: a clock that was set forward and back again costs one of them, not the history;
- *saved* is what clients got of pages and files less what upstream sent for them, and never less than nothing: in a
  span in which more was fetched than was served (a large file for a client that left) nothing was saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, evolve, field, fields_dict, frozen

HOUR, DAY = 3600, 86_400
HOURS, DAYS = 48, 400


@frozen
class Counts:
    """Requests for pages and files, and bytes of bodies.

    `hits` were answered from the cache, stale and revalidated copies included, `misses` with what upstream sent; the
    rest of `requests` are errors and redirects. `sent` went to clients, `fetched` came from upstream.
    """

    requests: int = 0
    hits: int = 0
    misses: int = 0
    sent: int = 0
    fetched: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.hits + other.hits,
            self.misses + other.misses,
            self.sent + other.sent,
            self.fetched + other.fetched,
        )

    @property
    def saved(self) -> int:
        """Bytes that upstream did not have to send."""
        return max(0, self.sent - self.fetched)

    @property
    def hit_rate(self) -> float | None:
        """Hits of all that were hits or misses, 0 to 1; None when there were none."""
        known = self.hits + self.misses
        return self.hits / known if known else None


_NOTHING = Counts()
_NAMES = tuple(fields_dict(Counts))


@define
class History:
    """The counts of each hour and day, and of all time (`ever`, counted since the time `since`)."""

    since: float = 0.0
    ever: Counts = _NOTHING
    hours: dict[int, Counts] = field(factory=dict)
    days: dict[int, Counts] = field(factory=dict)

    def add(self, now: float, counts: Counts) -> None:
        """Count what happened at that time (seconds since the epoch)."""
        self.since = self.since or now
        self.ever += counts
        for spans, length, most in ((self.hours, HOUR, HOURS), (self.days, DAY, DAYS)):
            number = int(now // length)
            spans[number] = spans.get(number, _NOTHING) + counts
            for outdated in sorted(spans)[:-most]:
                del spans[outdated]

    def last_hours(self, now: float, count: int) -> list[tuple[int, Counts]]:
        """(beginning in seconds since the epoch, counts) of so many hours, the one of `now` last."""
        current = int(now // HOUR)
        return [(hour * HOUR, self.hours.get(hour, _NOTHING)) for hour in range(current - count + 1, current + 1)]

    def last_days(self, now: float, count: int) -> Counts:
        """The sum of so many days, the one of `now` included."""
        today = int(now // DAY)
        return total(counts for day, counts in self.days.items() if today - count < day <= today)

    def join(self, older: History) -> None:
        """Add what was counted before."""
        self.since = min(filter(None, (self.since, older.since)), default=0.0)
        self.ever += older.ever
        for spans, before, most in ((self.hours, older.hours, HOURS), (self.days, older.days, DAYS)):
            for number, counts in before.items():
                spans[number] = spans.get(number, _NOTHING) + counts
            for outdated in sorted(spans)[:-most]:
                del spans[outdated]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "since": self.since,
            "ever": _row(self.ever),
            "hours": {str(number): _row(counts) for number, counts in self.hours.items()},
            "days": {str(number): _row(counts) for number, counts in self.days.items()},
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> History:
        """What `plain` made. Raises `ValueError` for anything else."""
        try:
            since = float(plain["since"])
            hours = {int(number): _counts(row) for number, row in plain["hours"].items()}
            days = {int(number): _counts(row) for number, row in plain["days"].items()}
            history = cls(since, _counts(plain["ever"]))
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no history of counts: {error}") from error
        history.join(evolve(history, ever=_NOTHING, hours=hours, days=days))
        return history


def total(all_counts: Iterable[Counts]) -> Counts:
    """Their sum."""
    return sum(all_counts, _NOTHING)


def _row(counts: Counts) -> list[int]:
    return [getattr(counts, name) for name in _NAMES]


def _counts(row: list[Any]) -> Counts:
    if len(row) != len(_NAMES) or not all(isinstance(value, int) and value >= 0 for value in row):
        raise ValueError("counts are whole numbers")
    return Counts(*row)
