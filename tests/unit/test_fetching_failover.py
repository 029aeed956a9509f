"""An index in several places: who is asked, for how long, and what an answer is worth."""

from __future__ import annotations

from typing import cast

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.errors import LedAway, UpstreamFailed
from twisted_pypi.fetching.failover import FIRST_BYTE, RESTING, MirroredUpstream, Place, Places
from twisted_pypi.fetching.leaving import LeavingBody
from twisted_pypi.interfaces import Fetched
from twisted_pypi.mirrors import Mirror
from twisted_pypi.model import FetchRequest
from unit.controlled import ControlledBody
from unit.doubles import FakeUpstream, answer

A, B, C = "http://a.example/", "http://b.example/", "http://c.example/"
PAGE, FILE = "simple/thing/", "packages/thing.whl"
ABSENT = frozenset({404, 410})


def places(final: bool = True, *others: str) -> Places:
    mirrors = (Place(f"main at {url}", Mirror(((A, url),))) for url in others or (B, C))
    return Places((Place("main"), *mirrors), ABSENT, final)


@define
class Origins(FakeUpstream):
    """What is down is so by origin, as with the real one."""

    def is_down(self, url: str) -> bool:
        return any(url.startswith(origin) for origin in self.down)

    def may_probe(self, url: str) -> bool:
        return self.is_down(url) and self.probe_due


class FailoverTestCase(SynchronousTestCase):
    final = True

    def setUp(self) -> None:
        self.clock, self.origins = Clock(), Origins()
        self.upstream = MirroredUpstream(self.origins, self.clock, {"main": places(self.final)})

    def fetch(self, path: str = PAGE, index: str = "main", **how: object) -> Deferred[Fetched]:
        request = FetchRequest(A + path, index, file=path == FILE, **how)  # type: ignore[arg-type]
        return Deferred.fromCoroutine(self.upstream.fetch(request))

    def asked(self) -> list[str]:
        return [request.url for request, _ in self.origins.waiting]

    def failed(self, fetching: Deferred[Fetched]) -> UpstreamFailed:
        return cast(UpstreamFailed, self.failureResultOf(fetching, UpstreamFailed).value)


