"""Statistics counted from events, and kept; the health of origins; results that are good for a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_pypi.answers import CacheState
from twisted_pypi.errors import Absent, Unavailable
from twisted_pypi.events import BreakerChanged, BytesFetched, FetchDone, FetchFailed, Served
from twisted_pypi.model import FileRoute, PageRoute, PageSource, Redirect
from twisted_pypi.status.counts import HOUR, Counts
from twisted_pypi.status.health import MOST, Health
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.recent import Recent
from twisted_pypi.status.statistics import LONGEST_PATH, MINUTE, MOST_EVENTS, MOST_PATHS, Statistics
from twisted_pypi.storage.kept import LARGEST, KeptFile
from unit.doubles import InlineWorkers
from unit.web_doubles import Mount, Several

NOW = 1_000_000 * HOUR + 1790.0
HIT = Served(
    client="192.0.2.7",
    method="GET",
    target="/simple/six/",
    host="cache.example",
    status=200,
    size=1000,
    state=CacheState.HIT,
    kind="page",
    upstream_seconds=None,
    seconds=0.0,
    agent="pip",
    protocol="HTTP/1.1",
)


def source(index: str) -> PageSource:
    url = f"https://{index}.example/simple/six/"
    return PageSource(index, url, url, "", 300, 60, lambda body: None)


PAGE = PageRoute("simple/six", "six", (source("main"), source("extra")), ())
LIST = PageRoute("simple/", "", (source("main"),), ())
FILE = FileRoute(
    "https://main.example/six.whl", "https://main.example/six.whl", "six.whl", "main", ("main",), True, PAGE
)
LOOSE = evolve(FILE, index=None, indexes=("main", "extra"))
MOUNT = Mount(
    {
        "/simple/six/": PAGE,
        "/simple/": LIST,
        "/simple/six": Redirect("six/"),
        "/packages/six.whl": FILE,
        "/files/six.whl": LOOSE,
        "/packages/readme": evolve(FILE, pages=None),
    }
)


@define
class Memory:
    """Where statistics are kept."""

    data: bytes | None = None
    failure: Exception | None = None
    written: int = 0

    def read(self) -> bytes | None:
        if self.failure:
            raise self.failure
        return self.data

    def write(self, data: bytes) -> None:
        if self.failure:
            raise self.failure
        self.data = data
        self.written += 1


@define
class Held:
    """Workers that begin when they are let."""

    waiting: list[tuple[Deferred, object, tuple]] = field(factory=list)

    def run(self, work, *args):
        done: Deferred = Deferred()
        self.waiting.append((done, work, args))
        return done

    def let(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done, work, args in waiting:
            done.callback(work(*args))


@define
class Bench:
    """Statistics on a clock that is the time of day as well."""

    kept: Memory = field(factory=Memory)
    workers: object = field(factory=InlineWorkers)
    clock: Clock = field(factory=Clock)
    troubles: list[tuple[str, str]] = field(factory=list)
    statistics: Statistics = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.rightNow = NOW
        self.begin()

    def begin(self) -> Statistics:
        """A further run."""
        self.statistics = Statistics(
            self.kept,
            self.workers,
            self.clock,
            self.clock.seconds,
            lambda what, why: self.troubles.append((what, why)),
            Naming(MOUNT, ""),
        )
        return self.statistics

    def start(self) -> Statistics:
        Deferred.fromCoroutine(self.statistics.start())
        return self.statistics

    def stop(self) -> None:
        done = Deferred.fromCoroutine(self.statistics.stop())
        assert done.called

    def serve(self, *served: Served) -> Counts:
        for event in served:
            self.statistics.observe(event)
        self.statistics.settle()
        return self.statistics.history.ever

    def uses(self) -> dict[tuple[str, frozenset[str]], int]:
        assert Deferred.fromCoroutine(self.statistics.settle_uses()).called
        return dict(self.statistics.usage.top(self.clock.seconds()))


class TestWhatCounts:
    @pytest.mark.parametrize(
        ("state", "hits", "misses"),
        [
            *((CacheState[name], 1, 0) for name in ("HIT", "STALE", "UPDATING", "REVALIDATED")),
            *((CacheState[name], 0, 1) for name in ("MISS", "EXPIRED", "BYPASS")),
        ],
    )
    def test_hits_are_what_came_from_the_cache(self, state: CacheState, hits: int, misses: int) -> None:
        assert Bench().serve(evolve(HIT, state=state)) == Counts(1, hits, misses, 1000, 0)

    @pytest.mark.parametrize("status", [404, 503])
    def test_an_error_is_neither(self, status: int) -> None:
        assert Bench().serve(evolve(HIT, status=status, size=20)) == Counts(1, 0, 0, 20, 0)

    def test_a_redirect_is_a_request_and_saves_nothing(self) -> None:
        assert Bench().serve(evolve(HIT, status=301, state=None, kind="redirect")) == Counts(requests=1)

    @pytest.mark.parametrize("kind", ["admin", "health"])
    def test_our_own_pages_do_not_count(self, kind: str) -> None:
        assert Bench().serve(evolve(HIT, state=None, kind=kind)) == Counts()

    def test_the_same_event_again_is_another_request(self) -> None:
        assert Bench().serve(HIT, HIT, evolve(HIT), HIT) == Counts(4, 4, 0, 4000, 0)

    def test_what_upstream_sent(self) -> None:
        bench = Bench()
        bench.statistics.observe(BytesFetched(30))
        bench.statistics.observe(BytesFetched(3))
        assert bench.serve() == Counts(fetched=33)

    def test_different_events_are_settled_before_they_are_too_many(self) -> None:
        bench = Bench()
        for _ in range(MOST_EVENTS + 1):
            bench.statistics.observe(evolve(HIT))
        assert bench.statistics.history.ever.requests == MOST_EVENTS

    def test_an_hour_has_what_happened_before_its_end(self) -> None:
        bench = Bench()
        bench.start()
        bench.clock.advance(HOUR - NOW % HOUR - 5)
        bench.statistics.settle()
        bench.statistics.observe(HIT)
        bench.clock.pump([5, 15])
        assert [counts.hits for _, counts in bench.statistics.history.last_hours(bench.clock.seconds(), 2)] == [1, 0]


class TestUses:
    @pytest.mark.parametrize(
        ("path", "indexes"),
        [
            ("/simple/six/", {"main", "extra"}),
            ("/packages/six.whl", {"main"}),
            ("/files/six.whl", {"main", "extra"}),
        ],
    )
    def test_of_a_project(self, path: str, indexes: set[str]) -> None:
        bench = Bench()
        event = evolve(HIT, target=path)
        bench.serve(event, event)
        assert bench.uses() == {("six", frozenset(indexes)): 2}

    @pytest.mark.parametrize("path", ["/simple/", "/simple/six", "/packages/readme", "/none"])
    def test_of_none(self, path: str) -> None:
        bench = Bench()
        bench.serve(evolve(HIT, target=path))
        assert bench.uses() == {}

    @pytest.mark.parametrize("change", [{"status": 404}, {"status": 503}, {"state": None}])
    def test_only_content_is_a_use(self, change: dict[str, object]) -> None:
        bench = Bench()
        bench.serve(evolve(HIT, **change))
        assert bench.uses() == {}

    def test_below_the_prefix(self) -> None:
        bench = Bench()
        bench.statistics.naming = Naming(MOUNT, "/pypi")
        bench.serve(evolve(HIT, target="/pypi/simple/six/"), evolve(HIT, target="/simple/six/"))
        assert list(bench.uses().values()) == [1]

    def test_the_first_mount_that_knows_a_path_names_it(self) -> None:
        other = Mount({"/simple/six/": Absent("no"), "/other": evolve(PAGE, name="other")})
        naming = Naming(Several((other, MOUNT)), "")
        assert [naming.used(path)[0] for path in ("/simple/six/", "/other")] == ["six", "other"]

    def test_paths_of_a_minute_are_bounded(self) -> None:
        bench = Bench()
        bench.statistics.naming = Naming(Everything(), "")
        for number in range(MOST_PATHS + 10):
            bench.serve(evolve(HIT, target=f"/{number}"))
        assert sum(bench.uses().values()) == MOST_PATHS

    def test_a_path_made_long_is_none_to_be_kept(self) -> None:
        bench = Bench()
        bench.statistics.naming = Naming(Everything(), "")
        bench.serve(evolve(HIT, target="/" * LONGEST_PATH), evolve(HIT, target="/" * (LONGEST_PATH + 1)))
        assert sum(bench.uses().values()) == 1


class Everything:
    """A mount on which each path is of a project."""

    def resolve(self, path: str) -> PageRoute:
        return evolve(PAGE, name=path[:2])


class TestRate:
    def test_over_the_last_minute(self) -> None:
        bench = Bench()
        for _ in range(180):
            bench.clock.advance(1)
            bench.serve(HIT, HIT)
        assert bench.statistics.per_second() == pytest.approx(2, rel=0.05)
        bench.clock.advance(30)
        assert bench.statistics.per_second() == pytest.approx(1, rel=0.1)

    def test_just_after_the_start(self) -> None:
        bench = Bench()
        bench.serve(HIT, HIT, HIT)
        assert bench.statistics.per_second() == 3


class TestKeeping:
    def test_a_restart_goes_on(self) -> None:
        bench = Bench()
        bench.start()
        bench.serve(HIT, HIT)
        bench.stop()
        bench.begin()
        bench.start()
        bench.serve(HIT)
        assert bench.statistics.history.ever == Counts(3, 3, 0, 3000, 0)
        assert list(bench.uses().values()) == [3]

    def test_what_happened_before_it_was_read_counts_too(self) -> None:
        bench = Bench()
        bench.start()
        bench.serve(HIT)
        bench.stop()
        bench.begin()
        bench.serve(HIT)
        bench.start()
        assert bench.statistics.history.ever.hits == 2

    def test_it_is_written_every_minute_if_there_is_news(self) -> None:
        bench = Bench()
        bench.start()
        bench.clock.advance(MINUTE)
        assert bench.kept.written == 1
        bench.clock.pump([MINUTE] * 3)
        assert bench.kept.written == 1
        bench.statistics.observe(HIT)
        bench.clock.advance(MINUTE)
        assert bench.kept.written == 2

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"[9,{},[]]", b"null", b'[1,{"since":0},[]]', b"\xff" * 10])
    def test_a_broken_file_is_no_reason_not_to_start(self, data: bytes) -> None:
        bench = Bench(Memory(data))
        bench.start()
        assert [what for what, _ in bench.troubles] == ["statistics begin anew"]
        assert bench.serve(HIT).hits == 1
        bench.clock.advance(MINUTE)
        assert bench.kept.data != data

    def test_nothing_is_written_where_nothing_was_read(self) -> None:
        """The directory may be another daemon's: that is found out before statistics are started."""
        bench = Bench()
        bench.serve(HIT)
        bench.stop()
        assert bench.kept.written == 0

    def test_a_disk_that_is_full_is_told_of_once(self) -> None:
        bench = Bench()
        bench.start()
        bench.kept.failure = OSError(28, "No space left on device")
        for _ in range(3):
            bench.statistics.observe(HIT)
            bench.clock.advance(MINUTE)
        assert [what for what, _ in bench.troubles] == ["statistics are not kept"]
        bench.kept.failure = None
        bench.clock.advance(MINUTE)
        assert bench.kept.written == 1
        assert bench.begin() is bench.start()
        assert bench.serve() == Counts(3, 3, 0, 3000, 0)

    def test_a_disk_that_hangs_is_written_to_once(self) -> None:
        bench = Bench(workers=Held())
        bench.start()
        bench.workers.let()
        for _ in range(5):
            bench.statistics.observe(BytesFetched(1))
            bench.clock.advance(MINUTE)
        assert len(bench.workers.waiting) == 1
        stopping = Deferred.fromCoroutine(bench.statistics.stop())
        bench.workers.let()
        assert not stopping.called
        bench.workers.let()
        assert stopping.called
        assert bench.begin() is bench.start()
        bench.workers.let()
        assert bench.serve() == Counts(fetched=5)

    def test_after_the_stop_nothing_is_due(self) -> None:
        bench = Bench()
        bench.start()
        bench.stop()
        assert bench.clock.getDelayedCalls() == []


