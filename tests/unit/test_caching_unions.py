"""The union of several pages. In memory, on an injected clock."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_pypi.answers import Asker, CacheState, PageAnswer
from twisted_pypi.caching.pages import BUDGET, CachedPages, PagePolicy
from twisted_pypi.caching.refresh import Refresher
from twisted_pypi.caching.unions import PATIENCE
from twisted_pypi.errors import Absent, Unavailable
from twisted_pypi.model import PageRoute
from twisted_pypi.storage.memory import MemoryStore
from unit.doubles import PLAIN, FakeUpstream, InlineWorkers, TextDocument, answer, scratch, source

TTL = 300.0


def part(index: str) -> PageRoute:
    return PageRoute("list", "", (source(index, "list"),), (PLAIN,))


class GatedWorkers(InlineWorkers):
    """Lets nothing be merged before the gate opens."""

    gate: Deferred | None = None

    def run(self, work, *args):
        if self.gate is None or getattr(work, "__name__", "") != "merge":
            return super().run(work, *args)
        waiting: Deferred = Deferred()
        self.gate.chainDeferred(waiting)
        return waiting.addCallback(lambda _: work(*args))


class UnionsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.upstream = FakeUpstream()
        self.store, self.workers = MemoryStore(), GatedWorkers()
        refresher = Refresher(
            self.upstream, self.store.pages, self.workers, lambda event: None, self.clock.seconds, scratch
        )
        self.pages = CachedPages(self.store, self.upstream, refresher, self.workers, lambda event: None, self.clock)
        self.made = 0
        parts = (part("extra"), part("main"))
        sources = tuple(each.sources[0] for each in parts)
        self.route = PageRoute("https://union.invalid/", "", sources, (PLAIN,), parts=parts, merge=self.merge)

    def merge(self, streams) -> TextDocument:
        self.made += 1
        return TextDocument(b"+".join(stream.read() for stream in streams.values()))

    def ask(self, **asker) -> Deferred:
        return Deferred.fromCoroutine(self.pages.answer(self.route, Asker(**asker)))

    def text(self, answered: PageAnswer) -> bytes:
        representation = answered.page.representations["text", "identity"]
        body = self.successResultOf(Deferred.fromCoroutine(self.pages.body(answered, representation)))
        return body if isinstance(body, bytes) else body.read(0, representation.length)

    def assert_answer(self, asked: Deferred, state: CacheState, text: bytes, detail: str = "") -> PageAnswer:
        answered = self.successResultOf(asked)
        how = answered.provenance
        self.assertEqual((how.state, self.text(answered), how.detail), (state, text, detail))
        return answered

    def cached(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(200, b"a"))
        self.upstream.answer(answer(200, b"b"))
        self.assert_answer(asked, CacheState.MISS, b"a+b")


class Unions(UnionsCase):
    def test_all_are_asked_at_once_and_one_union_is_made_for_all(self) -> None:
        asked = [self.ask() for _ in range(5)]
        self.assertEqual([request.index for request in self.upstream.requests], ["extra", "main"])
        self.upstream.answer(answer(200, b"a"))
        self.upstream.answer(answer(200, b"b"))
        for each in asked:
            self.assert_answer(each, CacheState.MISS, b"a+b")
        self.assertEqual(self.made, 1)
        self.assertEqual(self.assert_answer(self.ask(), CacheState.HIT, b"a+b").provenance.ttl, TTL)

    def test_a_hit_never_leaves_the_turn(self) -> None:
        self.assertIsNone(self.pages.ready(self.route, Asker()))
        self.cached()
        ready = self.pages.ready(self.route, Asker())
        self.assertEqual((ready.provenance.state, self.text(ready)), (CacheState.HIT, b"a+b"))
        self.assertIsNone(self.pages.ready(evolve(self.route, recipe="other"), Asker()))
        self.clock.advance(TTL)
        self.assertIsNone(self.pages.ready(self.route, Asker()))

    def test_it_is_made_anew_when_a_part_has_changed_and_only_then(self) -> None:
        self.cached()
        for text, made in ((b"b", 1), (b"c", 2)):
            self.clock.advance(TTL)
            asked = self.ask()
            self.upstream.answer(answer(200, b"a"))
            self.upstream.answer(answer(200, text))
            self.assert_answer(asked, CacheState.EXPIRED, b"a+" + text)
            self.assertEqual(self.made, made)

    def test_it_is_made_anew_when_the_recipe_has_changed(self) -> None:
        self.cached()
        self.route = evolve(self.route, recipe="other")
        self.assert_answer(self.ask(), CacheState.HIT, b"a+b")
        self.assertEqual(self.made, 2)

    def test_the_old_one_serves_while_a_new_one_is_made(self) -> None:
        self.cached()
        self.clock.advance(TTL)
        self.workers.gate = Deferred()
        asked = self.ask()
        self.upstream.answer(answer(200, b"a"))
        self.upstream.answer(answer(200, b"c"))
        self.assertNoResult(asked)
        self.clock.advance(1)
        answered = self.assert_answer(asked, CacheState.UPDATING, b"a+b")
        self.assertEqual(answered.provenance.ttl, 0)
        late = self.ask()
        self.workers.gate.callback(None)
        self.assert_answer(late, CacheState.HIT, b"a+c")
        self.assertEqual(self.made, 2)

    def test_but_not_one_of_another_recipe(self) -> None:
        self.cached()
        self.route = evolve(self.route, recipe="other")
        self.workers.gate = Deferred()
        asked = self.ask()
        self.clock.advance(BUDGET)
        self.failureResultOf(asked, Unavailable)
        self.workers.gate.callback(None)
        self.assert_answer(self.ask(), CacheState.HIT, b"a+b")

    def test_a_stale_part_serves_as_it_is(self) -> None:
        self.cached()
        self.clock.advance(TTL)
        asked = self.ask()
        self.upstream.fail()
        self.upstream.answer(answer(200, b"c"))
        answered = self.assert_answer(asked, CacheState.STALE, b"a+c")
        self.assertEqual(answered.provenance.ttl, 0)

    def test_one_that_is_down_is_left_out_for_a_while_and_that_is_told(self) -> None:
        asked = self.ask()
        self.upstream.fail()
        self.upstream.answer(answer(200, b"b"))
        answered = self.assert_answer(asked, CacheState.MISS, b"b", "without extra")
        self.assertEqual(answered.provenance.ttl, PATIENCE)
        self.assertIsNone(self.pages.ready(self.route, Asker()))
        self.assert_answer(self.ask(), CacheState.HIT, b"b", "without extra")
        self.clock.advance(PATIENCE)
        asked = self.ask()
        self.upstream.answer(answer(200, b"a"))
        self.assert_answer(asked, CacheState.MISS, b"a+b")

    def test_the_default_index_too(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(200, b"a"))
        self.upstream.fail()
        self.assert_answer(asked, CacheState.MISS, b"a", "without main")

    def test_one_that_has_no_list_is_left_out(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(200, b"b"))
        self.assertEqual(self.assert_answer(asked, CacheState.MISS, b"b", "without extra").provenance.ttl, TTL)

    def test_nothing_at_all_is_an_error(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.fail()
        self.failureResultOf(asked, Unavailable)
        self.pages.use(PagePolicy())
        asked = self.ask()
        self.upstream.answer(answer(404))
        self.upstream.answer(answer(404))
        self.failureResultOf(asked, Absent)

    def test_a_slow_extra_index_is_not_waited_for_beyond_the_budget(self) -> None:
        asked = self.ask()
        _, slow = self.upstream.waiting.pop(0)
        self.upstream.answer(answer(200, b"b"))
        self.assertNoResult(asked)
        self.clock.advance(BUDGET)
        self.assert_answer(asked, CacheState.MISS, b"b", "without extra")
        slow.callback(evolve(answer(200, b"a"), url="https://extra.example/"))
        self.assert_answer(self.ask(), CacheState.HIT, b"a+b")

    def test_a_slow_default_index_is_waited_for(self) -> None:
        asked = self.ask()
        self.upstream.answer(answer(200, b"a"))
        self.clock.advance(BUDGET)
        self.failureResultOf(asked, Unavailable)
        self.upstream.answer(answer(200, b"b"))
        self.assert_answer(self.ask(), CacheState.HIT, b"a+b")

    def test_purged_all_are_asked_anew(self) -> None:
        self.cached()
        purging = Deferred.fromCoroutine(self.pages.expire(self.route))
        self.assertEqual(self.successResultOf(purging), 2)
        self.ask()
        self.assertEqual([request.index for request in self.upstream.requests[2:]], ["extra", "main"])

    def test_a_client_that_leaves_takes_nobody_along(self) -> None:
        leaving, staying = self.ask(), self.ask()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.upstream.answer(answer(200, b"a"))
        self.upstream.answer(answer(200, b"b"))
        self.assert_answer(staying, CacheState.MISS, b"a+b")

    def test_offline_it_is_what_is_there(self) -> None:
        self.cached()
        self.successResultOf(Deferred.fromCoroutine(self.store.pages.delete(self.route.sources[0].key)))
        self.pages.use(PagePolicy(offline=True))
        self.assert_answer(self.ask(), CacheState.HIT, b"b", "without extra")
