"""Files: one transfer for all, verified; what may be fetched; ranges, companions. In memory, on an injected clock."""

from __future__ import annotations

import hashlib
from unittest.mock import AsyncMock, Mock, patch

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.answers import Asker, CacheState, FileAnswer
from twisted_pypi.caching.companion import Companions
from twisted_pypi.caching.files import CachedFiles
from twisted_pypi.caching.knowledge import Knowledge
from twisted_pypi.caching.pages import BUDGET, CachedPages
from twisted_pypi.caching.purge import CachePurger
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.caching.settling import PATIENCE, settle
from twisted_pypi.caching.supplied import Supplied
from twisted_pypi.caching.supplying import Supplier
from twisted_pypi.caching.transfers import Transfers
from twisted_pypi.errors import Absent, Forbidden, Unavailable, UpstreamFailed
from twisted_pypi.events import FetchFailed, IntegrityFailed, TransferEnded, TransferResumed
from twisted_pypi.interfaces.purging import Purge, Purged
from twisted_pypi.model import FetchRequest, FileLink, FileRoute
from twisted_pypi.records import StoredFile
from twisted_pypi.storage.memory import MemoryStore
from twisted_pypi.storage.memory_partial import MemoryPartial
from unit.controlled import ControlledBody
from unit.doubles import FakeBody, FakeFetched, FakeUpstream, InlineWorkers, answer, page_route, scratch, source

BODY = b"wheel" * 20_000
SHA256 = hashlib.sha256(BODY).hexdigest()
URL = "https://files.example/packages/thing-1.0-py3-none-any.whl"


def pieces(body: bytes = BODY, count: int = 4, length: int | None = None, **more) -> FakeFetched:
    """The file, in a few pieces."""
    step = -(-len(body) // count)
    cut = [body[at : at + step] for at in range(0, len(body), step)]
    return FakeFetched(200, {}, FakeBody(cut, len(body) if length is None else length, **more), "")


class FilesCase(SynchronousTestCase):
    """Files over a fake upstream and a store in memory. `main` may name files anywhere, `bound` only at its own. The
    file is at the origin of the index `home`."""

    offline = False
    home = "nobody"

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.events = []
        self.upstream = FakeUpstream()
        workers = InlineWorkers()
        self.store = MemoryStore()
        refresher = Refresher(self.upstream, self.store.pages, workers, self.events.append, self.clock.seconds, scratch)
        pages = CachedPages(self.store, self.upstream, refresher, workers, self.events.append, self.clock)
        knowledge = Knowledge(
            self.store.facts, pages, lambda index, url: index != "bound", lambda index, url: index == self.home
        )
        transfers = Transfers(self.upstream, self.store.files, self.events.append, self.clock)
        companions = Companions(self.store.files, workers)
        self.supplied = Supplied(self.store.facts, self.clock.seconds, frozenset({"main"}))
        refresher.supplied = self.supplied
        told = self.events.append
        self.files = CachedFiles(
            self.store.files,
            knowledge,
            transfers,
            companions,
            Supplier(self.supplied, companions, transfers, self.store.pages, told, self.clock),
            self.events.append,
            self.clock,
            self.offline,
        )
        self.route = FileRoute(URL, URL, "thing-1.0-py3-none-any.whl", "main", ("main",), open=True)

    def ask(self, route: FileRoute | None = None, **asker) -> Deferred:
        return Deferred.fromCoroutine(self.files.answer(route or self.route, Asker(**asker)))

    def name(self, index: str = "main", digest: str = SHA256, **more) -> None:
        """Have a page of the index name the file."""
        link = FileLink(URL, {"sha256": digest}, **more)
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link(index, link)))

    def body_of(self, asked: Deferred) -> bytes:
        self.clock.advance(0)
        return self.whole(self.successResultOf(asked))

    def whole(self, got: FileAnswer) -> bytes:
        self.addCleanup(got.source.close)
        self.assertIsNone(got.source.failure)
        self.assertTrue(got.source.finished)
        return got.source.read(0, len(BODY) + 1)

    def deliver(self, fetched: FakeFetched) -> FetchRequest:
        """Answer the oldest request that waits, and let the transfer run."""
        request = self.upstream.answer(fetched)
        self.clock.advance(0)
        return request

    def of_kind(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


class Sharing(FilesCase):
    def test_all_who_ask_share_one_transfer(self) -> None:
        self.name()
        asked = [self.ask() for _ in range(20)]
        self.assertEqual(len(self.upstream.requests), 1)
        self.deliver(pieces())
        for each in asked:
            self.assertEqual(self.body_of(each), BODY)

    def test_then_it_comes_from_the_store(self) -> None:
        self.name()
        first = self.ask()
        self.deliver(pieces())
        self.assertEqual(self.successResultOf(first).provenance.state, CacheState.MISS)
        second = self.successResultOf(self.ask())
        self.assertEqual((second.provenance.state, self.whole(second)), (CacheState.HIT, BODY))
        self.assertEqual(len(self.upstream.requests), 1)

    def test_what_is_stored_is_ready(self) -> None:
        self.assertIsNone(self.files.ready(self.route, Asker()))
        self.stored()
        ready = self.files.ready(self.route, Asker(range="bytes=0-1"))
        self.assertEqual(
            (ready.source, ready.sha256, ready.length, ready.provenance),
            (BODY, SHA256, len(BODY), self.successResultOf(self.ask()).provenance),
        )
        head = self.files.ready(self.route, Asker(head=True))
        self.assertEqual((head.source, head.length), (None, len(BODY)))
        self.assertIsNone(self.files.ready(self.route, Asker(range="bytes=0-1", if_range='"x"')))

    def test_it_is_no_more_ready_when_its_page_announces_another(self) -> None:
        self.stored()
        still = self.files.ready(self.route, Asker()).still
        self.name()
        self.assertTrue(still())
        self.name("other", "00" * 32)
        self.assertFalse(still())
        still = self.files.ready(self.route, Asker()).still
        self.name(digest="00" * 32)
        self.assertFalse(still())
        self.assertIsNone(self.files.ready(self.route, Asker()))

    def test_it_is_no_more_ready_when_it_is_gone_or_another(self) -> None:
        self.stored()
        still = self.files.ready(self.route, Asker()).still
        self.successResultOf(Deferred.fromCoroutine(self.store.files.delete(URL)))
        self.assertFalse(still())
        self.assertIsNone(self.files.ready(self.route, Asker()))
        self.body_of(self.stored())
        self.assertFalse(still())
        self.assertTrue(self.files.ready(self.route, Asker()).still())

    def test_without_an_announced_digest_the_first_download_counts(self) -> None:
        first = self.ask()
        self.deliver(pieces())
        self.body_of(first)
        ready = self.files.ready(self.route, Asker())
        self.assertEqual(ready.source, BODY)
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.mark("first main", URL, "00" * 32, float("inf"))))
        self.assertFalse(ready.still())
        self.assertIsNone(self.files.ready(self.route, Asker()))

    def test_what_memory_cannot_tell_is_not_ready(self) -> None:
        self.stored()
        for what in ("hot_links", "hot_marks"):
            with patch.object(type(self.store.facts), what, return_value=None):
                self.assertEqual(self.files.ready(self.route, Asker()) is None, what == "hot_links")

    def stored(self) -> Deferred:
        """The file, named by its page and stored."""
        self.name()
        asked = self.ask()
        self.deliver(pieces())
        return asked

    def test_a_client_that_leaves_stops_nothing(self) -> None:
        self.name()
        leaving = self.ask()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.deliver(pieces())
        self.assertEqual([event.stored for event in self.of_kind(TransferEnded)], [True])
        self.assertEqual(self.body_of(self.ask()), BODY)

    def test_no_first_byte_within_the_budget_is_told(self) -> None:
        self.name()
        asked = self.ask()
        self.clock.advance(BUDGET)
        self.failureResultOf(asked, Unavailable)