class TestKeptFile:
    def test_it_is_replaced_as_a_whole(self, tmp_path: Path) -> None:
        file = KeptFile(str(tmp_path), "statistics.json")
        assert file.read() is None
        file.write(b"one")
        file.write(b"other")
        assert file.read() == b"other"
        assert [path.name for path in tmp_path.iterdir()] == ["statistics.json"]
        assert (tmp_path / "statistics.json").stat().st_mode & 0o777 == 0o600

    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(b"other")
        (tmp_path / "statistics.json").symlink_to(tmp_path / "other")
        (tmp_path / "statistics.json.new").symlink_to(tmp_path / "other")
        file = KeptFile(str(tmp_path), "statistics.json")
        for work in (file.read, lambda: file.write(b"mine")):
            with pytest.raises(OSError, match="symbolic links"):
                work()
        assert (tmp_path / "other").read_bytes() == b"other"

    def test_what_is_too_large_is_not_read(self, tmp_path: Path) -> None:
        (tmp_path / "statistics.json").write_bytes(b"x" * (LARGEST + 1))
        with pytest.raises(ValueError, match="too large"):
            KeptFile(str(tmp_path), "statistics.json").read()


class TestHealth:
    def test_its_states(self) -> None:
        clock = Clock()
        health = Health(clock.seconds)
        seen = [health.of("https://main.example").state]
        for event in (
            FetchDone("https://main.example/simple/six/", 200, 0.1, False),
            FetchFailed("https://main.example/simple/six/", "refused", False),
            BreakerChanged("https://main.example", True),
            BreakerChanged("https://main.example", False),
            FetchDone("https://main.example/simple/six/", 404, 0.1, False),
        ):
            clock.advance(1)
            health.observe(event)
            seen.append(health.of("https://main.example").state)
        assert seen == ["unknown", "up", "failing", "down", "failing", "up"]

    def test_what_is_told_of_an_origin(self) -> None:
        clock = Clock()
        health = Health(clock.seconds)
        health.observe(FetchDone("https://main.example/a", 200, 0.1, False))
        clock.advance(5)
        health.observe(FetchDone("https://main.example/b", 200, 0.6, True))
        health.observe(FetchFailed("https://main.example/b", "x" * 5000, True))
        record = health.of("https://main.example")
        assert (record.answered, record.failed) == (5, 5)
        assert record.latency == pytest.approx(0.2)
        assert len(record.reason) == 200
        assert health.of("https://other.example").latency is None

    def test_urls_that_are_none_and_origins_without_number(self) -> None:
        health = Health(Clock().seconds)
        health.observe(FetchFailed("", "no URL", False))
        health.observe(FetchDone("https://first.example/", 200, 0.1, False))
        for number in range(MOST):
            health.observe(FetchDone(f"https://h{number}.example/", 200, 0.1, False))
        assert health.of("https://first.example").state == "unknown"
        assert health.of("https://h0.example").state == "up"


