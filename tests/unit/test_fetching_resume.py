"""What an answer after a break means, and a body that goes on: nothing is spliced, and there is an end to trying."""

from __future__ import annotations

import hashlib
import random

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import IntegrityFailed, TransferBroke, TransferResumed
from twisted_pypi.fetching.integrity import WrongBody
from twisted_pypi.fetching.resume import BACKOFF, PROGRESS, Verdict, judge, question, validator_of
from twisted_pypi.fetching.resuming import ResumingBody
from unit.doubles import FakeBody, FakeFetched

URL = "https://files.example/x.whl"
DATA = random.Random(1).randbytes(5 * PROGRESS)
EARLY, LATE = "Wed, 01 Jan 2025 00:00:00 GMT", "Wed, 01 Jan 2025 00:00:01 GMT"
BROKE = UpstreamFailed("connection broke", URL)


def test_validators() -> None:
    assert validator_of({"etag": '"1"', "last-modified": EARLY, "date": LATE}) == '"1"'
    assert validator_of({"etag": 'W/"1"', "last-modified": EARLY, "date": LATE}) == ""
    assert validator_of({"etag": "1"}) == ""
    assert validator_of({"last-modified": EARLY, "date": LATE}) == EARLY
    for date in (EARLY, "", "yesterday"):
        assert validator_of({"last-modified": EARLY, "date": date}) == ""


def test_questions() -> None:
    assert question(0, '"1"', True) == {}
    assert question(5, "", False) == {}
    assert question(5, "", True) == {"Range": "bytes=5-"}
    assert question(5, '"1"', False) == {"Range": "bytes=5-", "If-Range": '"1"'}


ASKED = {"Range": "bytes=5-", "If-Range": '"1"'}


def test_only_exactly_what_is_missing_goes_on() -> None:
    def verdict(status: int = 206, asked: dict[str, str] = ASKED, coming: int | None = None, **headers: str) -> Verdict:
        named = {"content-range": "bytes 5-9/10", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return judge(status, named, coming, asked, 5, 10)

    assert verdict() is verdict(etag='"1"') is verdict(content_range="bytes 5-7/10") is Verdict.CONTINUE
    wrong = ("", "bytes 4-9/10", "bytes 6-9/10", "bytes 5-9/11", "bytes 5-9/*", "bytes 5-10/10", "bytes */10", "5-9/10")
    assert {verdict(content_range=header) for header in wrong} == {Verdict.WHOLE}
    assert verdict(etag='"2"') is verdict(content_encoding="gzip") is verdict(asked={}) is Verdict.WHOLE
    assert verdict(coming=4) is Verdict.WHOLE
    assert verdict(coming=5) is Verdict.CONTINUE
    assert verdict(416) is Verdict.WHOLE
    assert verdict(200) is verdict(200, coming=10) is Verdict.COMPARE
    assert verdict(200, coming=11) is Verdict.CHANGED


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(1, 20), st.none() | st.integers(1, 30))
def test_a_piece_never_goes_elsewhere(first: int, last: int, whole: int, position: int, length: int | None) -> None:
    headers = {"content-range": f"bytes {first}-{last}/{whole}"}
    if judge(206, headers, None, ASKED, position, length) is Verdict.CONTINUE:
        assert first == position <= last < whole
        assert length in (None, whole)


class Trickle(FakeBody):
    """Comes byte by byte, one each five seconds."""

    clock: Clock

    def __init__(self) -> None:
        super().__init__([DATA[at : at + 1] for at in range(20)], len(DATA))

    async def read(self) -> bytes:
        await deferLater(self.clock, 5.0)
        return await super().read()


@define
class Line:
    """Upstream: answers by script; every attempt is recorded."""

    answers: list[FakeFetched | UpstreamFailed]
    asked: list[dict[str, str]] = field(factory=list)

    async def __call__(self, headers: dict[str, str]) -> FakeFetched:
        self.asked.append(dict(headers))
        answer = self.answers.pop(0)
        if isinstance(answer, UpstreamFailed):
            raise answer
        return answer


