"""FairSlots: the bound, the turns, and leaving the queue."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.fetching.limits import FairSlots


class Queue:
    """Askers of one FairSlots, and the order in which they were served."""

    def __init__(self, limit: int) -> None:
        self.slots = FairSlots(limit)
        self.served: list[tuple[str, str]] = []

    def ask(self, client: str, origin: str = "o") -> Deferred[None]:
        acquired = Deferred.fromCoroutine(self.slots.acquire(client, origin))
        return acquired.addCallback(lambda _: self.served.append((client, origin)))


class FairSlotsTests(SynchronousTestCase):
    def test_free_places_are_had_at_once(self) -> None:
        queue = Queue(2)
        self.successResultOf(queue.ask("a"))
        self.successResultOf(queue.ask("a"))
        self.assertNoResult(queue.ask("a"))
        assert queue.slots.held == 2

    def test_more_and_fewer_places(self) -> None:
        queue = Queue(1)
        for client in "abcd":
            queue.ask(client)
        queue.slots.resize(3)
        assert [client for client, _ in queue.served] == ["a", "b", "c"]
        queue.slots.resize(1)
        assert queue.slots.held == 3
        queue.slots.release()
        queue.slots.release()
        assert len(queue.served) == 3
        queue.slots.release()
        assert [client for client, _ in queue.served] == ["a", "b", "c", "d"]
        assert queue.slots.held == 1

    def test_in_turn_between_clients(self) -> None:
        queue = Queue(1)
        for client in "aaaabbc":
            queue.ask(client)
        for _ in range(6):
            queue.slots.release()
        assert [client for client, _ in queue.served] == ["a", "a", "b", "c", "a", "b", "a"]

    def test_in_turn_between_origins_of_a_client(self) -> None:
        queue = Queue(1)
        for origin in "xxxxy":
            queue.ask("a", origin)
        for _ in range(4):
            queue.slots.release()
        assert [origin for _, origin in queue.served] == ["x", "x", "y", "x", "x"]

    def test_who_leaves_is_not_served(self) -> None:
        queue = Queue(1)
        queue.ask("a")
        gone = queue.ask("b")
        stays = queue.ask("c")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        queue.slots.release()
        self.successResultOf(stays)
        queue.slots.release()
        assert queue.slots.held == 0


@given(st.integers(1, 4), st.lists(st.sampled_from("+-x"), max_size=60), st.randoms())
def test_bounded_and_never_idle(limit: int, steps: list[str], random: Random) -> None:
    queue, waiting, counts = Queue(limit), [], Counter[str]()
    for number, step in enumerate(steps):
        if step == "+":
            waiting.append(queue.ask(str(number % 3), str(number % 2)))
        elif step == "-" and counts["released"] < len(queue.served):
            counts["released"] += 1
            queue.slots.release()
        elif step == "x" and waiting:
            waiter = waiting.pop(random.randrange(len(waiting)))
            if not waiter.called:
                counts["left"] += 1
                waiter.addErrback(lambda failure: failure.trap(CancelledError))
                waiter.cancel()
        counts["asked"] += step == "+"
        running = len(queue.served) - counts["released"]
        assert running == queue.slots.held == min(limit, counts["asked"] - counts["left"] - counts["released"])