class TestRecent:
    def get(self, recent: Recent, key: str = "") -> Deferred:
        return Deferred.fromCoroutine(recent.get(key, self.work))

    async def work(self) -> int:
        self.count = getattr(self, "count", 0) + 1
        if self.waiting is not None:
            await self.waiting
        return self.count

    waiting: Deferred | None = None

    def test_it_is_made_once_in_a_while(self) -> None:
        clock = Clock()
        recent = Recent(clock.seconds, 2.0)
        results = []
        for _ in range(6):
            self.get(recent).addCallback(results.append)
            clock.advance(1)
        assert results == [1, 1, 2, 2, 3, 3]

    def test_who_comes_meanwhile_waits_for_the_same(self) -> None:
        self.waiting = Deferred()
        recent = Recent(Clock().seconds, 2.0)
        asked = [self.get(recent) for _ in range(3)]
        asked[0].addErrback(lambda _: None)
        asked[0].cancel()
        self.waiting.callback(None)
        assert [each.result for each in asked[1:]] == [1, 1]

    def test_a_failure_is_not_kept(self) -> None:
        self.waiting = Deferred()
        recent = Recent(Clock().seconds, 2.0)
        failed: list[object] = []
        self.get(recent).addErrback(failed.append)
        self.waiting.errback(OSError())
        self.waiting = None
        assert failed
        assert self.get(recent).result == 2

    def test_an_old_one_at_once_and_a_new_one_behind_it(self) -> None:
        clock = Clock()
        recent = Recent(clock.seconds, 2.0, behind=True)
        assert self.get(recent).result == 1
        clock.advance(3)
        self.waiting = Deferred()
        assert [self.get(recent).result for _ in range(3)] == [1, 1, 1]
        self.waiting.callback(None)
        assert self.get(recent).result == self.count == 2

    def test_when_none_can_be_made_the_old_one_stays(self) -> None:
        clock = Clock()
        recent = Recent(clock.seconds, 2.0, behind=True)
        assert self.get(recent).result == 1
        clock.advance(3)
        self.waiting = Deferred()
        self.waiting.errback(Unavailable("busy"))
        assert self.get(recent).result == 1
        self.waiting = None
        self.get(recent)
        assert self.get(recent).result == self.count == 3

    def test_keys_are_bounded(self) -> None:
        recent = Recent(Clock().seconds, 2.0, most=2)
        for key in "abca":
            self.get(recent, key)
        assert self.count == 4
