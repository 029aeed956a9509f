"""What was served and saved by hour and day, and what was used."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.status.counts import DAY, DAYS, HOUR, HOURS, Counts, History, total
from twisted_pypi.status.usage import DAYS as USAGE_DAYS
from twisted_pypi.status.usage import KEPT, WATCHED, Usage

NOW = 1_000_000 * HOUR + 1800.0
A = Counts(requests=10, hits=6, misses=3, sent=900, fetched=300)
MAIN = frozenset({"main"})

amounts = st.integers(0, 1 << 50)
some_counts = st.builds(Counts, amounts, amounts, amounts, amounts, amounts)
happenings = st.lists(st.tuples(st.floats(0, 1e10), some_counts), max_size=30)


class TestCounts:
    def test_saved_and_hit_rate(self) -> None:
        assert (A.saved, A.hit_rate) == (600, 6 / 9)

    def test_more_fetched_than_served_saves_nothing(self) -> None:
        assert Counts(sent=1, fetched=2).saved == 0

    def test_without_hits_and_misses_there_is_no_rate(self) -> None:
        assert Counts(requests=3).hit_rate is None

    @given(st.lists(some_counts))
    def test_the_sum_is_that_of_each_figure(self, all_counts: list[Counts]) -> None:
        assert total(all_counts).fetched == sum(counts.fetched for counts in all_counts)
        assert total(all_counts).hits == sum(counts.hits for counts in all_counts)


class TestHistory:
    def test_an_hour_has_what_happened_in_it(self) -> None:
        history = History()
        history.add(NOW - HOUR, A)
        history.add(NOW, A)
        history.add(NOW + 1, A)
        hours = history.last_hours(NOW, 3)
        assert [counts.hits for _, counts in hours] == [0, 6, 12]
        assert hours[-1][0] == NOW - 1800

    def test_today_is_utcs(self) -> None:
        history = History()
        midnight = (int(NOW) // DAY) * DAY
        history.add(midnight - 1, A)
        history.add(midnight, A)
        assert history.last_days(midnight + 5, 1) == A
        assert history.last_days(midnight + 5, 2) == A + A

    def test_what_is_long_ago_counts_only_for_ever(self) -> None:
        history = History()
        history.add(NOW - 30 * DAY, A)
        assert history.last_days(NOW, 30) == Counts()
        assert (history.ever, history.since) == (A, NOW - 30 * DAY)

    def test_spans_are_bounded(self) -> None:
        history = History()
        for number in range(1000):
            history.add(NOW + number * DAY, A)
        assert (len(history.hours), len(history.days)) == (HOURS, DAYS)
        assert history.ever.requests == 10_000

    def test_a_clock_that_was_set_forward_and_back_costs_no_history(self) -> None:
        history = History()
        for number in range(24):
            history.add(NOW + number * HOUR, A)
        history.add(NOW + 3650 * DAY, A)
        history.add(NOW + 24 * HOUR, A)
        assert all(counts == A for _, counts in history.last_hours(NOW + 24 * HOUR, 25))

    @given(happenings)
    def test_what_is_kept_is_read_again(self, happened: list[tuple[float, Counts]]) -> None:
        history = History()
        for at, counts in happened:
            history.add(at, counts)
        assert History.of(json.loads(json.dumps(history.plain()))) == history

    @given(happenings, happenings)
    def test_joining_adds_up(self, one: list[tuple[float, Counts]], two: list[tuple[float, Counts]]) -> None:
        histories = History(), History()
        for history, happened in zip(histories, (one, two), strict=True):
            for at, counts in happened:
                history.add(at, counts)
        histories[0].join(histories[1])
        assert histories[0].ever == total(counts for _, counts in one + two)
        assert len(histories[0].hours) <= HOURS

    @pytest.mark.parametrize(
        "plain",
        [
            {},
            {"since": 0, "ever": [1, 2, 3], "hours": {}, "days": {}},
            {"since": 0, "ever": [1, 2, 3, 4, -5], "hours": {}, "days": {}},
            {"since": 0, "ever": [1, 2, 3, 4, "5"], "hours": {}, "days": {}},
            {"since": 0, "ever": [0] * 5, "hours": [], "days": {}},
            {"since": 0, "ever": [0] * 5, "hours": {"x": [0] * 5}, "days": {}},
            {"since": None, "ever": [0] * 5, "hours": {}, "days": {}},
            [],
        ],
    )
    def test_anything_else_is_refused(self, plain: object) -> None:
        with pytest.raises(ValueError, match=r"."):
            History.of(plain)


class TestUsage:
    def test_the_last_days_together(self) -> None:
        usage = Usage()
        usage.add(NOW - DAY, {("six", MAIN): 2})
        usage.add(NOW, {("six", MAIN): 3, ("attrs", MAIN): 1})
        assert usage.top(NOW) == Counter({("six", MAIN): 5, ("attrs", MAIN): 1})

    def test_what_is_older_does_not_count(self) -> None:
        usage = Usage()
        usage.add(NOW - USAGE_DAYS * DAY, {("six", MAIN): 2})
        assert usage.top(NOW) == Counter()

    def test_the_least_used_give_way(self) -> None:
        usage = Usage()
        usage.add(NOW, {("often", MAIN): 2})
        usage.add(NOW, {(f"p{number}", MAIN): 1 for number in range(WATCHED)})
        assert len(usage.top(NOW)) == WATCHED // 2
        assert usage.top(NOW)["often", MAIN] == 2

    def test_of_days_that_are_over_less_is_kept_and_of_days_a_week(self) -> None:
        usage = Usage()
        for day in range(30):
            usage.add(NOW + day * DAY, {(f"p{number}", MAIN): 1 for number in range(WATCHED)})
        assert len(usage.days) == USAGE_DAYS
        assert sorted(map(len, usage.days.values())) == [KEPT] * (USAGE_DAYS - 1) + [WATCHED]

    def test_what_is_kept_is_read_again(self) -> None:
        usage = Usage()
        usage.add(NOW, {("six", frozenset({"a", "b"})): 2, ("six", MAIN): 1})
        assert Usage.of(json.loads(json.dumps(usage.plain()))) == usage

    def test_joining_adds_up_within_the_bounds(self) -> None:
        usage, older = Usage(), Usage()
        usage.add(NOW, {("six", MAIN): 1})
        for day in range(USAGE_DAYS):
            older.add(NOW + (day - USAGE_DAYS) * DAY, {("six", MAIN): 1})
        usage.join(older)
        assert len(usage.days) == USAGE_DAYS
        assert usage.top(NOW) == Counter({("six", MAIN): USAGE_DAYS})

    @pytest.mark.parametrize("plain", [None, [1], [[1, [["six", ["main"]]]]], [[1, [["six", "main", 1]]]], [["x", []]]])
    def test_anything_else_is_refused(self, plain: object) -> None:
        with pytest.raises(ValueError, match=r"."):
            Usage.of(plain)
