"""Signed links that have run out. In memory, on an injected clock."""

from __future__ import annotations

from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.answers import Asker
from twisted_pypi.caching.expired import FUTILE, PAUSE, RUN_OUT, RenewingUpstream
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import CachedPages
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.interfaces import Upstream
from twisted_pypi.model import FetchRequest, FileLink
from twisted_pypi.storage.memory import MemoryStore
from unit.doubles import FakeUpstream, InlineWorkers, answer, page_route, scratch, source

FILE = "https://files.example/thing-1.0.whl"
DIGEST = sha256(b"body").hexdigest()


def page(signature: str) -> bytes:
    return f"file {FILE}?sig={signature} sha256 {DIGEST}".encode()


class Expired(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.fake = FakeUpstream()
        self.store = store = MemoryStore()
        workers, seconds = InlineWorkers(), self.clock.seconds
        refresher = Refresher(self.fake, store.pages, workers, lambda event: None, seconds, scratch)
        self.pages = CachedPages(store, self.fake, refresher, workers, lambda event: None, self.clock)
        self.route = page_route(source())
        self.permitted = True
        knowledge = Knowledge(store.facts, self.pages, lambda *_: self.permitted, page_of=lambda *_: self.route)
        self.upstream: Upstream = RenewingUpstream(self.fake, knowledge, self.clock)
        asked = Deferred.fromCoroutine(self.pages.answer(self.route, Asker()))
        self.fake.answer(answer(200, page("one"), etag='"1"'))
        self.successResultOf(asked)

    def fetch(self, url: str = f"{FILE}?sig=one", named: bool = True) -> Deferred:
        request = FetchRequest(url, "main", headers={"Range": "bytes=4-"}, file=True, named=named)
        return Deferred.fromCoroutine(self.upstream.fetch(request))

    def refuse(self, status: int = 403) -> None:
        assert self.fake.answer(answer(status)).file

    def renewed(self, signature: str) -> FetchRequest:
        """The page is read anew, and says that."""
        return self.fake.answer(answer(200, page(signature), etag='"1"'))

    def test_the_page_is_read_anew_and_the_file_asked_for_once_more(self) -> None:
        signature = "one"
        for number, status in enumerate(sorted(RUN_OUT)):
            fetching = self.fetch(f"{FILE}?sig={signature}")
            self.refuse(status)
            request = self.renewed(signature := f"renewed{number}")
            # A 304 would confirm the links that are no good.
            self.assertEqual((request.url, dict(request.headers)), (self.route.sources[0].url, {}))
            again = self.fake.answer(answer(206, b"body"))
            self.assertEqual((again.url, again.headers), (f"{FILE}?sig={signature}", {"Range": "bytes=4-"}))
            self.assertEqual(self.successResultOf(fetching).status, 206)

    def test_credentials_that_are_refused_are_the_same_to_it(self) -> None:
        fetching = self.fetch()
        self.fake.fail_with(UpstreamFailed("does not take the credentials", FILE, 403))
        self.renewed("two")
        self.fake.answer(answer(200, b"body"))
        self.assertEqual(self.successResultOf(fetching).status, 200)

    def test_only_once_for_one_request(self) -> None:
        fetching = self.fetch()
        self.refuse()
        self.renewed("two")
        self.refuse()
        self.assertEqual(self.successResultOf(fetching).status, 403)
        self.assertEqual(self.fake.waiting, [])

    def test_what_was_renewed_before_may_have_run_out_again(self) -> None:
        fetching = self.fetch()
        self.refuse()
        self.renewed("two")
        self.fake.answer(answer(200, b"body"))
        self.successResultOf(fetching)
        rest = self.fetch()  # of the transfer that was begun with the first link
        self.refuse()
        self.refuse()
        self.renewed("three")
        self.assertEqual(self.fake.answer(answer(206, b"body")).url, f"{FILE}?sig=three")
        self.assertEqual(self.successResultOf(rest).status, 206)

    def test_a_failure_of_the_second_is_told(self) -> None:
        fetching = self.fetch()
        self.refuse()
        self.renewed("two")
        self.fake.fail()
        self.failureResultOf(fetching, UpstreamFailed)

    def test_many_files_have_it_read_once(self) -> None:
        fetching = [self.fetch() for _ in range(3)]
        for _ in fetching:
            self.refuse()
        self.renewed("two")
        for each in fetching:
            self.fake.answer(answer(200, b"body"))
            self.assertEqual(self.successResultOf(each).status, 200)
        late = self.fetch()
        self.refuse()
        self.assertEqual(self.fake.answer(answer(200, b"body")).url, f"{FILE}?sig=two")
        self.assertEqual(self.successResultOf(late).status, 200)

    def stays_refused(self, url: str = f"{FILE}?sig=one") -> bool:
        """Whether the page is read anew for that."""
        fetching = self.fetch(url)
        self.refuse()
        reads = bool(self.fake.waiting)
        if reads:
            self.renewed("one")
        self.assertEqual(self.successResultOf(fetching).status, 403)
        return reads

    def test_a_file_that_stays_refused_does_not_have_it_read_all_the_time(self) -> None:
        self.assertEqual([self.stays_refused() for _ in range(3)], [True, False, False])
        self.clock.advance(PAUSE)
        self.assertEqual([self.stays_refused() for _ in range(2)], [True, False])

    def test_nor_do_many_files_that_stay_refused(self) -> None:
        urls = [f"https://files.example/thing-{number}.whl?sig=one" for number in range(FUTILE + 2)]
        for url in urls:
            link = FileLink(url, {"sha256": DIGEST})
            self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", link)))
        self.assertEqual([self.stays_refused(url) for url in urls], [True] * FUTILE + [False] * 2)
        self.clock.advance(PAUSE)
        self.assertTrue(self.stays_refused(urls[-1]))

    def test_one_file_that_stays_refused_leaves_the_others_their_renewals(self) -> None:
        url = "https://files.example/thing-2.0.whl?sig=one"
        link = FileLink(url, {"sha256": DIGEST})
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", link)))
        self.assertTrue(self.stays_refused(url))
        self.test_the_page_is_read_anew_and_the_file_asked_for_once_more()

    def test_a_companion_is_asked_for_with_the_new_signature_too(self) -> None:
        fetching = self.fetch(f"{FILE}.metadata?sig=one")
        self.refuse()
        self.renewed("two")
        self.assertEqual(self.fake.answer(answer(200, b"text")).url, f"{FILE}.metadata?sig=two")
        self.assertEqual(self.successResultOf(fetching).status, 200)

    def test_not_where_the_page_may_not_send_it(self) -> None:
        self.permitted = False
        fetching = self.fetch()
        self.refuse()
        self.assertEqual(self.successResultOf(fetching).status, 403)

    def test_other_links_and_answers_are_as_they_are(self) -> None:
        for url, named, status in ((FILE, True, 403), (f"{FILE}?sig=one", False, 403), (f"{FILE}?sig=one", True, 200)):
            fetching = self.fetch(url, named)
            self.refuse(status)
            self.assertEqual(self.successResultOf(fetching).status, status)
        fetching = self.fetch()
        self.fake.fail()
        self.failureResultOf(fetching, UpstreamFailed)
        self.assertEqual(self.fake.waiting, [])