class Integrity(FilesCase):
    def test_a_wrong_digest_breaks_the_transfer_and_stores_nothing(self) -> None:
        self.name(digest="0" * 64)
        asked = self.ask()
        self.deliver(pieces())
        source_ = self.successResultOf(asked).source
        self.addCleanup(source_.close)
        self.assertIsInstance(source_.failure, UpstreamFailed)
        self.assertLess(len(source_.read(0, len(BODY))), len(BODY))
        self.assertEqual(len(self.of_kind(IntegrityFailed)), 1)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL))))
        self.assertEqual(len(self.upstream.refused), 1)

    def test_upstream_is_told_whether_a_digest_decides(self) -> None:
        self.name()
        self.ask()
        self.assertTrue(self.upstream.requests[0].verifiable)

    def test_and_that_none_does(self) -> None:
        self.ask()
        self.assertFalse(self.upstream.requests[0].verifiable)

    def test_a_body_that_stays_short_stores_nothing(self) -> None:
        self.name()
        asked = self.ask()
        self.deliver(pieces(BODY[:-1], failure=UpstreamFailed("connection broke", URL), length=len(BODY)))
        source_ = self.successResultOf(asked).source
        for _ in range(3):
            self.assertIsNone(source_.failure)
            self.clock.advance(2)
            self.assertEqual(self.upstream.fail().headers, {"Range": f"bytes={len(BODY) - 1}-"})
        self.assertIsNotNone(source_.failure)
        self.assertEqual([event.stored for event in self.of_kind(TransferEnded)], [False])

    def test_a_file_that_is_asked_for_directly_is_looked_for_in_its_page(self) -> None:
        route = evolve(self.route, pages=page_route(source()))
        asked = self.ask(route)
        self.upstream.answer(answer(200, f"file {URL} sha256 {SHA256}".encode()))
        self.deliver(pieces())
        got = self.successResultOf(asked)
        self.assertEqual((got.sha256, self.whole(got)), (SHA256, BODY))

    def test_the_digest_of_the_path_counts_only_where_no_page_names_the_file(self) -> None:
        self.name()
        asked = self.ask(evolve(self.route, path_hashes={"sha256": "0" * 64}))
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)

    def test_the_digest_of_the_path_is_checked_when_upstreams_page_is_down(self) -> None:
        asked = self.ask(evolve(self.route, pages=page_route(source()), path_hashes={"sha256": "0" * 64}))
        self.upstream.fail()
        self.deliver(pieces())
        self.assertIsNotNone(self.successResultOf(asked).source.failure)


