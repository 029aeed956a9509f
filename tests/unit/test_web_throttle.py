"""Guesses: how many there may be, and whom they hinder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.web.throttle import MOST, OF_CLIENT, OF_NAME, Throttle


def guesses(throttle: Throttle, now: float, name: bytes = b"ci", client: str = "192.0.2.7", at_most: int = 100) -> int:
    """How many in a row are let through."""
    return next((count for count in range(at_most) if throttle.take(client, name, now)), at_most)


def test_some_at_once_and_then_one_after_the_other() -> None:
    throttle = Throttle()
    assert guesses(throttle, 0.0) == OF_NAME.burst
    assert throttle.take("192.0.2.7", b"ci", 0.0) == pytest.approx(1 / OF_NAME.per_second)
    assert throttle.take("192.0.2.7", b"ci", 1.9) > 0
    assert throttle.take("192.0.2.7", b"ci", 2.0) == 0


def test_another_name_and_another_client_are_not_hindered() -> None:
    throttle = Throttle()
    for second in range(50):
        guesses(throttle, float(second))
    assert throttle.take("192.0.2.7", b"else", 50.0) == 0
    assert throttle.take("192.0.2.8", b"ci", 50.0) == 0


def test_names_without_end_are_one_client_s_all_the_same() -> None:
    throttle = Throttle()
    taken = [not throttle.take("192.0.2.7", b"%d" % number, 0.0) for number in range(100)]
    assert sum(taken) == OF_CLIENT.burst
    assert throttle.take("192.0.2.8", b"0", 0.0) == 0


def test_a_right_one_costs_nothing() -> None:
    throttle = Throttle()
    for _ in range(100):
        assert throttle.take("192.0.2.7", b"ci", 0.0) == 0
        throttle.give_back("192.0.2.7", b"ci", 0.0)
    assert guesses(throttle, 0.0) == OF_NAME.burst


def test_an_empty_name_is_a_name() -> None:
    throttle = Throttle()
    assert guesses(throttle, 0.0, b"") == OF_NAME.burst
    assert throttle.take("192.0.2.7", b"ci", 0.0) == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(2 * MOST):
        throttle.take(f"2001:db8::{number:x}", b"ci", 0.0)
    assert len(throttle._buckets) == MOST


@given(st.lists(st.floats(0, 10), max_size=200))
def test_never_more_than_the_rate(gaps: list[float]) -> None:
    throttle, now, passed = Throttle(), 0.0, 0
    for gap in gaps:
        now += gap
        passed += not throttle.take("192.0.2.7", b"ci", now)
    assert passed <= OF_NAME.burst + now * OF_NAME.per_second + 1e-6
