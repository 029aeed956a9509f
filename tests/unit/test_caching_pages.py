"""Pages: coalescing, stale answers, ownership, negative answers, versions. In memory, on an injected clock."""

from __future__ import annotations

from math import ceil
from unittest.mock import Mock, patch

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.answers import Asker, CacheState
from twisted_pypi.caching.pages import BUDGET, CachedPages, PagePolicy
from twisted_pypi.caching.refresh import STALE_TTL, Refresher
from twisted_pypi.caching.withheld import WITHHELD, Withheld
from twisted_pypi.errors import Absent, LedAway, Unavailable, UpstreamFailed
from twisted_pypi.events import FetchFailed, OwnerAbsent, PageRegressed, PageRejected
from twisted_pypi.fetching.pace import PATIENCE
from twisted_pypi.http.freshness import REGRESSION_PATIENCE
from twisted_pypi.model import PageRoute
from twisted_pypi.storage.memory import MemoryStore
from unit.controlled import ControlledBody
from unit.doubles import FakeUpstream, InlineWorkers, TextDocument, answer, page_route, scratch, source

TTL = 300.0


class PagesCase(SynchronousTestCase):
    """One cache over a fake upstream and a store in memory."""

    policy = PagePolicy(stale_wait=1.0)

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.events = []
        self.upstream = FakeUpstream()
        workers = InlineWorkers()
        self.store = MemoryStore()
        refresher = Refresher(self.upstream, self.store.pages, workers, self.events.append, self.clock.seconds, scratch)
        self.pages = CachedPages(
            self.store, self.upstream, refresher, workers, self.events.append, self.clock, self.policy
        )
        self.route = page_route(source())

    def ask(self, route=None, **asker) -> Deferred:
        return Deferred.fromCoroutine(self.pages.answer(route or self.route, Asker(**asker)))

    def cached(self, text: bytes = b"one", route=None, **headers: str) -> None:
        """Have a fresh page in the cache."""
        asked = self.ask(route)
        self.upstream.answer(answer(200, text, **headers))
        self.successResultOf(asked)

    def text_of(self, answered) -> bytes:
        representation = answered.page.representations["text", "identity"]
        body = self.successResultOf(Deferred.fromCoroutine(self.pages.body(answered, representation)))
        return body if isinstance(body, bytes) else body.read(0, representation.length)

    def assert_answer(self, asked: Deferred, state: CacheState, text: bytes) -> None:
        answered = self.successResultOf(asked)
        self.assertEqual((answered.provenance.state, self.text_of(answered)), (state, text))

    def of_kind(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


class OutOfMemory(PagesCase):
    """The parsing thread can't have the memory that one page takes."""

    def without_memory(self) -> PageRoute:
        def interpret(body: object) -> TextDocument:
            raise MemoryError

        return page_route(evolve(source(), interpret=interpret))

    def test_it_is_a_failure_of_that_page(self) -> None:
        asked = self.ask(self.without_memory())
        self.upstream.answer(answer(200, b"large"))
        problem = self.failureResultOf(asked, Unavailable).value
        self.assertIn("memory", problem.reason)
        self.assertEqual([event.reason for event in self.of_kind(PageRejected)], ["out of memory"])
        self.cached()

    def test_a_copy_is_served_instead(self) -> None:
        self.cached()
        self.clock.advance(TTL)
        asked = self.ask(self.without_memory())
        self.upstream.answer(answer(200, b"large"))
        self.assert_answer(asked, CacheState.STALE, b"one")


class Templates(PagesCase):
    def test_they_are_stored_without_codings(self) -> None:
        forms = tuple(evolve(form, placeholder=b"@BASE@") for form in self.route.forms)
        for route, codings in (
            (self.route, 3),
            (evolve(page_route(source(name="other"), name="other"), forms=forms), 1),
        ):
            asked = self.ask(route)
            self.upstream.answer(answer(200, b"one"))
            self.assertEqual(len(self.successResultOf(asked).page.representations), codings)


class Coalescing(PagesCase):
    def test_a_page_that_is_stored_between_the_look_and_the_fetch_is_served(self) -> None:
        looking: Deferred = Deferred()
        with patch.object(type(self.store.pages), "get", Mock(side_effect=[looking])):
            asked = self.ask()
        other = self.ask()
        self.upstream.answer(answer(200, b"one", etag='"1"'))
        self.successResultOf(other)
        looking.callback(None)
        self.upstream.answer(answer(304))
        self.assert_answer(asked, CacheState.REVALIDATED, b"one")

    def test_all_who_ask_meanwhile_share_one_fetch(self) -> None:
        asked = [self.ask() for _ in range(20)]
        self.assertEqual(len(self.upstream.requests), 1)
        self.upstream.answer(answer(200, b"one"))
        for each in asked:
            self.assert_answer(each, CacheState.MISS, b"one")

    def test_joiners_are_marked_collapsed(self) -> None:
        first, second = self.ask(), self.ask()
        self.upstream.answer(answer(200, b"one"))
        self.assertFalse(self.successResultOf(first).provenance.collapsed)
        self.assertTrue(self.successResultOf(second).provenance.collapsed)

    def test_a_failure_is_shared_by_all_who_wait_and_never_remembered(self) -> None:
        asked = [self.ask() for _ in range(3)]
        self.upstream.fail()
        for each in asked:
            self.failureResultOf(each, Unavailable)
        self.ask()
        self.assertEqual(len(self.upstream.requests), 2)

    def test_a_client_that_leaves_takes_nobody_along(self) -> None:
        leaving, staying = self.ask(), self.ask()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.upstream.answer(answer(200, b"one"))
        self.assert_answer(staying, CacheState.MISS, b"one")

    def test_the_fetch_goes_on_for_nobody(self) -> None:
        leaving = self.ask()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.upstream.answer(answer(200, b"one"))
        self.assert_answer(self.ask(), CacheState.HIT, b"one")


class Elsewhere(PagesCase):
    def test_a_page_that_is_none_is_asked_for_where_there_is_another_place(self) -> None:
        self.upstream.elsewhere = 1
        asked = self.ask()
        login = self.upstream.answer(answer(200, b"<p>login", content_type="text/html"))
        self.assertFalse(login.held)
        self.assertEqual(self.upstream.answer(answer(200, b"one")), login)
        self.assert_answer(asked, CacheState.MISS, b"one")

    def test_and_not_again_and_again(self) -> None:
        self.upstream.elsewhere = 1
        asked = self.ask()
        for _ in range(2):
            self.upstream.answer(answer(200, b"<p>login", content_type="text/html"))
        self.failureResultOf(asked, Unavailable)

    def test_upstream_is_told_that_a_copy_is_at_hand(self) -> None:
        self.cached()
        self.clock.advance(TTL)
        self.ask()
        self.assertTrue(self.upstream.requests[-1].held)


class Freshness(PagesCase):
    def test_a_fresh_page_is_ready_without_asking(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL - 1)
        ready = self.pages.ready(self.route, Asker())
        self.assertEqual((ready.provenance.state, ready.provenance.ttl), (CacheState.HIT, 1.0))
        self.assertEqual(len(self.upstream.requests), 1)

    def test_a_ready_page_is_that_while_it_is_fresh(self) -> None:
        self.cached(b"one")
        still = self.pages.ready(self.route, Asker()).still
        self.clock.advance(TTL - 1)
        self.assertTrue(still())
        self.clock.advance(1)
        self.assertFalse(still())

    def test_a_page_that_was_purged_or_confirmed_is_another(self) -> None:
        self.cached(b"one", etag='"v1"')
        still = self.pages.ready(self.route, Asker()).still
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))
        self.assertFalse(still())
        self.ask()
        self.upstream.answer(answer(304))
        self.assertFalse(still())
        self.assertTrue(self.pages.ready(self.route, Asker()).still())

    def test_an_expired_page_is_not_ready(self) -> None:
        self.cached()
        self.clock.advance(TTL)
        self.assertIsNone(self.pages.ready(self.route, Asker()))

    def test_not_modified_makes_it_fresh_again(self) -> None:
        self.cached(b"one", etag='"v1"', last_modified="Mon, 16 Sep 2024 10:00:00 GMT")
        self.clock.advance(TTL)
        asked = self.ask()
        request = self.upstream.answer(answer(304))
        self.assertEqual(
            request.headers, {"If-None-Match": '"v1"', "If-Modified-Since": "Mon, 16 Sep 2024 10:00:00 GMT"}
        )
        self.assert_answer(asked, CacheState.REVALIDATED, b"one")
        self.assert_answer(self.ask(), CacheState.HIT, b"one")

    def test_a_new_page_replaces_the_expired_one(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(200, b"two"))
        self.assert_answer(asked, CacheState.EXPIRED, b"two")

    def test_a_slow_upstream_costs_stale_wait_and_still_refreshes(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        asked = self.ask()
        self.clock.advance(0.99)
        self.assertNoResult(asked)
        self.clock.advance(0.02)
        self.assert_answer(asked, CacheState.STALE, b"one")
        self.assert_answer(self.ask(), CacheState.UPDATING, b"one")
        self.upstream.answer(answer(200, b"two"))
        self.assert_answer(self.ask(), CacheState.HIT, b"two")

    def test_every_failure_leaves_the_stale_copy(self) -> None:
        self.cached(b"one")
        for status in (400, 401, 403, 407, 418, 451, 206, 204, 304):
            self.clock.advance(TTL)
            asked = self.ask()
            self.upstream.answer(answer(status))
            self.assert_answer(asked, CacheState.STALE, b"one")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.fail("answered 503", status=503)
        self.assert_answer(asked, CacheState.STALE, b"one")

    def test_a_page_that_is_none_is_not_stored(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(200, b"please login"))
        self.assert_answer(asked, CacheState.STALE, b"one")
        self.assertEqual(len(self.of_kind(PageRejected)), 1)
        self.assertEqual(self.of_kind(FetchFailed), [])

    def test_what_fails_behind_the_headers_is_told_once_with_upstreams_status(self) -> None:
        broken = UpstreamFailed("connection broke after 3 bytes", self.route.sources[0].url)
        packed = answer(200, b"not gzip", content_encoding="gzip")
        torn = answer(200, b"tor")
        torn.body.failure = broken
        for failing, reason in ((torn, broken.reason), (packed, "not what"), (answer(403), "answered 403")):
            self.events.clear()
            asked = self.ask()
            self.upstream.answer(failing)
            provenance = self.failureResultOf(asked, Unavailable).value.provenance
            (event,) = self.of_kind(FetchFailed)
            self.assertEqual((event.url, event.file), (self.route.sources[0].url, False))
            self.assertIn(reason, event.reason)
            self.assertEqual(provenance.upstream_status, failing.status)

    def test_a_trickling_page_is_given_up_and_asked_for_anew(self) -> None:
        """One byte a second is never silent for long: without that, nobody else could ask while it trickles."""
        trickling = answer(200)
        trickling.body = body = ControlledBody()
        asked = self.ask()
        self.upstream.answer(trickling)
        for _ in range(ceil(BUDGET)):
            body.send(b"x")
            self.clock.advance(1)
        self.assertIn("did not answer in time", self.failureResultOf(asked, Unavailable).value.reason)
        for _ in range(int(PATIENCE)):
            body.send(b"x")
            self.clock.advance(1)
        self.assertEqual(len(self.upstream.requests), 1)
        self.assertTrue(body.abandoned)
        asked = self.ask()
        self.upstream.answer(answer(200, b"one"))
        self.assert_answer(asked, CacheState.MISS, b"one")

    def test_a_day_that_is_set_meanwhile_makes_no_body_slow(self) -> None:
        days = [0]
        self.pages.refresher.now = lambda: self.clock.seconds() + 86400 * len(days)
        coming = answer(200)
        coming.body = body = ControlledBody()
        asked = self.ask()
        self.upstream.answer(coming)
        days.append(1)
        body.send(b"one")
        body.end()
        self.assert_answer(asked, CacheState.MISS, b"one")

    def test_when_upstream_is_down_the_copy_is_served_at_once(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        self.upstream.down.add(self.route.sources[0].url)
        self.assert_answer(self.ask(), CacheState.STALE, b"one")
        self.assertEqual(len(self.upstream.requests), 1)

    def test_a_probe_goes_on_behind_the_stale_copy(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        self.upstream.down.add(self.route.sources[0].url)
        self.upstream.probe_due = True
        self.assert_answer(self.ask(), CacheState.STALE, b"one")
        self.upstream.answer(answer(200, b"two"))
        self.assert_answer(self.ask(), CacheState.HIT, b"two")

    def test_without_a_copy_a_down_upstream_is_still_tried(self) -> None:
        self.upstream.down.add(self.route.sources[0].url)
        self.ask()
        self.assertEqual(len(self.upstream.requests), 1)

    def test_a_client_gets_an_honest_failure_within_its_budget(self) -> None:
        asked = self.ask()
        self.clock.advance(11.9)  # the rest of the 12 seconds is for the way to the client
        self.assertEqual(self.failureResultOf(asked, Unavailable).value.retry_after, 2)

    def test_upstreams_retry_after_is_passed_on_but_bounded(self) -> None:
        for theirs, ours in ((7, 7), (86400, 30), (0, 1), (None, 2)):
            asked = self.ask()
            self.upstream.fail("answered 503", status=503, retry_after=theirs)
            self.assertEqual(self.failureResultOf(asked, Unavailable).value.retry_after, ours)

    def test_a_304_without_a_condition_is_a_failure(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(304))
        self.failureResultOf(asked, Unavailable)


class Absence(PagesCase):
    def test_a_404_is_remembered_for_its_time(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.failureResultOf(self.ask(), Absent)
        self.assertEqual(len(self.upstream.requests), 1)
        self.clock.advance(60)
        self.ask()
        self.assertEqual(len(self.upstream.requests), 2)

    def test_it_may_be_forgotten_before(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.pages.forget_absences()
        asked = self.ask()
        self.upstream.answer(answer(200, b"one"))
        self.assert_answer(asked, CacheState.MISS, b"one")

    def test_a_404_wins_over_a_copy(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(410))
        self.failureResultOf(asked, Absent)


class OtherSettings(PagesCase):
    def test_a_fetch_that_runs_is_joined_by_those_who_ask_later(self):
        first = self.ask()
        self.pages.use(PagePolicy(stale_wait=0.0))
        second = self.ask(page_route(source(ttl=9.0)))
        self.upstream.answer(answer(200, b"one"))
        self.assertEqual(len(self.upstream.requests), 1)
        for asked in (first, second):
            self.assert_answer(asked, CacheState.MISS, b"one")

    def test_where_other_indexes_are_asked_now_it_is_another_question(self):
        first = self.ask()
        second = self.ask(page_route(source("inside"), source()))
        self.upstream.answer(answer(200, b"main's"))
        self.assert_answer(first, CacheState.MISS, b"main's")
        self.assertEqual(self.upstream.answer(answer(200, b"inside's")).index, "inside")
        self.assert_answer(second, CacheState.MISS, b"inside's")

    def test_a_page_that_was_stored_for_another_index_or_with_other_links_is_not_this_ones(self):
        self.cached(b"one", etag='"1"')
        for other in (evolve(source(), index="renamed"), evolve(source(), layout="elsewhere")):
            route = page_route(other)
            self.assertIsNone(self.pages.ready(route, Asker()))
            asked = self.ask(route)
            self.assertEqual(self.upstream.answer(answer(200, b"two", etag='"1"')).headers, {})
            self.assert_answer(asked, CacheState.MISS, b"two")
            self.assertIsNotNone(self.pages.ready(route, Asker()))

    def test_an_absence_is_forgotten_and_that_of_one_index_is_not_anothers(self):
        absent = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(absent, Absent)
        both = self.ask(page_route(source("inside"), source()))
        self.assertEqual(self.upstream.answer(answer(200, b"inside's")).index, "inside")
        self.assert_answer(both, CacheState.MISS, b"inside's")
        self.failureResultOf(self.ask(), Absent)
        self.pages.use(self.policy)
        again = self.ask()
        self.upstream.answer(answer(200, b"one"))
        self.assert_answer(again, CacheState.MISS, b"one")


class ParentCaches(PagesCase):
    STALE = "parent; hit; ttl=-600"

    def test_what_another_cache_had_stale_is_soon_asked_for_again(self) -> None:
        self.cached(b"old", cache_status=self.STALE)
        self.clock.advance(STALE_TTL - 1)
        self.assert_answer(self.ask(), CacheState.HIT, b"old")
        self.clock.advance(1)
        asked = self.ask()
        self.upstream.answer(answer(200, b"new", cache_status="parent; hit; ttl=20"))
        self.assert_answer(asked, CacheState.EXPIRED, b"new")
        self.clock.advance(TTL - 1)
        self.assert_answer(self.ask(), CacheState.HIT, b"new")

    def test_its_304_confirms_no_longer_than_that(self) -> None:
        self.cached(b"one", etag='"1"')
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(304, cache_status=self.STALE))
        self.assert_answer(asked, CacheState.REVALIDATED, b"one")
        self.clock.advance(STALE_TTL)
        self.ask()
        self.assertEqual(len(self.upstream.requests), 3)


class Insisting(PagesCase):
    def test_no_cache_revalidates_once_in_ten_seconds(self) -> None:
        self.cached(b"one")
        asked = self.ask(no_cache=True)
        self.upstream.answer(answer(200, b"two"))
        self.assert_answer(asked, CacheState.EXPIRED, b"two")
        self.assert_answer(self.ask(no_cache=True), CacheState.HIT, b"two")
        self.clock.advance(10)
        self.ask(no_cache=True)
        self.assertEqual(len(self.upstream.requests), 3)


class Versions(PagesCase):
    def test_a_lower_version_from_the_same_url_is_disbelieved_for_a_while(self) -> None:
        self.cached(b"ours", x_pypi_last_serial="7")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(200, b"theirs", x_pypi_last_serial="6"))
        self.assert_answer(asked, CacheState.STALE, b"ours")
        self.clock.advance(REGRESSION_PATIENCE + 1)
        asked = self.ask()
        self.upstream.answer(answer(200, b"theirs", x_pypi_last_serial="6"))
        self.assert_answer(asked, CacheState.EXPIRED, b"theirs")
        self.assertEqual([event.accepted for event in self.of_kind(PageRegressed)], [False, True])

    def test_catching_up_ends_the_disbelief(self) -> None:
        self.cached(b"ours", x_pypi_last_serial="7")
        for version, served in (("6", b"ours"), ("8", b"8")):
            self.clock.advance(TTL)
            asked = self.ask()
            self.upstream.answer(answer(200, version.encode(), x_pypi_last_serial=version))
            self.assertEqual(self.text_of(self.successResultOf(asked)), served)
        self.clock.advance(REGRESSION_PATIENCE + TTL)
        asked = self.ask()
        self.upstream.answer(answer(200, b"7", x_pypi_last_serial="7"))
        self.assert_answer(asked, CacheState.STALE, b"8")


class Owners(PagesCase):
    def setUp(self) -> None:
        super().setUp()
        self.route = page_route(source("extra"), source("main"))

    def test_the_first_that_has_it_owns_it(self) -> None:
        self.cached(b"from extra")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.assertEqual([request.index for request in self.upstream.requests], ["extra", "extra"])
        self.assertEqual(self.of_kind(OwnerAbsent), [OwnerAbsent("thing", "extra")])

    def test_a_later_index_is_asked_when_the_first_lacks_it(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"from main"))
        self.assert_answer(asked, CacheState.MISS, b"from main")
        self.clock.advance(TTL)
        self.ask()
        self.assertEqual([request.index for request in self.upstream.requests], ["extra", "main", "main"])

    def test_a_document_beside_the_page_is_asked_of_its_owner_alone(self) -> None:
        beside = [evolve(each, key=f"{each.key}json", url=f"{each.url}json") for each in self.route.sources]
        route = evolve(self.route, key="pypi/thing", sources=tuple(beside), follows=self.route)
        asked = self.ask(route)
        self.upstream.answer(answer(200, b"page of extra"))
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.failureResultOf(self.ask(route), Absent)
        self.assertEqual([request.index for request in self.upstream.requests], ["extra", "extra"])
        owner = self.successResultOf(Deferred.fromCoroutine(self.store.facts.owner("thing")))
        self.assertEqual(owner, "extra")

    def test_an_owner_that_is_no_longer_configured_owns_nothing(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.set_owner("thing", "gone")))
        self.cached(b"from extra")
        owner = self.successResultOf(Deferred.fromCoroutine(self.store.facts.owner("thing")))
        self.assertEqual(owner, "extra")

    def test_what_an_index_alone_showed_does_not_count_while_nobody_owns_the_name(self) -> None:
        """Else whoever reads the public index below its own name would hand it the names of the private one."""
        self.cached(b"from main", page_route(source("main")))
        asked = self.ask()
        self.upstream.answer(answer(200, b"from extra"))
        self.assert_answer(asked, CacheState.MISS, b"from extra")

    def test_what_the_first_index_alone_showed_makes_it_the_owner(self) -> None:
        self.cached(b"from extra", page_route(source("extra")))
        self.assert_answer(self.ask(), CacheState.HIT, b"from extra")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.assertEqual(self.upstream.waiting, [])

    def test_a_redirect_to_another_index_says_that_this_one_lacks_it(self) -> None:
        asked = self.ask()
        self.upstream.fail_with(LedAway("redirects away", "https://extra.example/", 302, other="main"))
        self.upstream.answer(answer(200, b"from main"))
        self.assert_answer(asked, CacheState.MISS, b"from main")

    def test_a_redirect_to_a_stranger_is_a_failure(self) -> None:
        asked = self.ask()
        self.upstream.fail_with(LedAway("redirects away", "https://extra.example/", 302))
        self.failureResultOf(asked, Unavailable)
        self.assertEqual(self.upstream.waiting, [])

    def test_unless_its_status_is_one_that_says_so(self) -> None:
        self.route = page_route(evolve(source("extra"), absent_status=frozenset({302})), source("main"))
        asked = self.ask()
        self.upstream.fail_with(LedAway("redirects away", "https://extra.example/", 302))
        self.upstream.answer(answer(200, b"from main"))
        self.assert_answer(asked, CacheState.MISS, b"from main")

    def test_it_is_told_which_index_answered(self) -> None:
        self.route = evolve(self.route, tells_index=True)
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"from main"))
        self.assertEqual(self.successResultOf(asked).provenance.index, "main")
        self.assertEqual(self.successResultOf(self.ask()).provenance.index, "main")
        self.assertEqual(self.pages.ready(self.route, Asker()).provenance.index, "main")
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.assertEqual(self.failureResultOf(asked, Absent).value.provenance.index, "main")

    def test_it_is_told_which_index_failed(self) -> None:
        self.route = evolve(self.route, tells_index=True)
        asked = self.ask()
        self.upstream.fail()
        self.assertEqual(self.failureResultOf(asked, Unavailable).value.provenance.index, "extra")

    def test_down_is_not_absent(self) -> None:
        asked = self.ask()
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)
        self.assertEqual([request.index for request in self.upstream.requests], ["extra"])

    def test_who_reads_the_owner_during_a_purge_does_not_keep_it(self) -> None:
        self.cached(b"from extra")
        self.pages._owners._known.clear()
        looking, forgetting = Deferred(), Deferred()
        with (
            patch.object(type(self.store.facts), "owner", Mock(side_effect=[looking])),
            patch.object(type(self.store.facts), "forget_owner", Mock(side_effect=[forgetting])),
        ):
            before = self.ask()
            purging = Deferred.fromCoroutine(self.pages.expire(self.route))
        looking.callback("extra")
        self.successResultOf(before)
        forgetting.callback(None)
        self.successResultOf(purging)
        self.store.facts._owners.clear()
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"from main"))
        self.assert_answer(asked, CacheState.EXPIRED, b"from main")

    def purged_from_main(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"from main"))
        self.successResultOf(asked)
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))

    def test_after_a_purge_the_old_page_is_served_while_its_index_is_down(self) -> None:
        self.purged_from_main()
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.fail()
        self.assert_answer(asked, CacheState.STALE, b"from main")
        asked = self.ask()
        self.assertEqual([request.index for request in self.upstream.requests][4:], ["main"], "it owns the name again")
        self.upstream.fail()
        self.assert_answer(asked, CacheState.STALE, b"from main")

    def test_after_a_purge_the_old_page_is_served_while_its_index_is_slow(self) -> None:
        self.purged_from_main()
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.clock.advance(self.policy.stale_wait)
        self.assert_answer(asked, CacheState.STALE, b"from main")
        self.upstream.answer(answer(200, b"newer"))
        self.assert_answer(self.ask(), CacheState.HIT, b"newer")

    def test_but_not_before_those_before_it_have_said_that_they_lack_it(self) -> None:
        self.purged_from_main()
        asked = self.ask()
        self.clock.advance(BUDGET - 0.1)
        self.assertNoResult(asked)
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"newer"))
        self.assert_answer(asked, CacheState.MISS, b"newer")

    def test_after_a_purge_no_later_index_answers_for_one_that_is_down(self) -> None:
        self.purged_from_main()
        asked = self.ask()
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)

    def test_a_purge_lets_the_indexes_be_asked_anew(self) -> None:
        self.cached(b"from extra")
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"from main"))
        self.assert_answer(asked, CacheState.EXPIRED, b"from main")