class Resuming(FilesCase):
    half = len(BODY) // 2

    def rest(self, first: int, whole: int = len(BODY), **headers: str) -> FakeFetched:
        """A 206 with what is missing."""
        headers = {"content-range": f"bytes {first}-{whole - 1}/{whole}", **headers}
        return FakeFetched(206, headers, FakeBody([BODY[first:]], whole - first), "")

    def broken(self, **headers: str) -> FakeFetched:
        """An answer that breaks in the middle."""
        failure = UpstreamFailed("connection broke", URL)
        return FakeFetched(200, headers, FakeBody([BODY[: self.half]], len(BODY), failure=failure), "")

    def again(self, fetched: FakeFetched) -> FetchRequest:
        """Wait for the next attempt and answer it."""
        self.clock.advance(2)
        return self.deliver(fetched)

    def test_clients_do_not_notice_a_break(self) -> None:
        self.name()
        asked = self.ask()
        self.deliver(self.broken(etag='"1"'))
        late = self.ask()
        request = self.again(self.rest(self.half, etag='"1"'))
        self.assertEqual(request.headers, {"Range": f"bytes={self.half}-", "If-Range": '"1"'})
        self.assertEqual((self.body_of(asked), self.body_of(late)), (BODY, BODY))
        self.assertEqual([event.stored for event in self.of_kind(TransferEnded)], [True])

    def test_who_went_on_with_wrong_bytes_is_told_apart_from_who_began(self) -> None:
        self.name()
        asked = self.ask()
        began, went_on = self.broken(), self.rest(self.half)
        self.deliver(began)
        went_on.body = FakeBody([bytes(len(BODY) - self.half)], len(BODY) - self.half)
        self.again(went_on)
        self.assertEqual(len(self.of_kind(IntegrityFailed)), 1)
        self.assertEqual(self.upstream.refused, [went_on])
        self.successResultOf(asked).source.close()

    def test_what_is_not_stored_resumes_too(self) -> None:
        self.store.files.limits = evolve(self.store.files.limits, cache_size=0)
        self.name()
        asked = self.ask()
        self.deliver(self.broken())
        self.again(self.rest(self.half))
        self.assertEqual(self.body_of(asked), BODY)

    def test_without_digest_and_validator_the_whole_is_compared(self) -> None:
        asked = self.ask()
        self.deliver(self.broken(etag='W/"1"'))
        request = self.again(pieces())
        self.assertEqual((request.headers, self.body_of(asked)), ({}, BODY))

    def test_a_file_that_changed_is_never_spliced(self) -> None:
        for changed in (pieces(b"X" + BODY[1:]), pieces(BODY + b"more")):
            asked = self.ask()
            self.deliver(self.broken(etag='"1"'))
            self.again(changed)
            self.assertIn("changed", str(self.successResultOf(asked).source.failure))
            self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL))))


class GoingOn(FilesCase):
    """What broke off for good, at the next request."""

    half = len(BODY) // 2

    def break_off(self, **headers: str) -> None:
        """A transfer that ends in the middle, every attempt used up."""
        asked = self.ask()
        failure = UpstreamFailed("connection broke", URL)
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        body = FakeBody([BODY[: self.half]], len(BODY), failure=failure)
        self.deliver(FakeFetched(200, headers, body, ""))
        for _ in range(3):
            self.clock.advance(2)
            self.upstream.fail()
        self.assertIsNotNone(self.successResultOf(asked).source.failure)

    def rest(self, first: int | None = None, whole: int = len(BODY)) -> FakeFetched:
        first = self.half if first is None else first
        headers = {"content-range": f"bytes {first}-{whole - 1}/{whole}"}
        return FakeFetched(206, headers, FakeBody([BODY[first:]], whole - first), "")

    def test_only_the_rest_is_fetched(self) -> None:
        self.name()
        self.break_off(etag='"1"')
        asked = self.ask()
        request = self.deliver(self.rest())
        self.assertEqual(request.headers, {"Range": f"bytes={self.half}-", "If-Range": '"1"'})
        got = self.successResultOf(asked)
        self.assertEqual((got.length, self.whole(got)), (len(BODY), BODY))
        self.assertEqual([event.stopped for event in self.of_kind(TransferEnded)], [False, False])
        self.assertEqual(self.of_kind(TransferEnded)[-1].stored, True)
        self.assertEqual(self.of_kind(TransferResumed), [TransferResumed(URL, self.half)])

    def test_a_server_may_send_less_than_was_asked_for(self) -> None:
        self.name()
        self.break_off()
        asked = self.ask()
        some = self.half + 1000
        headers = {"content-range": f"bytes {self.half}-{some - 1}/{len(BODY)}"}
        self.deliver(FakeFetched(206, headers, FakeBody([BODY[self.half : some]], 1000), ""))
        self.clock.advance(2)
        self.assertEqual(self.deliver(self.rest(some)).headers, {"Range": f"bytes={some}-"})
        self.assertEqual(self.body_of(asked), BODY)

    def test_a_failure_leaves_it_for_the_next(self) -> None:
        self.name()
        self.break_off()
        asked = self.ask()
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)
        asked = self.ask()
        self.assertEqual(self.deliver(self.rest()).headers, {"Range": f"bytes={self.half}-"})
        self.assertEqual(self.body_of(asked), BODY)

    def test_stopping_leaves_it_for_the_next(self) -> None:
        self.name()
        self.break_off()
        stopped = self.ask()
        self.successResultOf(Deferred.fromCoroutine(self.files.stop()))
        self.failureResultOf(stopped, CancelledError)
        self.upstream.waiting.clear()
        asked = self.ask()
        self.upstream.answer(self.rest())
        self.successResultOf(Deferred.fromCoroutine(self.files.stop()))
        self.assertIsNotNone(self.successResultOf(asked).source.failure)
        self.assertEqual([event.stopped for event in self.of_kind(TransferEnded)], [False, True])
        asked = self.ask()
        self.assertEqual(self.deliver(self.rest()).headers, {"Range": f"bytes={self.half}-"})
        self.assertEqual(self.body_of(asked), BODY)

    def test_who_comes_while_it_is_put_away_waits_for_that(self) -> None:
        self.name()
        keeping, keep = Deferred(), MemoryPartial.keep

        async def slow(partial: MemoryPartial) -> None:
            partial._ended = True
            await keeping
            partial._ended = False
            await keep(partial)

        with patch.object(MemoryPartial, "keep", slow):
            self.break_off()
            asked = self.ask()
            requests = len(self.upstream.requests)
            keeping.callback(None)
        self.assertEqual((requests, len(self.upstream.requests)), (4, 5))
        self.assertEqual(self.deliver(self.rest()).headers, {"Range": f"bytes={self.half}-"})
        self.assertEqual(self.body_of(asked), BODY)

    def test_any_other_answer_begins_anew(self) -> None:
        self.name()
        for other in (answer(416), self.rest(first=1), self.rest(whole=len(BODY) + 1)):
            self.break_off(etag='"1"')
            asked = self.ask()
            self.upstream.answer(other)
            self.assertEqual(self.deliver(pieces()).headers, {})
            self.assertEqual(self.body_of(asked), BODY)
            self.successResultOf(Deferred.fromCoroutine(self.store.files.delete(URL)))

    def test_a_whole_is_taken_as_a_beginning(self) -> None:
        self.name()
        self.break_off()
        asked = self.ask()
        self.deliver(pieces())
        self.assertEqual((self.body_of(asked), len(self.upstream.requests)), (BODY, 5))

    def test_without_digest_and_validator_it_begins_anew(self) -> None:
        self.break_off(etag='W/"1"')
        asked = self.ask()
        self.assertEqual(self.deliver(pieces()).headers, {})
        self.assertEqual(self.body_of(asked), BODY)

    def test_another_digest_is_another_file(self) -> None:
        self.name(digest="0" * 64)
        self.break_off(etag='"1"')
        self.name()
        asked = self.ask()
        self.assertEqual(self.deliver(pieces()).headers, {})
        self.assertEqual(self.body_of(asked), BODY)

    def test_what_has_gone_meanwhile_is_absent(self) -> None:
        self.name()
        self.break_off()
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)


