"""Access log, event log and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher

from twisted_pypi import events
from twisted_pypi.answers import CacheState
from twisted_pypi.web.access_lines import LINE_FORMS, UNDATED
from twisted_pypi.web.access_log import FLUSH_LINES, FLUSH_SECONDS, AccessLog
from twisted_pypi.web.event_log import EventLog
from twisted_pypi.web.log_limits import REPEAT
from twisted_pypi.web.metrics import Metrics
from unit.web_doubles import NOW, InlineWriter

SERVED = events.Served(
    client="192.0.2.7",
    method="GET",
    target="/simple/six/",
    host="cache.example",
    status=200,
    size=1834,
    state=CacheState.HIT,
    kind="page",
    upstream_seconds=None,
    seconds=0.0004,
    agent="pip/25.0",
    protocol="HTTP/1.1",
)
LINE = '192.0.2.7 [1994-11-06T08:49:37Z] "GET /simple/six/ HTTP/1.1" cache.example 200 1834 HIT - 0.000 "pip/25.0"\n'


access_line = LINE_FORMS["text"].line


class TestAccessLine:
    def test_a_hit(self) -> None:
        assert access_line(SERVED, NOW) == LINE

    def test_a_broken_miss(self) -> None:
        event = evolve(SERVED, state=CacheState.MISS, upstream_seconds=1.25, complete=False)
        assert " 1834 MISS/ABORTED 1.250 " in access_line(event, NOW)

    def test_the_journal_needs_no_time(self) -> None:
        first, _, rest = LINE.partition(" ")
        assert UNDATED.line(SERVED, NOW) == f"{first} {rest.partition('] ')[2]}"

    def test_nothing_known(self) -> None:
        event = evolve(SERVED, client="", host="", state=None, agent="")
        assert access_line(event, NOW).startswith("- [")
        assert access_line(event, NOW).endswith(' - 200 1834 - - 0.000 ""\n')

    def test_no_part_is_empty(self) -> None:
        line = access_line(evolve(SERVED, target="", host=""), NOW)
        assert '"GET - HTTP/1.1" - 200' in line

    @given(st.text(), st.text(), st.text())
    def test_clients_cannot_forge_lines(self, host: str, target: str, agent: str) -> None:
        line = access_line(evolve(SERVED, host=host, target=target, agent=agent), NOW)
        assert line.isascii()
        assert line[:-1].isprintable()
        assert line.endswith('"\n')
        assert line.count('"') == 4
        assert len(line.split('"')[2].split(" ")) == 8


class TestJsonLine:
    def line(self, event: events.Served, now: float = NOW) -> str:
        return LINE_FORMS["json"].line(event, now)

    def test_a_hit(self) -> None:
        assert json.loads(self.line(SERVED, NOW + 0.0429)) == {
            "time": "1994-11-06T08:49:37.042Z",
            "client": "192.0.2.7",
            "method": "GET",
            "target": "/simple/six/",
            "protocol": "HTTP/1.1",
            "host": "cache.example",
            "status": 200,
            "bytes": 1834,
            "complete": True,
            "cache": "HIT",
            "kind": "page",
            "mount": "/",
            "collapsed": False,
            "seconds": 0.0004,
            "upstream_seconds": None,
            "agent": "pip/25.0",
            "user": None,
        }

    def test_a_broken_miss(self) -> None:
        event = evolve(SERVED, state=CacheState.MISS, upstream_seconds=1.25, complete=False, mount="a", collapsed=True)
        found = json.loads(self.line(event))
        assert (found["cache"], found["upstream_seconds"], found["complete"]) == ("MISS", 1.25, False)
        assert (found["mount"], found["collapsed"]) == ("a", True)

    def test_of_our_own(self) -> None:
        assert json.loads(self.line(evolve(SERVED, state=None)))["cache"] is None

    @given(st.text(), st.text(), st.text())
    def test_clients_cannot_forge_lines(self, host: str, target: str, agent: str) -> None:
        line = self.line(evolve(SERVED, host=host, target=target, agent=agent))
        assert line.isascii()
        assert line[:-1].isprintable()
        found = json.loads(line)
        assert (found["host"], found["target"], found["agent"]) == (host, target, agent)
        assert len(found) == 17

    @given(st.floats(0, 4e9))
    def test_times_go_forward(self, now: float) -> None:
        shown = json.loads(self.line(SERVED, now))["time"]
        assert 0 <= now - datetime.fromisoformat(shown).timestamp() < 0.0011


class TestAccessLog:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "access.log"

    def start(self, path: Path) -> tuple[AccessLog, Clock]:
        clock = Clock()
        clock.rightNow = NOW
        log = AccessLog(str(path), clock, InlineWriter())
        log.start()
        return log, clock

    def complaints(self, log: AccessLog, clock: Clock) -> list[str]:
        """What the daemon's log says of three flushes."""
        logged: list[dict[str, object]] = []
        globalLogPublisher.addObserver(logged.append)
        for _ in range(3):
            log.observe(SERVED)
            clock.advance(FLUSH_SECONDS)
        globalLogPublisher.removeObserver(logged.append)
        return [str(formatEvent(event)) for event in logged]

    def test_lines_are_written_within_a_second(self, path: Path) -> None:
        log, clock = self.start(path)
        log.observe(SERVED)
        log.observe(SERVED)
        assert path.read_text() == ""
        clock.advance(FLUSH_SECONDS)
        assert path.read_text() == LINE * 2
        assert clock.getDelayedCalls() == []
        log.stop()

    def test_many_lines_are_written_at_once(self, path: Path) -> None:
        log, clock = self.start(path)
        for _ in range(FLUSH_LINES):
            log.observe(SERVED)
        assert path.read_text() == LINE * FLUSH_LINES
        assert clock.getDelayedCalls() == []
        log.stop()

    def test_other_events_are_not_logged(self, path: Path) -> None:
        log, _ = self.start(path)
        log.observe(events.TransferStarted("https://files.example/a"))
        log.stop()
        assert path.read_text() == ""

    def test_stopping_writes_the_rest(self, path: Path) -> None:
        log, clock = self.start(path)
        log.observe(SERVED)
        log.stop()
        log.stop()
        assert path.read_text() == LINE
        assert clock.getDelayedCalls() == []

    def test_appending_and_rotation(self, path: Path) -> None:
        path.write_text("before\n")
        log, _ = self.start(path)
        log.observe(SERVED)
        moved = path.rename(path.with_suffix(".1"))
        log.reopen()
        log.observe(SERVED)
        log.stop()
        assert moved.read_text() == "before\n" + LINE
        assert path.read_text() == LINE

    def test_rotation_that_fails_keeps_the_old_file(self, path: Path) -> None:
        log, clock = self.start(path)
        moved = path.rename(path.with_suffix(".1"))
        path.mkdir()
        logged: list[str] = []
        observe = lambda event: logged.append(str(formatEvent(event)))  # noqa: E731
        globalLogPublisher.addObserver(observe)
        log.reopen()
        log.reopen()
        globalLogPublisher.removeObserver(observe)
        assert len(logged) == 2
        assert all("can't be opened anew, it goes on where it was" in line for line in logged)
        assert len(self.complaints(log, clock)) == 0
        log.stop()
        assert moved.read_text().count("\n") == 3

    def test_stdout(self, capfd: pytest.CaptureFixture[str]) -> None:
        log, _ = self.start(Path("-"))
        log.observe(SERVED)
        log.reopen()
        log.stop()
        assert capfd.readouterr().out == LINE

    def test_a_file_that_cannot_be_opened(self, path: Path) -> None:
        with pytest.raises(OSError, match="none"):
            self.start(path / "none" / "access.log")

    def test_lines_are_of_their_second(self, path: Path) -> None:
        log, clock = self.start(path)
        log.observe(SERVED)
        clock.rightNow += 1
        log.observe(SERVED)
        log.observe(evolve(SERVED, status=404))
        log.stop()
        later = LINE.replace(":37Z", ":38Z")
        assert path.read_text() == LINE + later + later.replace(" 200 ", " 404 ")

    def test_as_json(self, path: Path) -> None:
        clock = Clock()
        clock.rightNow = NOW
        log = AccessLog(str(path), clock, InlineWriter(), LINE_FORMS["json"])
        log.start()
        log.observe(SERVED)
        clock.rightNow += 0.25
        log.observe(SERVED)
        log.stop()
        times = [json.loads(line)["time"] for line in path.read_text().splitlines()]
        assert times == ["1994-11-06T08:49:37.000Z", "1994-11-06T08:49:37.250Z"]

    def test_write_errors_are_reported_once_and_drop_lines(self, path: Path) -> None:
        log, clock = self.start(path)
        log.writer.failing = OSError(28, "No space left on device")
        (complaint,) = self.complaints(log, clock)
        assert "No space left" in complaint
        log.writer.failing = None
        log.observe(SERVED)
        clock.advance(FLUSH_SECONDS)
        assert path.read_text() == LINE.replace(":37Z", ":40Z")
        log.writer.failing = OSError(5, "again")
        assert len(self.complaints(log, clock)) == 1

    def test_lines_without_room_are_reported_once(self, path: Path) -> None:
        log, clock = self.start(path)
        log.writer.full = True
        assert len(self.complaints(log, clock)) == 1

    def test_in_a_thread_of_its_own(self, path: Path) -> None:
        log = AccessLog(str(path), Clock())
        log.start()
        log.observe(SERVED)
        log.stop()
        assert path.read_text().count("\n") == 1


