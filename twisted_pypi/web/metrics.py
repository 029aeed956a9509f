"""Prometheus metrics, counted from events. Labels are bounded: states, kinds, statuses, mounts, configured origins.

No metric names a project, a file or a client. `docs/monitoring.md` explains each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from twisted_pypi import events
from twisted_pypi.answers import CacheState
from twisted_pypi.http.negotiation import choose_form
from twisted_pypi.model import Form
from twisted_pypi.urls import origin_of
from twisted_pypi.web.lag import BOUNDS

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MAX_ORIGINS = 200  # pages can name any number of hosts that are down
_OTHER = "other"

_OPENMETRICS = Form(
    "openmetrics", "application/openmetrics-text; version=1.0.0; charset=utf-8", ("application/openmetrics-text",)
)
_TEXT = Form("text", "text/plain; version=0.0.4; charset=utf-8", ("text/plain",))


class Metrics:
    """An observer of events that renders them for Prometheus. Has a registry of its own.

    `origins` are those that are named in labels, as in "https://index.example"; the latency of others is "other".
    """

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pypicache_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pypicache_{name}", text, labels, registry=registry)

        self._requests = counter("requests", "Requests answered", "state", "kind", "mount", "status")
        self._sent = counter("sent_bytes", "Body bytes sent to clients", "state", "kind", "mount")
        self._aborted = counter("aborted", "Answers that did not reach their client whole", "kind")
        self._collapsed = counter("requests_collapsed", "Requests that shared a fetch begun for another", "kind")
        self._refused = counter("requests_refused", "What clients sent that was no request, or too much", "status")
        self._fetched = counter("upstream_bytes", "Body bytes that came from upstream")
        self._failed = counter("upstream_failures", "Fetches without a usable answer", "kind")
        self._rejected = counter("pages_rejected", "Upstream pages that could not be used")
        self._integrity = counter("integrity_failures", "Files that were not what was announced")
        self._broken = counter("transfer_breaks", "Times that a transfer broke and tried to go on")
        self._resumed = counter("transfer_resumes", "Times that upstream went on with a file that had broken off")
        self._ended = counter("transfers_ended", "Transfers that are over", "outcome")
        self._evicted = counter("evicted_entries", "Entries dropped as least recently used")
        self._evicted_bytes = counter("evicted_bytes", "Bytes dropped as least recently used")
        self._trouble = counter("store_trouble", "What the store could not do")
        self._turned_away = counter(
            "connections_turned_away", "Connections refused or closed for want of room", "reason"
        )
        self._worker_cpu = counter("worker_cpu_seconds", "CPU time of the worker processes")
        self._workers = gauge("workers", "Worker processes at work (--workers), beside the one that owns the cache")
        self._worker_memory = gauge("worker_resident_memory_bytes", "Resident memory of the workers together")
        self._connections = gauge("connections", "Connections of clients")
        self._running = gauge("transfers_running", "Files being fetched")
        self._breaker = gauge("breaker_open", "Whether the origin is taken for down", "origin")
        self._latency = Histogram(
            "pypicache_upstream_seconds", "From request to upstream's headers", ["kind", "origin"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._lag = Histogram(
            "pypicache_reactor_lag_seconds", "How late calls came that were due, sampled", ["process"],
            buckets=BOUNDS, registry=registry,
        )  # fmt: skip
        self._served: dict[tuple[CacheState | None, str, int, str], list[int]] = {}
        self._configured, self._down = frozenset[str](), set[str]()
        self.use(origins)
        self._begin_at_zero()
        self._handlers = self._handling()

    def _begin_at_zero(self) -> None:
        # A rate needs a zero before the first one.
        for outcome in ("stored", "failed", "stopped"):
            self._ended.labels(outcome)
        for kind in ("page", "file"):
            for counted in (self._failed, self._aborted, self._collapsed):
                counted.labels(kind)

    def _handling(self) -> dict[type[events.Event], Callable[[Any], None]]:
        return {
            events.Served: self._on_served,
            events.RequestRefused: lambda event: self._refused.labels(event.status).inc(),
            events.FetchDone: self._on_fetch_done,
            events.FetchFailed: lambda event: self._failed.labels(_kind(event.file)).inc(),
            events.BytesFetched: lambda event: self._fetched.inc(event.count),
            events.PageRejected: lambda event: self._rejected.inc(),
            events.IntegrityFailed: lambda event: self._integrity.inc(),
            events.TransferStarted: lambda event: self._running.inc(),
            events.TransferBroke: lambda event: self._broken.inc(),
            events.TransferResumed: lambda event: self._resumed.inc(),
            events.TransferEnded: self._on_transfer_ended,
            events.StoreTrouble: lambda event: self._trouble.inc(),
            events.TurnedAway: lambda event: self._turned_away.labels(event.reason).inc(),
            events.Evicted: self._on_evicted,
            events.BreakerChanged: self._on_breaker,
            events.ReactorLagged: self._on_lag,
            events.WorkersUsed: self._on_workers,
        }

    def observe(self, event: events.Event) -> None:
        """Count one event; kinds without a metric are ignored."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def use(self, origins: frozenset[str]) -> None:
        """Name these origins from now on."""
        for origin in self._configured - origins - self._down:
            self._breaker.remove(origin)
        for origin in origins - self._down:
            self._breaker.labels(origin)  # 0 is told, too
        self._configured = origins

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Show what `count` tells as the number of open connections."""
        self._connections.set_function(count)

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """The content type and the text: OpenMetrics 1.0.0 for who asks for it, else exposition format 0.0.4."""
        self._settle()
        form = choose_form((_OPENMETRICS, _TEXT), accept)
        if form is _OPENMETRICS:
            text: bytes = generate_openmetrics(self.registry)  # type: ignore[no-untyped-call]
            return form.content_type, text
        return form.content_type, generate_latest(self.registry)

    def requests_by_state(self) -> dict[str, int]:
        """How many requests were answered, by cache state ("NONE" for those of our own), for the status page."""
        self._settle()
        totals: dict[str, int] = {}
        for family in self._requests.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    state = sample.labels["state"]
                    totals[state] = totals.get(state, 0) + int(sample.value)
        return totals

    def _on_served(self, event: events.Served) -> None:
        # Put into the library's counters when somebody looks: with its locks, each costs as much as all of this.
        key = (event.state, event.kind, event.status, event.mount)
        tally = self._served.get(key)
        if tally is None:
            tally = self._served[key] = [0, 0]
        tally[0] += 1
        tally[1] += event.size
        if not event.complete:
            self._aborted.labels(event.kind).inc()
        if event.collapsed:
            self._collapsed.labels(event.kind).inc()

    def _settle(self) -> None:
        for (state, kind, status, mount), (count, size) in self._served.items():
            name = state.value if state else "NONE"
            self._requests.labels(name, kind, mount, status).inc(count)
            self._sent.labels(name, kind, mount).inc(size)
        self._served.clear()

    def _on_fetch_done(self, event: events.FetchDone) -> None:
        origin = str(origin_of(event.url))
        shown = origin if origin in self._configured else _OTHER
        self._latency.labels(_kind(event.file), shown).observe(event.seconds)

    def _on_transfer_ended(self, event: events.TransferEnded) -> None:
        self._running.dec()
        self._ended.labels("stored" if event.stored else "stopped" if event.stopped else "failed").inc()

    def _on_evicted(self, event: events.Evicted) -> None:
        self._evicted.inc(event.entries)
        self._evicted_bytes.inc(event.size)

    def _on_breaker(self, event: events.BreakerChanged) -> None:
        if event.open and len(self._down) < _MAX_ORIGINS:
            self._down.add(event.origin)
            self._breaker.labels(event.origin).set(1)
        elif not event.open and event.origin in self._down:
            self._down.remove(event.origin)
            if event.origin in self._configured:
                self._breaker.labels(event.origin).set(0)
            else:
                self._breaker.remove(event.origin)

    def _on_lag(self, event: events.ReactorLagged) -> None:
        self._lag.labels("worker" if event.worker else "owner").observe(event.seconds)

    def _on_workers(self, event: events.WorkersUsed) -> None:
        self._workers.set(event.processes)
        self._worker_memory.set(event.memory)
        self._worker_cpu.inc(event.cpu_seconds)


def _kind(file: bool) -> str:
    return "file" if file else "page"