class FullDisk(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.store.files.limits = evolve(self.store.files.limits, max_file_size=len(BODY) // 2)

    def test_the_client_is_served_on_and_nothing_is_stored(self) -> None:
        self.name()
        asked = self.ask()
        fetched = pieces()
        fetched.body.length = None
        self.upstream.answer(fetched)
        got = self.successResultOf(asked)
        late = self.ask()
        self.clock.advance(0)
        for each in (got, self.successResultOf(late)):
            data = b""
            while piece := each.source.read(len(data), len(BODY)):
                data += piece
            self.assertEqual(data, BODY)
        (ended,) = self.of_kind(TransferEnded)
        self.assertEqual((ended.stored, ended.size), (False, len(BODY)))
        self.assertEqual(len(self.upstream.requests), 1)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL))))

    def test_who_comes_too_late_for_the_beginning_gets_the_file_from_upstream(self) -> None:
        self.name()
        asked = self.ask()
        body = ControlledBody()
        self.upstream.answer(FakeFetched(200, {}, body, ""))
        got, data = self.successResultOf(asked), b""
        for at in range(0, len(BODY), 10_000):
            body.send(BODY[at : at + 10_000])
            self.clock.advance(0)
            data += got.source.read(len(data), len(BODY))
        late = self.ask()
        self.deliver(pieces())
        self.assertEqual(self.whole(self.successResultOf(late)), BODY)
        body.end()
        while piece := got.source.read(len(data), len(BODY)):
            data += piece
        self.assertEqual(data, BODY)
        self.assertEqual(len(self.upstream.requests), 2)


class Around:
    """Everything as `inner` does it, but for what subclasses say."""

    def __init__(self, inner, until) -> None:
        self.inner = inner
        self.until = until

    def __getattr__(self, name: str):
        return getattr(self.inner, name)


class Stub(Around):
    """A body that is read by `until`."""

    async def read(self) -> bytes:
        return await self.until()


class SlowToAbandon(Around):
    """A file store whose partial files are put away only once `until` fires."""

    async def begin(self, *arguments):
        class Partial(Around):
            async def abandon(self) -> None:
                await self.until
                await self.inner.abandon()

        return Partial(await self.inner.begin(*arguments), self.until)


class Ends(FilesCase):
    def test_who_comes_while_a_failed_transfer_is_put_away_starts_the_next_after_it(self) -> None:
        self.name(digest="0" * 64)
        abandoning = Deferred()
        self.files.transfers.store = SlowToAbandon(self.store.files, abandoning)
        first = self.ask()
        self.deliver(pieces())
        self.assertIsNotNone(self.successResultOf(first).source.failure)
        self.name()
        second = self.ask()
        abandoning.callback(None)
        self.deliver(pieces())
        self.assertEqual(self.body_of(second), BODY)
        self.assertFalse(self.files.transfers.has(URL))