class OrderTests(FailoverTestCase):
    def test_an_index_without_mirrors_is_asked_as_ever(self) -> None:
        fetching = self.fetch(index="other")
        request = self.origins.answer(answer(503))
        assert request == FetchRequest(A + PAGE, "other")
        assert self.successResultOf(fetching).status == 503

    def test_the_first_answers(self) -> None:
        fetching = self.fetch()
        request = self.origins.answer(answer(200, etag='"a"'))
        assert (request.url, request.index, request.patience) == (A + PAGE, "main", FIRST_BYTE)
        assert self.successResultOf(fetching).headers["etag"] == '"a"'

    def test_a_first_place_that_sends_to_another_index_says_that_it_lacks_the_project(self) -> None:
        fetching = self.fetch()
        self.origins.fail_with(LedAway("redirects away", A + PAGE, 302, other="extra"))
        assert cast(LedAway, self.failed(fetching)).other == "extra"
        assert not self.origins.waiting

    def test_a_mirror_that_does_is_asked_no_more_and_says_nothing_of_it(self) -> None:
        fetching = self.fetch()
        self.origins.fail()
        self.origins.fail_with(LedAway("redirects away", B + PAGE, 302, other="extra"))
        self.origins.fail()
        assert not isinstance(self.failed(fetching), LedAway)

    def test_who_fails_is_left_for_the_next_with_its_own_rules(self) -> None:
        fetching = self.fetch()
        self.origins.fail()
        request = self.origins.fail()
        assert (request.url, request.index, request.patience) == (B + PAGE, f"main at {B}", FIRST_BYTE)
        request = self.origins.answer(answer(200))
        assert (request.url, request.index, request.patience) == (C + PAGE, f"main at {C}", None)
        assert self.successResultOf(fetching).url == C + PAGE

    def test_when_all_fail_the_first_ones_reason_comes_first(self) -> None:
        fetching = self.fetch()
        self.origins.fail("no answer within 2 s", retry_after=7)
        self.origins.fail()
        self.origins.fail()
        failure = self.failed(fetching)
        assert failure.reason == (
            "no answer within 2 s; http://b.example: connection refused; http://c.example: connection refused"
        )
        assert (failure.url, failure.retry_after, failure.unreachable) == (A + PAGE, 7, True)

    def test_who_is_down_is_passed_over_and_tried_last(self) -> None:
        self.origins.down = {A}
        fetching = self.fetch()
        assert self.origins.fail().patience == FIRST_BYTE
        assert self.origins.fail().patience is None  # nobody else is well: it has time
        assert self.origins.fail().url == A + PAGE
        assert self.failed(fetching).url == B + PAGE

    def test_when_all_are_down_all_are_tried_and_the_last_has_time(self) -> None:
        self.origins.down = {A, B, C}
        fetching = self.fetch()
        tried = [self.origins.fail() for _ in range(3)]
        assert [(request.url, request.patience) for request in tried] == [
            (A + PAGE, FIRST_BYTE),
            (B + PAGE, FIRST_BYTE),
            (C + PAGE, None),
        ]
        self.failed(fetching)

    def test_what_mirrors_do_not_have_is_asked_for_once(self) -> None:
        fetching = Deferred.fromCoroutine(self.upstream.fetch(FetchRequest("http://third.example/x", "main")))
        assert self.origins.fail().patience is None
        self.failed(fetching)

    def test_other_places_after_a_reload(self) -> None:
        self.upstream.use({"main": places(True, C)})
        self.fetch()
        self.origins.fail()
        assert self.asked() == [C + PAGE]

    def test_a_waiter_that_leaves_takes_its_request_along(self) -> None:
        fetching = self.fetch()
        fetching.cancel()
        self.failureResultOf(fetching)
        assert [request.url for request in self.origins.requests] == [A + PAGE]


class BackTests(FailoverTestCase):
    def test_one_that_is_down_is_looked_at_beside_the_request(self) -> None:
        self.origins.down, self.origins.probe_due = {A}, True
        fetching = self.fetch(headers={"If-None-Match": "x"})
        look, asked = (request for request, _ in self.origins.waiting)
        assert (look.url, look.method, look.headers, look.patience) == (A + PAGE, "HEAD", {}, FIRST_BYTE)
        assert asked.url == B + PAGE
        self.origins.fail()
        self.origins.answer(answer(200))
        assert self.successResultOf(fetching).status == 200

    def test_looks_end_with_the_daemon(self) -> None:
        self.origins.down, self.origins.probe_due = {A}, True
        self.fetch()
        self.upstream.stop()
        self.upstream.stop()
        assert self.origins.waiting[0][1].called

    def test_one_that_is_busy_rests_as_long_as_it_says(self) -> None:
        for after, pause in ((7, 7.0), (None, RESTING), (3600, RESTING)):
            fetching = self.fetch()
            request, waiting = self.origins.waiting.pop(0)
            assert request.url == A + PAGE
            waiting.errback(UpstreamFailed("answered 429", A, 429, after))
            self.origins.answer(answer(200))
            self.successResultOf(fetching)
            self.clock.advance(pause - 0.1)
            self.fetch()
            assert self.asked() == [B + PAGE]
            self.origins.answer(answer(200))
            self.clock.advance(0.1)

    def test_one_whose_page_is_refused_rests_until_none_is_left(self) -> None:
        for url, more in ((A, True), (B, True), (C, False)):
            fetching = self.fetch()
            assert self.asked() == [url + PAGE]
            self.origins.answer(answer(200))
            assert self.upstream.refuse(self.successResultOf(fetching)) is more
        self.clock.advance(RESTING)
        self.fetch()
        assert self.asked() == [A + PAGE]

    def test_one_that_rests_for_pages_serves_files(self) -> None:
        fetching = self.fetch()
        self.origins.answer(answer(200))
        self.upstream.refuse(self.successResultOf(fetching))
        self.fetch(FILE)
        assert self.asked() == [A + FILE]

    def test_an_index_is_down_when_all_its_places_are(self) -> None:
        self.origins.down = {A, B}
        assert not self.upstream.is_down(A + PAGE)
        self.origins.down = {A, B, C}
        assert self.upstream.is_down(A + PAGE)
        assert not self.upstream.is_down("http://third.example/")
        assert not self.upstream.may_probe(A + PAGE)
        self.origins.probe_due = True
        assert self.upstream.may_probe(A + PAGE)

    def test_an_answer_of_an_index_without_mirrors_has_no_other(self) -> None:
        fetching = self.fetch(index="other")
        self.origins.answer(answer(200))
        assert not self.upstream.refuse(self.successResultOf(fetching))


