"""Access log, event log and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher

from twisted_pypi import events
from twisted_pypi.answers import CacheState
from twisted_pypi.web.access_log import FLUSH_LINES, FLUSH_SECONDS, AccessLog, access_line
from twisted_pypi.web.event_log import REPEAT, EventLog
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


class TestAccessLine:
    def test_a_hit(self) -> None:
        assert access_line(SERVED, NOW) == LINE

    def test_a_broken_miss(self) -> None:
        event = evolve(SERVED, state=CacheState.MISS, upstream_seconds=1.25, complete=False)
        assert " 1834 MISS/ABORTED 1.250 " in access_line(event, NOW)

    def test_the_journal_needs_no_time(self) -> None:
        first, _, rest = LINE.partition(" ")
        assert access_line(SERVED, NOW, dated=False) == f"{first} {rest.partition('] ')[2]}"

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
        log, _ = self.start(path)
        moved = path.rename(path.with_suffix(".1"))
        path.mkdir()
        log.reopen()
        log.observe(SERVED)
        log.stop()
        assert moved.read_text() == LINE

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
            if kind in (events.Served, events.BytesFetched):
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
        metrics = Metrics()
        for event in (
            SERVED,
            SERVED,
            evolve(SERVED, state=None, kind="error", status=404, size=0, complete=False),
            events.FetchDone(URL, 200, 0.3, True),
            events.FetchFailed(URL, "refused", False),
            events.BytesFetched(1000),
            events.PageRejected(URL, "x"),
            events.IntegrityFailed(URL, "sha256", "a", "b"),
            events.TransferStarted(URL),
            events.TransferStarted(URL),
            events.TransferBroke(URL, 1, "reset"),
            events.TransferEnded(URL, 1, True),
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
        lines = metrics.render().decode().splitlines()
        for line in (
            "pypicache_connections 12.0",
            'pypicache_connections_turned_away_total{reason="idle"} 1.0',
            'pypicache_connections_turned_away_total{reason="total"} 2.0',
            'pypicache_requests_total{kind="page",state="HIT",status="200"} 2.0',
            'pypicache_requests_total{kind="error",state="NONE",status="404"} 1.0',
            "pypicache_sent_bytes_total 3668.0",
            'pypicache_aborted_total{kind="error"} 1.0',
            'pypicache_upstream_seconds_bucket{kind="file",le="0.5"} 1.0',
            'pypicache_upstream_seconds_bucket{kind="file",le="0.25"} 0.0',
            'pypicache_upstream_failures_total{kind="page"} 1.0',
            "pypicache_upstream_bytes_total 1000.0",
            "pypicache_pages_rejected_total 1.0",
            "pypicache_integrity_failures_total 1.0",
            "pypicache_transfers_running 1.0",
            "pypicache_transfer_breaks_total 1.0",
            "pypicache_evicted_entries_total 3.0",
            "pypicache_evicted_bytes_total 4096.0",
            'pypicache_breaker_open{origin="https://files.example"} 1.0',
            "pypicache_store_trouble_total 1.0",
            'pypicache_requests_refused_total{status="400"} 1.0',
        ):
            assert line in lines
        assert metrics.requests_by_state() == {"HIT": 2, "NONE": 1}

    def test_a_breaker_closes_again(self) -> None:
        metrics = Metrics()
        metrics.observe(events.BreakerChanged("https://h", True))
        metrics.observe(events.BreakerChanged("https://h", False))
        assert b'pypicache_breaker_open{origin="https://h"} 0.0' in metrics.render()

    def test_origins_are_bounded(self) -> None:
        metrics = Metrics()
        for number in range(1000):
            metrics.observe(events.BreakerChanged(f"https://h{number}", True))
        assert metrics.render().count(b"pypicache_breaker_open{") == 200

    def test_two_do_not_share_their_counters(self) -> None:
        one, other = Metrics(), Metrics()
        one.observe(SERVED)
        assert other.requests_by_state() == {}