class Settling(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.name()

    def test_a_small_wrong_body_is_told_before_anything_is_sent(self) -> None:
        asked = [self.ask() for _ in range(3)]
        self.deliver(pieces(b"<html>log in</html>"))
        for each in asked:
            self.assertIn("not what was announced", self.failureResultOf(each, Unavailable).value.reason)
        self.assertEqual(len(self.of_kind(IntegrityFailed)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_also_where_nothing_is_stored(self) -> None:
        self.files.transfers.store = Mock(wraps=self.store.files, begin=AsyncMock(return_value=None))
        asked = self.ask()
        self.deliver(pieces(b"<html>log in</html>"))
        self.assertIn("not what was announced", self.failureResultOf(asked, Unavailable).value.reason)

    def test_but_nobody_waits_long_for_that(self) -> None:
        body = ControlledBody(100)
        asked = self.ask()
        self.deliver(FakeFetched(200, {}, body, ""))
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(asked)
        self.clock.advance(0.1)
        source = self.successResultOf(asked).source
        self.assertFalse(source.finished)
        source.close()
        body.end(UpstreamFailed("broke", URL, 403))

    def test_who_leaves_meanwhile_leaves_no_reader_behind(self) -> None:
        source = Mock(finished=False, failure=None)
        waiting = Deferred.fromCoroutine(settle(source, self.clock))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        source.close.assert_called_once_with()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Plausibility(FilesCase):
    def ask_with(self, fetched: FakeFetched, digest: str = "", **more) -> Deferred:
        link = FileLink(URL, {"sha256": digest} if digest else {}, **more)
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", link)))
        asked = self.ask()
        self.deliver(fetched)
        return asked

    def test_a_page_is_no_file(self) -> None:
        fetched = pieces()
        fetched.headers = {"content-type": "text/HTML; charset=utf-8"}
        self.assertIn("type is text/html", self.failureResultOf(self.ask_with(fetched), Unavailable).value.reason)
        self.assertEqual((fetched.body.abandoned, len(self.of_kind(IntegrityFailed))), (True, 1))

    def test_nor_is_another_size(self) -> None:
        self.failureResultOf(self.ask_with(pieces(), size=len(BODY) + 1), Unavailable)
        asked = self.ask_with(FakeFetched(200, {}, FakeBody([BODY]), ""), size=len(BODY) + 1)
        self.assertIsNotNone(self.successResultOf(asked).source.failure)
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL))))

    def test_a_digest_is_worth_more(self) -> None:
        fetched = pieces()
        fetched.headers = {"content-type": "text/html"}
        self.assertEqual(self.body_of(self.ask_with(fetched, SHA256, size=len(BODY) + 1)), BODY)

    def test_no_client_is_told_a_length_that_the_page_contradicts(self) -> None:
        self.name(size=len(BODY))
        asked = [self.ask(), self.ask(range="bytes=0-9")]
        self.deliver(pieces(length=len(BODY) + 7))
        asked.append(self.ask())
        got = [self.successResultOf(each) for each in asked]
        self.assertEqual([each.length for each in got], [None] * 3)
        for each in got:
            each.source.close()

    def test_nor_in_a_body_that_is_not_stored(self) -> None:
        self.name(size=len(BODY))
        with patch.object(type(self.store.files), "begin", AsyncMock(return_value=None)):
            for _ in range(2):
                asked = self.ask()
                self.deliver(pieces(length=len(BODY) + 7))
                got = self.successResultOf(asked)
                self.assertIsNone(got.length)
                got.source.close()

    def test_a_short_one_is_told_once_its_digest_agrees(self) -> None:
        body = b"short" * 100
        self.name(digest=hashlib.sha256(body).hexdigest(), size=len(body) + 1)
        asked = self.ask()
        self.deliver(pieces(body))
        self.assertEqual(self.successResultOf(asked).length, len(body))


class Undelimited(FilesCase):
    def fetch(self, delimited: bool) -> bool:
        """Without length; whether it was stored."""
        asked = self.ask()
        fetched = pieces(delimited=delimited)
        fetched.body.length = None
        self.deliver(fetched)
        self.assertEqual(self.body_of(asked), BODY)
        return self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL))) is not None

    def speak(self, **more) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", FileLink(URL, **more))))

    def test_what_may_have_been_cut_short_is_not_stored(self) -> None:
        self.speak()
        self.assertFalse(self.fetch(delimited=False))
        self.assertTrue(self.fetch(delimited=True))

    def test_a_digest_tells_that_it_is_whole(self) -> None:
        self.name()
        self.assertTrue(self.fetch(delimited=False))

    def test_so_does_its_size(self) -> None:
        self.speak(size=len(BODY))
        self.assertTrue(self.fetch(delimited=False))


class Changes(FilesCase):
    other = b"other" * 20_000

    def setUp(self) -> None:
        super().setUp()
        self.elsewhere = evolve(self.route, index=None, indexes=("liar", "main"))

    def fetch(self, body: bytes = BODY, route: FileRoute | None = None) -> FileAnswer:
        asked = self.ask(route)
        self.deliver(pieces(body))
        return self.successResultOf(asked)

    def speak(self, index: str = "main", **hashes: str) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link(index, FileLink(URL, hashes))))

    def test_a_page_that_comes_to_announce_another_file_has_the_stored_one_replaced(self) -> None:
        self.name()
        self.fetch()
        self.speak(sha256=hashlib.sha256(self.other).hexdigest())
        asked = self.ask()
        self.deliver(pieces(self.other))
        self.assertEqual(self.body_of(asked), self.other)

    def test_a_digest_that_comes_later_confirms_the_stored_file(self) -> None:
        self.speak()
        self.fetch()
        self.speak(md5=hashlib.md5(BODY).hexdigest())
        self.assertEqual(self.successResultOf(self.ask()).provenance.state, CacheState.HIT)
        file = self.successResultOf(Deferred.fromCoroutine(self.store.files.get(URL)))
        self.assertTrue(file.verified)

    def test_another_indexs_page_has_nothing_replaced(self) -> None:
        self.name()
        self.fetch()
        self.speak("liar", sha256="0" * 64)
        self.failureResultOf(self.ask(self.elsewhere), Unavailable)
        self.assertEqual(self.successResultOf(self.ask()).provenance.state, CacheState.HIT)

    def test_a_file_that_nobody_announced_must_stay_what_it_was(self) -> None:
        self.speak()
        self.fetch()
        self.successResultOf(Deferred.fromCoroutine(self.store.files.delete(URL)))
        self.assertIsInstance(self.fetch(self.other).source.failure, UpstreamFailed)
        self.assertEqual(len(self.of_kind(IntegrityFailed)), 1)
        self.successResultOf(Deferred.fromCoroutine(self.files.knowledge.forget("main", [URL])))
        self.assertIsNone(self.fetch(self.other).source.failure)