class AbsenceTests(FailoverTestCase):
    def test_the_first_knows(self) -> None:
        fetching = self.fetch(held=True)
        self.origins.answer(answer(404))
        assert self.successResultOf(fetching).status == 404

    def test_another_is_believed_where_it_takes_nothing_away(self) -> None:
        fetching = self.fetch()
        self.origins.fail()
        self.origins.answer(answer(404))
        assert self.successResultOf(fetching).status == 404

    def test_a_copy_at_hand_is_worth_more(self) -> None:
        fetching = self.fetch(held=True)
        self.origins.fail()
        lagging = answer(404)
        self.origins.answer(lagging)
        assert lagging.body.abandoned
        self.origins.answer(answer(410))
        assert self.failed(fetching).reason.endswith("http://c.example: answered 410, but may lag behind")

    def test_the_name_is_not_opened_to_another_index(self) -> None:
        self.upstream.use({"main": places(False)})
        fetching = self.fetch()
        self.origins.fail()
        self.origins.answer(answer(404))
        self.origins.answer(answer(200))
        assert self.successResultOf(fetching).url == C + PAGE

    def test_a_refusal_is_handed_on_when_nobody_has_a_better_answer(self) -> None:
        fetching = self.fetch()
        self.origins.answer(answer(403, b"first"))
        self.origins.answer(answer(400))
        self.origins.fail()
        assert self.successResultOf(fetching).status == 403

    def test_a_file_may_be_at_any(self) -> None:
        fetching = self.fetch(FILE)
        lacking = answer(404)
        self.origins.answer(lacking)
        assert lacking.body.abandoned  # before the next is asked, which may wait for its place among the fetches
        self.origins.answer(answer(200))
        assert self.successResultOf(fetching).url == B + FILE

    def test_a_file_is_nowhere_when_all_say_so(self) -> None:
        fetching = self.fetch(FILE)
        for _ in range(3):
            self.origins.answer(answer(404))
        assert self.successResultOf(fetching).status == 404

    def test_who_failed_may_have_the_file(self) -> None:
        fetching = self.fetch(FILE)
        lacking = answer(404)
        self.origins.answer(lacking)
        self.origins.fail()
        self.origins.answer(answer(404))
        assert self.failed(fetching).reason == "connection refused"
        assert lacking.body.abandoned


class ValidatorTests(FailoverTestCase):
    def elsewhere(self, path: str, **how: object) -> FetchRequest:
        self.fetch(path, **how)
        self.origins.fail()
        return self.origins.waiting[0][0]

    def test_conditions_are_for_the_first_alone(self) -> None:
        request = self.elsewhere(PAGE, headers={"If-None-Match": '"a"', "If-Modified-Since": "b", "X": "y"})
        assert request.headers == {"X": "y"}

    def test_a_mirrors_validators_are_not_kept(self) -> None:
        fetching = self.fetch()
        self.origins.fail()
        self.origins.answer(answer(200, etag='"b"', last_modified="x", x_pypi_last_serial="7"))
        assert self.successResultOf(fetching).headers == {"x-pypi-last-serial": "7"}

    def test_a_file_goes_on_elsewhere_where_a_digest_decides(self) -> None:
        headers = {"Range": "bytes=5-", "If-Range": '"a"'}
        assert self.elsewhere(FILE, headers=headers, verifiable=True).headers == {"Range": "bytes=5-"}

    def test_else_all_of_it_is_asked_for(self) -> None:
        assert self.elsewhere(FILE, headers={"Range": "bytes=5-", "If-Range": '"a"'}).headers == {}

    def test_a_piece_that_needs_no_validator_comes_from_anywhere(self) -> None:
        assert self.elsewhere(FILE, headers={"Range": "bytes=0-9"}).headers == {"Range": "bytes=0-9"}


