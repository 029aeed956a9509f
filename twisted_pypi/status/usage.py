"""How often each project was asked for, over the last days. Pure.

Laws: days are UTC's. Of the day under way up to `WATCHED` projects are counted, the least asked for giving way; of a
day that is over `KEPT` are kept, of days `DAYS`. A project is counted apart for each set of indexes that it may have
come from, so that it can be told later who may hear of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from heapq import nlargest
from typing import Any

from attrs import define, field

DAY = 86_400
DAYS = 7
WATCHED = 4000
KEPT = 300

Used = tuple[str, frozenset[str]]
"""A project's name, and the names of the indexes of which one has it."""


@define
class Usage:
    """Uses by day."""

    days: dict[int, Counter[Used]] = field(factory=dict)

    def add(self, now: float, uses: Mapping[Used, int]) -> None:
        """Count what was asked for at that time (seconds since the epoch)."""
        today = int(now // DAY)
        if today not in self.days:
            self.days[today] = Counter()
            self._tidy(today)
        counter = self.days[today]
        counter.update(uses)
        if len(counter) > WATCHED:
            self.days[today] = _most(counter, WATCHED // 2)

    def top(self, now: float) -> Counter[Used]:
        """The uses of the last `DAYS` days together."""
        today = int(now // DAY)
        together: Counter[Used] = Counter()
        for day, counter in self.days.items():
            if today - DAYS < day <= today:
                together.update(counter)
        return together

    def join(self, older: Usage) -> None:
        """Add what was counted before."""
        for day, counter in older.days.items():
            self.days.setdefault(day, Counter()).update(counter)
        if self.days:
            self._tidy(max(self.days))

    def plain(self) -> list[Any]:
        """As JSON has it."""
        return [
            [day, [[name, sorted(indexes), count] for (name, indexes), count in _most(counter, KEPT).items()]]
            for day, counter in self.days.items()
        ]

    @classmethod
    def of(cls, plain: list[Any]) -> Usage:
        """What `plain` made. Raises `ValueError` for anything else."""
        usage = cls()
        try:
            for day, rows in plain:
                counter: Counter[Used] = Counter()
                for name, indexes, count in rows:
                    if not (isinstance(name, str) and isinstance(count, int) and isinstance(indexes, list)):
                        raise ValueError("no uses of a project")
                    counter[name, frozenset(map(str, indexes))] += count
                usage.days[int(day)] = counter
        except TypeError as error:
            raise ValueError(f"no usage: {error}") from error
        return usage

    def _tidy(self, today: int) -> None:
        for day in sorted(self.days.keys() - {today})[: -DAYS + 1]:
            del self.days[day]
        for day, counter in self.days.items():
            if day != today and len(counter) > KEPT:
                self.days[day] = _most(counter, KEPT)


def _most(counter: Counter[Used], count: int) -> Counter[Used]:
    return Counter(dict(nlargest(count, counter.items(), key=lambda item: item[1])))