class AtHome(FilesCase):
    """A file at the origin of the index "home"; a liar, asked before it, names it too."""

    home = "home"

    def setUp(self) -> None:
        super().setUp()
        self.route = evolve(self.route, index=None, indexes=("liar", "home", "main"))
        self.alone = evolve(self.route, indexes=("liar",))

    def test_its_index_is_heard_before_a_liar_that_is_asked_first(self) -> None:
        self.name("liar", digest="0" * 64)
        self.name("home")
        asked = self.ask()
        self.assertEqual(self.deliver(pieces()).index, "home")
        self.assertEqual(self.body_of(asked), BODY)

    def test_a_liar_has_nothing_dropped_below_its_own_name_either(self) -> None:
        self.name("home")
        asked = self.ask()
        self.deliver(pieces())
        self.body_of(asked)
        self.name("liar", digest="0" * 64)
        self.failureResultOf(self.ask(self.alone), Unavailable)
        self.assertEqual(self.successResultOf(self.ask()).provenance.state, CacheState.HIT)

    def test_what_was_fetched_for_a_liar_gives_way(self) -> None:
        login = b"<form>" * 20_000
        self.name("liar", digest=hashlib.sha256(login).hexdigest())
        asked = self.ask(self.alone)
        self.deliver(pieces(login))
        self.assertEqual(self.whole(self.successResultOf(asked))[:6], b"<form>")
        self.name("home")
        asked = self.ask()
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)


class Permission(FilesCase):
    def setUp(self) -> None:
        super().setUp()
        self.route = evolve(self.route, index=None, indexes=("bound", "main"), open=False)

    def test_a_url_that_no_page_named_is_refused_with_a_hint(self) -> None:
        failure = self.failureResultOf(self.ask(), Forbidden)
        self.assertIn("--file-host", failure.value.reason)
        self.assertEqual(self.upstream.requests, [])

    def test_a_path_of_the_default_index_that_only_a_page_could_vouch_for_is_absent(self) -> None:
        self.failureResultOf(self.ask(evolve(self.route, index="main")), Absent)
        self.assertEqual(self.upstream.requests, [])

    def test_a_url_that_a_page_named_is_fetched_for_its_index(self) -> None:
        self.name()
        asked = self.ask()
        request = self.deliver(pieces())
        self.assertEqual((request.index, request.named), ("main", True))
        self.assertEqual(self.body_of(asked), BODY)

    def test_a_bound_index_may_not_name_files_elsewhere(self) -> None:
        self.name("bound")
        self.failureResultOf(self.ask(), Forbidden)

    def store_for_main(self) -> None:
        """Fetched by way of the mount of all indexes, since a page of `main` names it."""
        self.name()
        asked = self.ask()
        self.deliver(pieces())
        self.body_of(asked)

    def shown_alone(self, index: str, **more: object) -> FileRoute:
        return evolve(self.route, indexes=(index,), alone=True, **more)

    def test_below_an_indexs_own_name_what_another_one_named_is_refused_though_it_is_stored(self) -> None:
        self.store_for_main()
        alone = self.shown_alone("other")
        self.assertIsNone(self.files.ready(alone, Asker()))
        self.failureResultOf(self.ask(alone), Forbidden)
        self.failureResultOf(self.ask(alone, head=True), Forbidden)
        self.failureResultOf(self.ask(alone, range="bytes=0-1"), Forbidden)
        self.assertIsNotNone(self.files.ready(self.route, Asker()))

    def test_what_its_own_page_named_is_served_there(self) -> None:
        self.store_for_main()
        self.name("other")
        self.assertIsNotNone(self.files.ready(self.shown_alone("other"), Asker()))
        self.assertEqual(self.body_of(self.ask(self.shown_alone("other"))), BODY)

    def test_not_what_its_own_page_may_not_name(self) -> None:
        self.store_for_main()
        self.name("bound")
        self.assertIsNone(self.files.ready(self.shown_alone("bound"), Asker()))
        self.failureResultOf(self.ask(self.shown_alone("bound")), Forbidden)

    def test_what_is_at_its_configured_hosts_is_served_there(self) -> None:
        self.store_for_main()
        self.assertEqual(self.body_of(self.ask(self.shown_alone("other", open=True))), BODY)

    def test_a_companion_is_permitted_as_its_file_is(self) -> None:
        self.store_for_main()
        key = f"{URL}.metadata"
        self.name(metadata={"sha256": hashlib.sha256(b"text").hexdigest()})
        companion = evolve(self.route, key=key, url=key, companion_of=URL)
        asked = self.ask(companion)
        self.deliver(pieces(b"text", 1))
        self.assertEqual(self.body_of(asked), b"text")
        alone = evolve(companion, indexes=("other",), alone=True)
        self.failureResultOf(self.ask(alone), Forbidden)
        self.name("other")
        self.assertEqual(self.body_of(self.ask(alone)), b"text")

    def test_a_catalogue_out_of_order_permits_nothing_there(self) -> None:
        self.store_for_main()
        alone = self.shown_alone("other")
        with patch.object(Knowledge, "recorded", side_effect=Unavailable("out of order")):
            self.failureResultOf(self.ask(alone), Unavailable)
            self.assertEqual(self.body_of(self.ask()), BODY)

    def test_another_index_does_not_speak_for_a_files_own(self) -> None:
        self.name("main", digest="0" * 64)
        asked = self.ask(evolve(self.route, index="other", open=True))
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)