class SpeedTests(FailoverTestCase):
    def begin(self, **how: object) -> tuple[Fetched, ControlledBody]:
        fetching = self.fetch(FILE, **how)
        slow = answer(200)
        body = ControlledBody()
        slow.body = body  # type: ignore[assignment]
        self.origins.answer(slow)
        return self.successResultOf(fetching), body

    def trickle(self, fetched: Fetched, body: ControlledBody, size: int) -> Deferred[bytes]:
        """Ten pieces of this size, a second before each; the last read."""
        reading: Deferred[bytes] = Deferred()
        for _ in range(10):
            reading = Deferred.fromCoroutine(fetched.body.read())
            self.clock.advance(1)
            body.send(b"x" * size)
        return reading

    def test_a_file_that_comes_slowly_is_left(self) -> None:
        fetched, body = self.begin()
        reading = self.trickle(fetched, body, 99_999)
        failure = self.failureResultOf(reading, UpstreamFailed).value
        assert cast(UpstreamFailed, failure).reason == "only 999990 bytes within 10 s from http://a.example"
        assert body.abandoned
        self.fetch(FILE)
        assert self.asked() == [B + FILE]

    def test_one_that_is_fast_enough_is_not(self) -> None:
        fetched, body = self.begin()
        for _ in range(3):
            assert self.successResultOf(self.trickle(fetched, body, 100_000))

    def test_it_is_not_where_there_is_no_other(self) -> None:
        self.origins.down = {B, C}
        fetched, body = self.begin()
        assert self.successResultOf(self.trickle(fetched, body, 1))

    def test_a_piece_that_nothing_goes_on_with_is_not(self) -> None:
        fetched, body = self.begin(headers={"Range": "bytes=0-99999"})
        assert self.successResultOf(self.trickle(fetched, body, 1))

    def test_the_rest_of_a_file_is(self) -> None:
        fetched, body = self.begin(headers={"Range": "bytes=5-"})
        self.failureResultOf(self.trickle(fetched, body, 1), UpstreamFailed)

    def test_a_client_may_be_slow(self) -> None:
        fetched, body = self.begin()
        for _ in range(20):
            self.clock.advance(1)
            body.send(b"x")
            assert self.successResultOf(Deferred.fromCoroutine(fetched.body.read())) == b"x"

    def test_a_body_that_breaks_has_its_place_left(self) -> None:
        fetched, body = self.begin()
        reading = Deferred.fromCoroutine(fetched.body.read())
        body.end(UpstreamFailed("broke", A))
        self.failureResultOf(reading, UpstreamFailed)
        self.fetch(FILE)
        assert self.asked() == [B + FILE]

    def test_one_that_nobody_wants_any_more_has_not(self) -> None:
        fetched, _ = self.begin()
        reading = Deferred.fromCoroutine(fetched.body.read())
        fetched.body.abandon()
        self.failureResultOf(reading, UpstreamFailed)
        self.fetch(FILE)
        assert self.asked() == [A + FILE]

    def test_the_body_is_the_one_below(self) -> None:
        body = ControlledBody()
        leaving = LeavingBody(body, self.clock, A, lambda: None, lambda: False)
        assert (leaving.length, leaving.delimited) == (body.length, body.delimited)
