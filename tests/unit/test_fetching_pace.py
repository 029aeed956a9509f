"""A body that trickles is given up; one that is only slow is not."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.pace import PATIENCE, SLOWEST, PacedBody
from unit.controlled import ControlledBody

URL = "https://index.example/simple/thing/"


class PacedBodyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.inner = Clock(), ControlledBody(length=7)
        self.body = PacedBody(self.inner, URL, self.clock.seconds)

    def read(self) -> Deferred[bytes]:
        return Deferred.fromCoroutine(self.body.read())

    def test_it_is_the_body_that_it_wraps(self) -> None:
        assert (self.body.length, self.body.delimited) == (7, True)
        self.inner.send(b"data")
        self.inner.end()
        assert [self.successResultOf(self.read()) for _ in range(2)] == [b"data", b""]
        self.body.abandon()
        assert self.inner.abandoned

    def test_a_byte_a_second_is_given_up_after_a_while(self) -> None:
        for _ in range(int(PATIENCE)):
            self.clock.advance(1)
            self.inner.send(b"x")
            assert self.successResultOf(self.read()) == b"x"
        self.clock.advance(1)
        self.inner.send(b"x")
        failure = self.failureResultOf(self.read(), UpstreamFailed).value
        assert (failure.reason, failure.url) == ("only 31 bytes within 31 s", URL)
        assert self.inner.abandoned

    def test_a_slow_line_may_take_its_time(self) -> None:
        for _ in range(100):
            self.clock.advance(10)
            self.inner.send(b"x" * (10 * SLOWEST))
            assert len(self.successResultOf(self.read())) == 10 * SLOWEST

    def test_the_end_is_never_too_late(self) -> None:
        self.inner.send(b"x")
        self.successResultOf(self.read())
        self.clock.advance(PATIENCE + 1)
        self.inner.end()
        assert self.successResultOf(self.read()) == b""