class Failures(FilesCase):
    def test_a_404_of_a_file_that_no_page_names_is_remembered(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.failureResultOf(self.ask(), Absent)
        self.assertEqual(len(self.upstream.requests), 1)

    def test_a_remembered_404_gives_way_to_a_page_that_lists_the_file(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)
        self.name()
        asked = self.ask()
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)

    def test_a_404_of_a_file_that_a_page_lists_is_not(self) -> None:
        self.name()
        for _ in range(2):
            asked = self.ask()
            self.upstream.answer(answer(404))
            self.failureResultOf(asked, Absent)
        self.assertEqual(len(self.upstream.requests), 2)

    def test_other_statuses_are_failures(self) -> None:
        for status in (401, 403, 304, 206):
            asked = self.ask()
            self.upstream.answer(answer(status))
            self.failureResultOf(asked, Unavailable)

    def test_what_upstream_owes_is_reported(self) -> None:
        self.name()
        for status in (204, 304, 403, 404):
            asked = self.ask()
            self.deliver(answer(status))
            self.failureResultOf(asked)
            self.assertEqual(self.events.pop(), FetchFailed(URL, f"answered {status}", True))
        self.assertEqual(self.of_kind(FetchFailed), [])

    def test_what_nobody_promised_is_not(self) -> None:
        asked = self.ask()
        self.deliver(answer(404))
        self.failureResultOf(asked, Absent)
        self.assertEqual(self.of_kind(FetchFailed), [])

    def test_one_failure_is_shared(self) -> None:
        asked = [self.ask() for _ in range(5)]
        self.upstream.fail()
        for each in asked:
            self.failureResultOf(each, Unavailable)
        self.assertEqual(len(self.upstream.requests), 1)


class Heads(FilesCase):
    def test_the_page_knows_the_size(self) -> None:
        self.name(size=len(BODY))
        got = self.successResultOf(self.ask(head=True))
        self.assertEqual((got.length, got.sha256, got.source), (len(BODY), SHA256, None))
        self.assertEqual(self.upstream.requests, [])

    def test_else_upstream_is_asked_with_head(self) -> None:
        self.name()
        asked = self.ask(head=True)
        request = self.upstream.answer(answer(200, content_length="12"))
        self.assertEqual((request.method, self.successResultOf(asked).length), ("HEAD", 12))

    def test_a_page_for_browsers_tells_no_length_where_a_digest_decides(self) -> None:
        link = FileLink(URL, {"md5": hashlib.md5(BODY).hexdigest()})
        self.successResultOf(Deferred.fromCoroutine(self.store.facts.record_link("main", link)))
        asked = self.ask(head=True)
        self.upstream.answer(answer(200, content_length="12", content_type="text/html"))
        self.assertIsNone(self.successResultOf(asked).length)

    def test_and_is_refused_where_none_does(self) -> None:
        asked = self.ask(head=True)
        self.upstream.answer(answer(200, content_length="12", content_type="text/html"))
        self.failureResultOf(asked, Unavailable)


class Ranges(FilesCase):
    large = 20 << 20

    def partial(self, first: int, last: int, whole: int) -> FakeFetched:
        size = last - first + 1
        headers = {"content-range": f"bytes {first}-{last}/{whole}"}
        return FakeFetched(206, headers, FakeBody([bytes(size)], size), "")

    def test_a_small_range_of_a_large_file_passes_through_and_starts_nothing(self) -> None:
        self.name(size=self.large)
        asked = self.ask(range="bytes=-100")
        request = self.upstream.answer(self.partial(self.large - 100, self.large - 1, self.large))
        self.assertEqual(request.headers, {"Range": "bytes=-100"})
        got = self.successResultOf(asked)
        self.assertEqual((got.part, got.length), ((self.large - 100, self.large - 1), self.large))
        self.assertEqual(got.provenance.state, CacheState.BYPASS)
        self.assertFalse(self.files.transfers.has(URL))

    def test_the_end_of_a_file_whose_beginning_is_coming_is_passed_through(self) -> None:
        self.name(size=self.large)
        self.ask()
        coming = Deferred()
        begun = FakeFetched(200, {}, FakeBody([b"x" * 100_000], self.large), "")
        read = begun.body.read

        async def slowly() -> bytes:
            return await read() if begun.body.pieces else await coming

        begun.body = Stub(begun.body, slowly)
        self.deliver(begun)
        early = self.successResultOf(self.ask(range="bytes=0-99"))
        self.assertIsNone(early.part)
        early.source.close()
        asked = self.ask(range="bytes=-100")
        self.upstream.answer(self.partial(self.large - 100, self.large - 1, self.large))
        self.assertEqual(self.successResultOf(asked).part, (self.large - 100, self.large - 1))

    def test_a_range_of_a_small_file_starts_the_transfer(self) -> None:
        self.name(size=len(BODY))
        asked = self.ask(range="bytes=-100")
        self.assertEqual(self.deliver(pieces()).headers, {})
        self.assertIsNone(self.successResultOf(asked).part)

    def test_a_file_that_turns_out_small_becomes_a_transfer(self) -> None:
        self.name()
        asked = self.ask(range="bytes=0-9")
        self.upstream.answer(self.partial(0, 9, len(BODY)))
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)

    def test_a_range_beyond_the_end_is_no_failure_of_upstream(self) -> None:
        self.name()
        asked = self.ask(range="bytes=900000-900009")
        self.upstream.answer(answer(416))
        self.deliver(pieces())
        got = self.successResultOf(asked)
        self.assertEqual((got.part, got.length), (None, len(BODY)))

    def test_a_part_that_was_not_asked_for_is_not_passed_on(self) -> None:
        self.name(size=self.large)
        asked = self.ask(range="bytes=0-9")
        self.upstream.answer(self.partial(10, 19, self.large))
        self.deliver(pieces())
        self.assertEqual(self.body_of(asked), BODY)

    def test_nor_is_a_part_of_another_size_than_the_page_tells(self) -> None:
        self.name(size=self.large)
        asked = self.ask(range="bytes=-100")
        self.upstream.answer(self.partial(self.large - 93, self.large + 6, self.large + 7))
        self.deliver(pieces())
        self.assertIsNone(self.successResultOf(asked).part)