class Offline(PagesCase):
    policy = PagePolicy(offline=True)

    def test_nothing_is_asked(self) -> None:
        failure = self.failureResultOf(self.ask(), Unavailable)
        self.assertIsNone(failure.value.retry_after)
        self.assertEqual(self.upstream.requests, [])

    def test_what_is_on_this_machine_is_asked_before_the_rest_is_given_up(self) -> None:
        here = evolve(source("here"), local=True)
        route = page_route(here, source("far"))
        asked = self.ask(route)
        self.upstream.answer(answer(404))
        self.assertIsNone(self.failureResultOf(asked, Unavailable).value.retry_after)
        asked = self.ask(route)
        self.upstream.answer(answer(200, b"here"))
        self.assert_answer(asked, CacheState.MISS, b"here")
        self.assertEqual({request.index for request in self.upstream.requests}, {"here"})

    def test_an_index_before_it_may_have_the_project(self) -> None:
        route = page_route(source("far"), evolve(source("here"), local=True))
        self.failureResultOf(self.ask(route), Unavailable)
        self.assertEqual(self.upstream.requests, [])

    def test_a_local_index_that_is_down_is_not_one_that_lacks_it(self) -> None:
        route = page_route(evolve(source("here"), local=True), source("far"))
        asked = self.ask(route)
        self.upstream.fail("can't be read")
        self.assertIn("can't be read", self.failureResultOf(asked, Unavailable).value.reason)


