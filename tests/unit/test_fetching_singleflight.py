"""Singleflight against a model, and its single laws."""

from __future__ import annotations

import gc

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.fetching.singleflight import Singleflight


class Works:
    """Works that end when told to."""

    def __init__(self) -> None:
        self.started: list[Deferred[str]] = []

    async def work(self) -> str:
        gate: Deferred[str] = Deferred()
        self.started.append(gate)
        return await gate


class SingleflightTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.flights: Singleflight[str] = Singleflight()
        self.works = Works()

    def do(self) -> Deferred[str]:
        return self.flights.do("key", self.works.work)

    def test_all_share_one_work(self) -> None:
        waiters = [self.do() for _ in range(3)]
        self.works.started[0].callback("result")
        assert len(self.works.started) == 1
        assert [self.successResultOf(waiter) for waiter in waiters] == ["result"] * 3

    def test_all_share_one_failure(self) -> None:
        waiters = [self.do() for _ in range(2)]
        self.works.started[0].errback(LookupError("gone"))
        for waiter in waiters:
            self.failureResultOf(waiter, LookupError)

    def test_the_key_is_free_before_anybody_is_told(self) -> None:
        seen: list[bool] = []
        self.do().addCallback(lambda _: seen.append(self.flights.running("key")))
        assert self.flights.running("key")
        self.works.started[0].callback("result")
        assert seen == [False]

    def test_a_waiter_leaves_alone(self) -> None:
        first, second = self.do(), self.do()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.works.started[0].callback("result")
        assert self.successResultOf(second) == "result"

    def test_work_goes_on_for_nobody(self) -> None:
        waiter = self.do()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        assert self.flights.running("key")
        late = self.do()
        self.works.started[0].callback("result")
        assert self.successResultOf(late) == "result"

    def test_failure_for_nobody_is_not_logged(self) -> None:
        waiter = self.do()
        waiter.cancel()
        self.failureResultOf(waiter, CancelledError)
        self.works.started[0].errback(LookupError("gone"))
        gc.collect()
        assert self.flushLoggedErrors() == []

    def test_who_was_told_may_cancel_who_was_not(self) -> None:
        first, second = self.do(), self.do()
        first.addCallback(lambda _: second.cancel())
        self.works.started[0].callback("result")
        self.successResultOf(first)
        self.failureResultOf(second, CancelledError)

    def test_cancel_all(self) -> None:
        waiter = self.do()
        self.flights.cancel_all()
        self.failureResultOf(waiter, CancelledError)
        assert not self.flights.running("key")

    def test_work_that_cancels_all_at_once(self) -> None:
        async def work() -> str:
            self.flights.cancel_all()
            return "result"

        self.failureResultOf(self.flights.do("key", work), CancelledError)
        assert not self.flights.running("key")

    def test_work_that_ends_at_once(self) -> None:
        async def work() -> str:
            return "result"

        assert self.successResultOf(self.flights.do("key", work)) == "result"
        assert not self.flights.running("key")


KEYS = st.sampled_from("ab")


class SingleflightMachine(RuleBasedStateMachine):
    """Starts, joins, leaves and ends in any order: the waiters are told exactly what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.flights: Singleflight[str] = Singleflight()
        self.gates: dict[str, Deferred[str]] = {}
        self.waiting: dict[str, list[int]] = {}
        self.told: dict[int, object] = {}
        self.expected: dict[int, object] = {}
        self.deferreds: list[Deferred[str]] = []

    async def work(self, key: str) -> str:
        assert key not in self.gates
        self.gates[key] = Deferred()
        return await self.gates[key]

    @rule(key=KEYS)
    def ask(self, key: str) -> None:
        number = len(self.deferreds)
        waiter = self.flights.do(key, lambda: self.work(key))
        waiter.addBoth(lambda result: self.told.__setitem__(number, getattr(result, "type", result)))
        self.deferreds.append(waiter)
        self.waiting.setdefault(key, []).append(number)

    @rule(key=KEYS, choice=st.integers(0, 100))
    def leave(self, key: str, choice: int) -> None:
        numbers = self.waiting.get(key, [])
        if numbers:
            number = numbers.pop(choice % len(numbers))
            self.expected[number] = CancelledError
            self.deferreds[number].cancel()

    @precondition(lambda self: self.gates)
    @rule(choice=st.integers(0, 100), fails=st.booleans())
    def end(self, choice: int, fails: bool) -> None:
        key = sorted(self.gates)[choice % len(self.gates)]
        gate, outcome = self.gates.pop(key), f"{key}{len(self.told)}"
        for number in self.waiting.pop(key, []):
            self.expected[number] = LookupError if fails else outcome
        gate.errback(LookupError()) if fails else gate.callback(outcome)

    @invariant()
    def told_what_was_expected(self) -> None:
        assert self.told == self.expected
        assert {key for key in "ab" if self.flights.running(key)} == set(self.gates)


TestSingleflightMachine = SingleflightMachine.TestCase