def body(first: int, last: int = len(DATA), *, whole: bool = False, data: bytes = DATA) -> FakeFetched:
    """What upstream sends from `first` on; it breaks at `last` if that isn't the end."""
    pieces = [data[at : min(at + 50_000, last)] for at in range(first, last, 50_000)]
    came = FakeBody(pieces, len(data) - first, failure=BROKE if last < len(data) else None)
    headers = {} if whole else {"content-range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
    return FakeFetched(200 if whole else 206, headers, came, URL)


class ResumingTests(SynchronousTestCase):
    def begin(self, breaks_at: int | Trickle, *answers: FakeFetched | UpstreamFailed, validator: str = '"1"') -> None:
        self.clock, self.got, self.events = Clock(), b"", []
        self.line = Line(list(answers))
        first = breaks_at if isinstance(breaks_at, Trickle) else body(0, breaks_at).body
        if isinstance(first, Trickle):
            first.clock = self.clock
        self.body = ResumingBody(
            URL,
            0,
            len(DATA),
            validator,
            False,
            self.clock,
            FakeFetched(200, {}, first, URL),
            self.events.append,
            self.line,
            lambda: hashlib.sha256(self.got).hexdigest(),
        )
        self.reading = Deferred.fromCoroutine(self.read())

    async def read(self) -> None:
        while data := await self.body.read():
            self.got += data

    def whole(self) -> None:
        self.clock.pump(BACKOFF * 3)
        self.successResultOf(self.reading)
        self.assertEqual(self.got, DATA)

    def failed(self, kind: type[UpstreamFailed] = UpstreamFailed) -> UpstreamFailed:
        self.clock.pump(BACKOFF * 3)
        failure = self.failureResultOf(self.reading, kind).value
        self.assertTrue(DATA.startswith(self.got))
        return failure

    def test_goes_on_where_it_was(self) -> None:
        self.begin(1000, body(1000, 70_000), body(70_000))
        self.whole()
        self.assertEqual([asked["Range"] for asked in self.line.asked], ["bytes=1000-", "bytes=70000-"])
        steps = [[TransferBroke(URL, at, BROKE.reason), TransferResumed(URL, at)] for at in (1000, 70_000)]
        self.assertEqual(self.events, [*steps[0], *steps[1]])

    def test_a_trickle_is_a_break(self) -> None:
        trickle = Trickle()
        self.begin(trickle, body(7))
        self.clock.pump([5.0] * 7)
        self.assertEqual((trickle.abandoned, self.got), (True, DATA[:7]))
        self.whole()
        self.assertEqual(self.events, [TransferBroke(URL, 7, "only 7 bytes within 35 s"), TransferResumed(URL, 7)])

    def test_waits_longer_each_time(self) -> None:
        self.begin(1000, BROKE, BROKE, body(1000))
        for attempts, pause in enumerate(BACKOFF):
            self.clock.advance(pause - 0.01)
            self.assertEqual(len(self.line.asked), attempts)
            self.clock.advance(0.01)
        self.whole()

    def test_gives_up_after_three_attempts_without_progress(self) -> None:
        self.begin(1000, BROKE, body(1000, 2000), BROKE, body(1000))
        self.failed()
        self.assertEqual(len(self.line.asked), 3)
        self.assertEqual([event.position for event in self.events if isinstance(event, TransferResumed)], [1000])

    def test_progress_counts_the_attempts_anew(self) -> None:
        stops = [PROGRESS * number // 2 * 2 for number in range(1, 5)]
        self.begin(
            1000, *(body(a, b) for a, b in zip([1000, *stops], [*(s + 1 for s in stops), len(DATA)], strict=True))
        )
        self.failed()
        ends = [1000 + (PROGRESS + 1) * number for number in range(5)]
        self.begin(1000, *(body(a, min(b, len(DATA))) for a, b in zip(ends, [*ends[1:], len(DATA)], strict=True)))
        self.whole()
        self.assertEqual(len(self.line.asked), 5)

    def test_no_progress_in_small_pieces(self) -> None:
        self.begin(1000, *(body(1000 + at, 1001 + at) for at in range(10)))
        self.failed()
        self.assertEqual(len(self.line.asked), 3)

    def test_a_whole_is_compared_and_its_rest_taken(self) -> None:
        for at in (1, 50_000, 60_000):
            self.begin(at, body(0, whole=True))
            self.whole()

    def test_a_whole_that_breaks_before_our_position_is_another_attempt(self) -> None:
        self.begin(60_000, body(0, 30_000, whole=True), body(60_000))
        self.whole()

    def test_another_file_is_never_spliced(self) -> None:
        for other in (b"?" + DATA[1:], DATA + b"?", DATA[:-1]):
            self.begin(60_000, body(0, len(other), whole=True, data=other), body(60_000))
            self.assertIn("changed", self.failed(WrongBody).reason)
            self.assertIsInstance(self.events[-1], IntegrityFailed)
            self.assertEqual(len(self.got), 60_000)

    def test_after_a_useless_answer_the_whole_is_asked_for(self) -> None:
        for useless in (body(999), FakeFetched(416, {}, FakeBody([]), URL)):
            self.begin(1000, useless, body(0, whole=True))
            self.whole()
            self.assertTrue(useless.body.abandoned)
            self.assertEqual(self.line.asked[1], {})

    def test_what_upstream_refuses_is_final(self) -> None:
        self.begin(1000, UpstreamFailed("answered 403", URL, 403), body(1000))
        self.assertEqual(self.failed().status, 403)
        self.begin(1000, UpstreamFailed("answered 429", URL, 429), body(1000))
        self.whole()

    def test_an_early_end_is_a_break(self) -> None:
        short = body(1000)
        del short.body.pieces[2:]
        self.begin(1000, short, body(101_000))
        self.whole()

    def test_a_break_after_the_last_byte_is_none(self) -> None:
        self.begin(1000, body(1000))
        self.line.answers[0].body.failure = BROKE
        self.whole()

    def test_abandoning_ends_the_attempts(self) -> None:
        self.begin(1000, body(1000))
        self.body.abandon()
        self.failed()
        self.assertEqual(self.line.asked, [])

    def test_cancelling_ends_the_attempts(self) -> None:
        self.begin(1000, body(1000))
        self.reading.addErrback(lambda _: None)
        self.reading.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
