"""The breaker's laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.events import BreakerChanged, Event
from twisted_pypi.fetching.breaker import LONGEST_PAUSE, MOST, Breaker, Breakers

ORIGIN = "https://files.example"


def opened(at: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(at)
    return breaker


def test_where_there_is_another_place_one_failure_is_enough() -> None:
    events: list[Event] = []
    breakers = Breakers(events.append, {ORIGIN})
    breakers.failed(ORIGIN, 0.0)
    breakers.failed("https://other.example", 0.0)
    assert events == [BreakerChanged(ORIGIN, True)]
    assert breakers.may_probe(ORIGIN, 1.0)


def test_opens_at_the_third_failure_in_a_row() -> None:
    breaker = Breaker()
    assert [breaker.failed(0.0), breaker.open] == [False, False]
    assert [breaker.failed(0.0), breaker.open] == [False, False]
    assert [breaker.failed(0.0), breaker.open] == [True, True]
    assert not breaker.failed(0.0)


def test_pauses_between_failing_probes() -> None:
    breaker, now, pauses = opened(0.0), 0.0, []
    for _ in range(8):
        began = now
        while not breaker.may_probe(now):
            now += 0.5
        pauses.append(now - began)
        breaker.failed(now)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_one_probe_at_a_time_and_a_lost_one_is_replaced() -> None:
    breaker = opened(0.0)
    assert [breaker.may_probe(now) for now in (0.9, 1.0, 1.0, 1.9, 2.0)] == [False, True, False, False, True]


def test_who_tries_anyway_does_not_put_the_probe_off() -> None:
    breaker = opened(0.0)
    for tenth in range(10):
        breaker.failed(tenth / 10)
    assert breaker.may_probe(1.0)


def test_success_closes_and_is_told_once() -> None:
    events: list[Event] = []
    breakers = Breakers(events.append)
    for _ in range(5):
        breakers.failed(ORIGIN, 0.0)
    assert breakers.is_down(ORIGIN)
    breakers.succeeded(ORIGIN)
    breakers.succeeded(ORIGIN)
    assert not breakers.is_down(ORIGIN)
    assert events == [BreakerChanged(ORIGIN, True), BreakerChanged(ORIGIN, False)]


def test_of_too_many_the_one_that_failed_least_lately_is_forgotten() -> None:
    events: list[Event] = []
    breakers = Breakers(events.append)
    for origin in ("forgotten", ORIGIN):
        for _ in range(3):
            breakers.failed(origin, 0.0)
    for number in range(2 * MOST):
        breakers.failed(number, 1.0)
        breakers.failed(ORIGIN, 1.0)
    assert breakers.is_down(ORIGIN)
    assert not breakers.is_down("forgotten")
    assert events[2:] == [BreakerChanged("forgotten", False)]


def test_success_between_failures_starts_the_count_again() -> None:
    events: list[Event] = []
    breakers = Breakers(events.append)
    for _ in range(4):
        breakers.failed(ORIGIN, 0.0)
        breakers.failed(ORIGIN, 0.0)
        breakers.succeeded(ORIGIN)
    assert events == []


def test_an_origin_that_is_well_needs_no_probe() -> None:
    breakers = Breakers(lambda event: None)
    breakers.failed(ORIGIN, 0.0)
    assert not breakers.may_probe(ORIGIN, 100.0)
    assert not breakers.may_probe("https://other.example", 100.0)


def test_origins_are_apart() -> None:
    breakers = Breakers(lambda event: None)
    for _ in range(3):
        breakers.failed(ORIGIN, 0.0)
    assert not breakers.is_down("https://other.example")


@given(st.lists(st.tuples(st.sampled_from(["ask", "fail"]), st.floats(0, 40)), max_size=80))
def test_an_open_breaker_lets_a_probe_through_within_the_longest_pause(steps: list[tuple[str, float]]) -> None:
    breaker, now = opened(0.0), 0.0
    last_probe, last_failure = 0.0, 0.0
    for what, pause in steps:
        now += pause
        if what == "fail":
            breaker.failed(now)
            last_failure = now
        elif not breaker.may_probe(now):
            assert now - max(last_probe, last_failure) <= LONGEST_PAUSE
        else:
            assert now - last_probe >= 1.0
            last_probe = now