class Publishing(FilesCase):
    def test_who_asks_between_the_last_byte_and_the_record_gets_the_stored_file(self) -> None:
        self.ask()
        self.upstream.answer(pieces())
        opened = self.files.transfers.running(URL)

        patch = self.patch(type(opened.transfer), "join", lambda transfer: None)
        late = self.ask()
        patch.restore()
        self.assertNoResult(late)
        self.clock.pump([0.01] * 20)
        self.assertEqual(self.body_of(late), BODY)
        self.assertEqual(len(self.upstream.requests), 1)


class CompanionFiles(FilesCase):
    metadata = b"Metadata-Version: 2.1\n"

    def setUp(self) -> None:
        super().setUp()
        self.name(metadata={"sha256": hashlib.sha256(self.metadata).hexdigest()})
        self.companion = evolve(
            self.route,
            key=f"{URL}.metadata",
            url=f"{URL}.metadata",
            companion_of=URL,
            derive=lambda stream: self.metadata if stream.read() == BODY else b"",
        )

    def test_it_is_fetched_and_verified(self) -> None:
        asked = self.ask(self.companion)
        request = self.deliver(pieces(self.metadata))
        self.assertEqual(request.url, f"{URL}.metadata")
        self.assertEqual(self.body_of(asked), self.metadata)

    def test_what_can_be_checked_is_made_from_the_stored_file_without_upstream(self) -> None:
        self.ask()
        self.deliver(pieces())
        for _ in range(2):
            self.assertEqual(self.body_of(self.ask(self.companion)), self.metadata)
        self.assertEqual(len(self.upstream.requests), 1)

    def test_otherwise_only_if_upstream_lacks_it(self) -> None:
        self.name(metadata={})
        self.ask()
        self.deliver(pieces())
        asked = self.ask(self.companion)
        self.upstream.answer(answer(404))
        self.assertEqual(self.body_of(asked), self.metadata)

    def test_a_wrong_one_is_a_failure_for_who_asked_already(self) -> None:
        asked = self.ask(self.companion)
        self.deliver(pieces(b"something else"))
        self.failureResultOf(asked, Unavailable)
        self.assertEqual(self.of_kind(TransferEnded)[0].stored, False)

    def test_a_client_that_leaves_while_it_is_stored_leaves_nothing_behind(self) -> None:
        self.ask()
        self.deliver(pieces())
        into = Mock(write=lambda data: Deferred(), abandon=AsyncMock())
        self.files.companions.store = Mock(wraps=self.store.files, begin=AsyncMock(return_value=into))
        asked = self.ask(self.companion)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        into.abandon.assert_awaited_once()

    def test_announced_but_not_to_be_had_is_a_failure_not_an_absence(self) -> None:
        asked = self.ask(self.companion)
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Unavailable)


class Offline(FilesCase):
    offline = True

    def test_a_companion_is_made_of_the_file_that_is_held(self) -> None:
        metadata = b"Metadata-Version: 2.1\n"
        self.name(metadata={"sha256": hashlib.sha256(metadata).hexdigest()})
        self.files.offline = False
        self.ask()
        self.deliver(pieces())
        self.files.offline = True
        companion = evolve(
            self.route, key=f"{URL}.metadata", url=f"{URL}.metadata", companion_of=URL, derive=lambda stream: metadata
        )
        self.assertEqual(self.body_of(self.ask(companion)), metadata)
        self.assertEqual(len(self.upstream.requests), 1)

    def test_a_companion_of_what_is_not_held_can_not_be_had(self) -> None:
        self.name(metadata={"sha256": "0" * 64})
        self.failureResultOf(self.ask(evolve(self.route, key=f"{URL}.metadata", companion_of=URL)), Unavailable)

    def test_upstream_is_never_asked(self) -> None:
        failure = self.failureResultOf(self.ask(), Unavailable)
        self.assertIsNone(failure.value.retry_after)
        self.assertEqual(self.upstream.requests, [])


class Purging(FilesCase):
    def test_a_file_that_is_being_recorded_does_not_come_back(self) -> None:
        self.name()
        asked, recorded, publish = self.ask(), Deferred(), MemoryPartial.publish

        async def late(partial: MemoryPartial, file: StoredFile) -> None:
            await recorded
            await publish(partial, file)

        route = Mock(sources=(Mock(key="page", index="main"),))
        store = Mock(pages=Mock(get=AsyncMock()), files=self.store.files)
        pages, mount = Mock(expire=AsyncMock(return_value=1)), Mock(pages_of=Mock(return_value=[route]))
        settled = self.files.transfers.settled
        listing = Mock(entries=AsyncMock(return_value=(None, [])))
        purger = CachePurger(mount, pages, self.files.knowledge, store, listing, InlineWorkers(), settled)
        done = Purged()
        with (
            patch.object(MemoryPartial, "publish", late),
            patch("twisted_pypi.caching.purge.files_named", AsyncMock(return_value=[URL])),
        ):
            self.deliver(pieces())
            self.assertEqual(self.body_of(asked), BODY)
            purged = Deferred.fromCoroutine(purger.purge(Purge("thing", files=True), done))
            self.assertNoResult(purged)
            recorded.callback(None)
            self.successResultOf(purged)
            self.assertEqual((done.pages, done.files), (1, 1))
        held = Deferred.fromCoroutine(self.store.files.held([URL]))
        self.assertEqual(list(self.successResultOf(held)), [])

    def test_one_that_still_comes_is_not_waited_for(self) -> None:
        self.name()
        self.ask()
        self.upstream.answer(pieces())
        self.assertIsNone(self.successResultOf(Deferred.fromCoroutine(self.files.transfers.settled(URL))))