class LimitedStaleness(PagesCase):
    policy = PagePolicy(max_stale=60.0)

    def test_a_purged_page_serves_as_a_stale_answer_for_as_long_as_another(self) -> None:
        self.cached(b"one")
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))
        asked = self.ask()
        self.upstream.fail()
        self.assert_answer(asked, CacheState.STALE, b"one")
        self.clock.advance(60)
        asked = self.ask()
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)

    def test_a_purge_makes_no_copy_younger(self) -> None:
        self.cached(b"one")
        self.clock.advance(TTL + 61)
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))
        asked = self.ask()
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)


class NoFreshness(PagesCase):
    def test_joiners_wait_for_the_refresh(self) -> None:
        self.route = page_route(source(ttl=0.0))
        self.cached(b"one")
        first, second = self.ask(), self.ask()
        self.assertNoResult(second)
        self.upstream.answer(answer(200, b"two"))
        for asked in (first, second):
            self.assert_answer(asked, CacheState.EXPIRED, b"two")


class Withholding(PagesCase):
    """Companions that upstream announces and does not deliver."""

    file = "https://files.example/thing.whl"

    def setUp(self) -> None:
        super().setUp()
        self.pages.refresher.withheld = Withheld(self.store.facts, self.clock.seconds)
        self.route = evolve(self.route, withhold=self.without)

    def without(self, document, keys):
        return TextDocument(document.text.replace(b"companion", b"-")) if self.file in keys else document

    def withhold(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.pages.withhold(self.route, "main", self.file)))

    def test_the_page_is_made_anew_at_once_from_the_whole(self) -> None:
        self.cached(b"has companion", etag='"1"')
        self.withhold()
        request = self.upstream.answer(answer(200, b"has companion", etag='"1"'))
        self.assertEqual(request.headers, {})
        self.assert_answer(self.ask(), CacheState.HIT, b"has -")
        self.withhold()
        self.assertEqual(len(self.upstream.requests), 2)

    def test_the_old_page_stays_while_upstream_is_down(self) -> None:
        self.cached(b"has companion", etag='"1"')
        self.withhold()
        self.upstream.fail()
        self.assert_answer(self.ask(), CacheState.HIT, b"has companion")

    def test_later_pages_honour_it_for_a_while(self) -> None:
        self.cached(b"has companion", etag='"1"')
        self.withhold()
        self.upstream.answer(answer(200, b"has companion", etag='"1"'))
        for pause, headers, text in ((400, {"If-None-Match": '"1"'}, b"has -"), (WITHHELD, {}, b"has companion")):
            self.clock.advance(pause)
            asked = self.ask()
            request = self.upstream.answer(answer(200, b"has companion", etag='"1"'))
            self.assertEqual(request.headers, headers)
            self.assert_answer(asked, CacheState.EXPIRED, text)

    def test_a_purge_ends_it(self) -> None:
        self.cached(b"has companion")
        self.withhold()
        self.upstream.answer(answer(200, b"has companion"))
        self.successResultOf(Deferred.fromCoroutine(self.pages.expire(self.route)))
        asked = self.ask()
        self.upstream.answer(answer(200, b"has companion"))
        self.assert_answer(asked, CacheState.EXPIRED, b"has companion")