URL = "https://files.example/a.whl"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class TestEventLog:
    def lines(self, event: events.Event, *, level: LogLevel = LogLevel.debug) -> list[tuple[LogLevel, str]]:
        seen: list[dict[str, object]] = []
        EventLog(level, Logger(observer=seen.append)).observe(event)
        return [(event["log_level"], formatEvent(event)) for event in seen]

    @pytest.mark.parametrize(
        ("event", "level", "line"),
        [
            (events.Decided("k", "HIT", "fresh"), LogLevel.debug, "k: HIT (fresh)"),
            (events.FetchFailed(URL, "timed out", False), LogLevel.warn, f"upstream failed, timed out: {URL}"),
            (events.FetchFailed(URL, "no", False, True), LogLevel.debug, f"upstream failed, no: {URL}"),
            (
                events.PageRegressed(URL, 9, 8, False),
                LogLevel.warn,
                f"upstream's page has serial 8, ours 9, ours is kept: {URL}",
            ),
            (
                events.IntegrityFailed(URL, "sha256", "aa", "bb"),
                LogLevel.error,
                f"file is not what was announced, sha256 should be aa, is bb: {URL}",
            ),
            (
                events.TransferEnded(URL, 9, False, "full {disk}"),
                LogLevel.info,
                f"transfer of 9 bytes ended, not stored (full {{disk}}): {URL}",
            ),
            (
                events.TransferBroke(URL, 5, "reset"),
                LogLevel.info,
                f"transfer broke at byte 5, reset; it goes on there: {URL}",
            ),
            (events.BreakerChanged("https://h", True), LogLevel.warn, "https://h is taken for down"),
            (events.BreakerChanged("https://h", False), LogLevel.warn, "https://h is taken for up again"),
            (events.StoreTrouble("put", "a\nb\x1b"), LogLevel.warn, r"store: put: a\x0ab\x1b"),
        ],
    )
    def test_lines(self, event: events.Event, level: LogLevel, line: str) -> None:
        assert self.lines(event) == [(level, line)]

    def test_every_kind_but_those_of_traffic_has_a_line_that_can_be_formatted(self) -> None:
        for kind in events.Event.__subclasses__():
            if kind in (events.Served, events.BytesFetched, events.ReactorLagged, events.WorkersUsed):
                continue
            values = {a.name: 0.5 if a.name == "seconds" else "x" for a in kind.__attrs_attrs__}
            assert len(self.lines(kind(**values))) == 1, kind

    def test_requests_are_for_the_access_log(self) -> None:
        assert self.lines(SERVED) == []

    def test_lines_below_the_level_are_left_out(self) -> None:
        assert self.lines(events.Decided("k", "HIT", "fresh"), level=LogLevel.warn) == []
        assert len(self.lines(events.StoreTrouble("a", "b"), level=LogLevel.warn)) == 1

    def test_a_client_that_sends_garbage_is_named_once_a_minute(self) -> None:
        seen: list[dict[str, object]] = []
        clock = Clock()
        log = EventLog(LogLevel.info, Logger(observer=seen.append), clock.seconds)
        for client in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.7"):
            log.observe(events.RequestRefused(client, 400, "bad\n"))
        assert [line["line"] for line in seen] == [
            "refused a request of 192.0.2.7 with 400: bad\\x0a",
            "refused a request of 192.0.2.8 with 400: bad\\x0a",
        ]
        clock.advance(REPEAT)
        log.observe(events.RequestRefused("192.0.2.7", 400, ""))
        assert len(seen) == 3

    def observed(self, *made: events.Event, log: EventLog | None = None) -> list[str]:
        """The lines of these events, on one log (by default a new one)."""
        seen: list[dict[str, object]] = []
        log = log or EventLog(LogLevel.info, seconds=Clock().seconds)
        log.log = Logger(observer=seen.append)
        for event in made:
            log.observe(event)
        return [str(line["line"]) for line in seen]

    def test_what_fails_for_the_whole_store_is_told_once_a_minute_with_a_count(self) -> None:
        clock = Clock()
        log = EventLog(LogLevel.info, seconds=clock.seconds)
        full = [events.StoreTrouble(f"reading /f/{n}", f"[Errno 24] Too many open files: '/f/{n}'") for n in range(50)]
        other = events.StoreTrouble("reading /f/x", "[Errno 5] Input/output error: '/f/x'")
        assert self.observed(*full, other, log=log) == [
            "store: reading /f/0: [Errno 24] Too many open files: '/f/0'",
            "store: reading /f/x: [Errno 5] Input/output error: '/f/x'",
        ]
        clock.advance(REPEAT)
        assert self.observed(*full, other, log=log) == [
            "store: reading /f/0: [Errno 24] Too many open files: '/f/0' (49 more like this were not told)",
            "store: reading /f/x: [Errno 5] Input/output error: '/f/x'",
        ]

    def test_an_entry_that_is_damaged_does_not_hide_the_next(self) -> None:
        damaged = [events.StoreTrouble(f"integrity of /f/{n}", "its digest is not the recorded one") for n in range(99)]
        assert len(self.observed(*damaged)) == 10

    @pytest.mark.parametrize(
        "make",
        [
            lambda n: events.PageRegressed(f"https://a.example/{n}", 2, 1, False),
            lambda n: events.IntegrityFailed(f"https://a.example/{n}", "sha256", "a", str(n)),
            lambda n: events.OwnerAbsent(f"name-{n}", "internal"),
            lambda n: events.BreakerChanged(f"https://h{n}.example", True),
            lambda n: events.Evicted(n, n),
        ],
    )
    def test_what_is_brought_about_at_will_is_told_sixty_times_a_minute(
        self, make: Callable[[int], events.Event]
    ) -> None:
        assert len(self.observed(*map(make, range(500)))) == 60

    @pytest.mark.parametrize(
        "make",
        [
            lambda url, reason: events.FetchFailed(url, reason, False),
            events.PageRejected,
            lambda url, reason: events.TransferBroke(url, 1, reason),
            lambda url, reason: events.TransferEnded(url, 1, False, reason),
        ],
    )
    def test_the_same_reason_is_told_twenty_times_a_minute_of_each_origin(
        self, make: Callable[[str, str], events.Event]
    ) -> None:
        hosts, reasons = "ab", ("reset", "refused")
        made = [make(f"https://{h}.example/{n}", reason) for n in range(99) for h in hosts for reason in reasons]
        assert len(self.observed(*made)) == 4 * 20

    def test_one_kind_does_not_hide_another(self) -> None:
        made = [events.FetchFailed("https://a.example/", f"reason {n}", False) for n in range(2000)]
        lines = self.observed(*made, events.StoreTrouble("begin", "full"))
        assert len(lines) == 1001
        assert lines[-1] == "store: begin: full"

    def test_every_file_that_was_stored_is_told(self) -> None:
        made = [events.TransferEnded(f"https://a.example/{n}", n, True) for n in range(500)]
        assert len(self.observed(*made)) == 500

    def test_with_debug_every_decision_is_told(self) -> None:
        seen: list[object] = []
        log = EventLog(LogLevel.debug, Logger(observer=seen.append), Clock().seconds)
        for number in range(500):
            log.observe(events.Decided(f"k{number}", "HIT", "fresh"))
        assert len(seen) == 500

    def test_clients_without_number_that_send_garbage_fill_neither_log_nor_memory(self) -> None:
        seen: list[object] = []
        clock = Clock()
        log = EventLog(LogLevel.info, Logger(observer=seen.append), clock.seconds)
        for number in range(3000):
            log.observe(events.RequestRefused(f"client {number}", 400, ""))
        assert len(seen) == 1000
        clock.advance(REPEAT)
        log.observe(events.RequestRefused("another", 400, ""))
        assert len(seen) == 1001


class TestMetrics:
    def test_counting(self) -> None:
        metrics = Metrics(frozenset({"https://files.example"}))
        for event in (
            SERVED,
            SERVED,
            evolve(SERVED, state=CacheState.MISS, mount="internal", collapsed=True),
            evolve(SERVED, state=None, kind="error", status=404, size=0, complete=False),
            events.FetchDone(URL, 200, 0.3, True),
            events.FetchDone("https://elsewhere.example/x", 200, 0.3, False),
            events.FetchFailed(URL, "refused", False),
            events.BytesFetched(1000),
            events.PageRejected(URL, "x"),
            events.IntegrityFailed(URL, "sha256", "a", "b"),
            *[events.TransferStarted(URL)] * 4,
            events.TransferBroke(URL, 1, "reset"),
            events.TransferResumed(URL, 1),
            events.TransferEnded(URL, 1, True),
            events.TransferEnded(URL, 1, False, "reset"),
            events.TransferEnded(URL, 1, False, "stopped", stopped=True),
            events.ReactorLagged(0.025),
            events.ReactorLagged(0.5, worker=True),
            events.WorkersUsed(2, 100, 1.5),
            events.WorkersUsed(2, 90, 0.5),
            events.Evicted(3, 4096),
            events.BreakerChanged("https://files.example", True),
            events.StoreTrouble("put", "full"),
            events.Decided("k", "HIT", "fresh"),
            events.RequestRefused("192.0.2.7", 400, "x"),
            events.TurnedAway("192.0.2.1", "idle"),
            events.TurnedAway("192.0.2.1", "total"),
            events.TurnedAway("192.0.2.1", "total"),
        ):
            metrics.observe(event)
        metrics.watch_connections(lambda: 12)
        lines = metrics.render()[1].decode().splitlines()
        for line in (
            "pypicache_connections 12.0",
            'pypicache_connections_turned_away_total{reason="idle"} 1.0',
            'pypicache_connections_turned_away_total{reason="total"} 2.0',
            'pypicache_requests_total{kind="page",mount="/",state="HIT",status="200"} 2.0',
            'pypicache_requests_total{kind="page",mount="internal",state="MISS",status="200"} 1.0',
            'pypicache_requests_total{kind="error",mount="/",state="NONE",status="404"} 1.0',
            'pypicache_sent_bytes_total{kind="page",mount="/",state="HIT"} 3668.0',
            'pypicache_requests_collapsed_total{kind="page"} 1.0',
            'pypicache_aborted_total{kind="error"} 1.0',
            'pypicache_upstream_seconds_bucket{kind="file",le="0.5",origin="https://files.example"} 1.0',
            'pypicache_upstream_seconds_bucket{kind="file",le="0.25",origin="https://files.example"} 0.0',
            'pypicache_upstream_seconds_count{kind="page",origin="other"} 1.0',
            'pypicache_upstream_failures_total{kind="page"} 1.0',
            "pypicache_upstream_bytes_total 1000.0",
            "pypicache_pages_rejected_total 1.0",
            "pypicache_integrity_failures_total 1.0",
            "pypicache_transfers_running 1.0",
            "pypicache_transfer_breaks_total 1.0",
            "pypicache_transfer_resumes_total 1.0",
            'pypicache_transfers_ended_total{outcome="stored"} 1.0',
            'pypicache_transfers_ended_total{outcome="failed"} 1.0',
            'pypicache_transfers_ended_total{outcome="stopped"} 1.0',
            'pypicache_reactor_lag_seconds_bucket{le="0.025",process="owner"} 1.0',
            'pypicache_reactor_lag_seconds_bucket{le="0.25",process="worker"} 0.0',
            'pypicache_reactor_lag_seconds_count{process="worker"} 1.0',
            "pypicache_workers 2.0",
            "pypicache_worker_resident_memory_bytes 90.0",
            "pypicache_worker_cpu_seconds_total 2.0",
            "pypicache_evicted_entries_total 3.0",
            "pypicache_evicted_bytes_total 4096.0",
            'pypicache_breaker_open{origin="https://files.example"} 1.0',
            "pypicache_store_trouble_total 1.0",
            'pypicache_requests_refused_total{status="400"} 1.0',
        ):
            assert line in lines
        assert metrics.requests_by_state() == {"HIT": 2, "MISS": 1, "NONE": 1}

    def test_what_is_configured_is_told_before_anything_happens(self) -> None:
        metrics = Metrics(frozenset({"https://h"}))
        metrics.use(frozenset({"https://h", "https://i"}))
        text = metrics.render()[1]
        for line in (
            b'pypicache_breaker_open{origin="https://h"} 0.0\n',
            b'pypicache_breaker_open{origin="https://i"} 0.0\n',
            b'pypicache_transfers_ended_total{outcome="failed"} 0.0\n',
        ):
            assert line in text

    def test_the_latency_of_an_origin_that_is_configured_later(self) -> None:
        metrics = Metrics()
        metrics.use(frozenset({"https://files.example"}))
        metrics.observe(events.FetchDone(URL, 200, 0.3, True))
        assert (
            b'pypicache_upstream_seconds_count{kind="file",origin="https://files.example"} 1.0' in metrics.render()[1]
        )

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("", "text/plain; version=0.0.4; charset=utf-8"),
            ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
            ("application/openmetrics-text;q=0.2,text/plain", "text/plain; version=0.0.4; charset=utf-8"),
            ("application/openmetrics-text;version=9\u00a0;escaping=x", OPENMETRICS),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OPENMETRICS,
            ),
        ],
    )
    def test_the_format_follows_what_is_accepted(self, accept: str, kind: str) -> None:
        metrics = Metrics()
        metrics.observe(SERVED)
        said, text = metrics.render(accept)
        assert (said, text.endswith(b"# EOF\n")) == (kind, kind == OPENMETRICS)
        assert b'pypicache_requests_total{kind="page",mount="/",state="HIT",status="200"} 1.0' in text
        assert b"_created" not in text

    def test_a_breaker_closes_again(self) -> None:
        metrics = Metrics(frozenset({"https://h", "https://j"}))
        for origin in ("https://h", "https://i"):
            metrics.observe(events.BreakerChanged(origin, True))
            assert f'pypicache_breaker_open{{origin="{origin}"}} 1.0'.encode() in metrics.render()[1]
            metrics.observe(events.BreakerChanged(origin, False))
        assert b'pypicache_breaker_open{origin="https://h"} 0.0' in metrics.render()[1]
        assert b"https://i" not in metrics.render()[1]
        metrics.observe(events.BreakerChanged("https://h", True))
        metrics.use(frozenset())
        assert b'pypicache_breaker_open{origin="https://h"} 1.0' in metrics.render()[1]
        assert b"https://j" not in metrics.render()[1]
        metrics.observe(events.BreakerChanged("https://h", False))
        assert b"https://h" not in metrics.render()[1]

    def test_origins_are_bounded(self) -> None:
        metrics = Metrics()
        for number in range(1000):
            metrics.observe(events.BreakerChanged(f"https://h{number}", True))
        assert metrics.render()[1].count(b"pypicache_breaker_open{") == 200
        for number in range(1000):
            metrics.observe(events.BreakerChanged(f"https://h{number}", False))
        assert metrics.render()[1].count(b"pypicache_breaker_open{") == 0

    def test_two_do_not_share_their_counters(self) -> None:
        one, other = Metrics(), Metrics()
        one.observe(SERVED)
        assert other.requests_by_state() == {}
