"""Prometheus metrics, counted from events. Labels are bounded: states, kinds, statuses and configured origins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from twisted_pypi import events

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_MAX_ORIGINS = 200  # pages can name any number of hosts


class Metrics:
    """An observer of events that renders them for Prometheus. Has a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pypicache_{name}", text, labels, registry=registry)

        self._requests = counter("requests", "Requests answered", "state", "kind", "status")
        self._sent = counter("sent_bytes", "Body bytes sent to clients")
        self._aborted = counter("aborted", "Answers that did not reach their client whole", "kind")
        self._refused = counter("requests_refused", "What clients sent that was no request, or too much", "status")
        self._fetched = counter("upstream_bytes", "Body bytes that came from upstream")
        self._failed = counter("upstream_failures", "Fetches without a usable answer", "kind")
        self._rejected = counter("pages_rejected", "Upstream pages that could not be used")
        self._integrity = counter("integrity_failures", "Files that were not what was announced")
        self._broken = counter("transfer_breaks", "Times that a transfer broke and tried to go on")
        self._evicted = counter("evicted_entries", "Entries dropped as least recently used")
        self._evicted_bytes = counter("evicted_bytes", "Bytes dropped as least recently used")
        self._trouble = counter("store_trouble", "What the store could not do")
        self._running = Gauge("pypicache_transfers_running", "Files being fetched", registry=registry)
        self._breaker = Gauge("pypicache_breaker_open", "Origins taken for down", ["origin"], registry=registry)
        self._latency = Histogram(
            "pypicache_upstream_seconds", "From request to upstream's headers", ["kind"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._served: dict[tuple[str, str, int], Counter] = {}
        self._origins: set[str] = set()
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.Served: self._on_served,
            events.RequestRefused: lambda event: self._refused.labels(event.status).inc(),
            events.FetchDone: self._on_fetch_done,
            events.FetchFailed: lambda event: self._failed.labels(_kind(event.file)).inc(),
            events.BytesFetched: lambda event: self._fetched.inc(event.count),
            events.PageRejected: lambda event: self._rejected.inc(),
            events.IntegrityFailed: lambda event: self._integrity.inc(),
            events.TransferStarted: lambda event: self._running.inc(),
            events.TransferBroke: lambda event: self._broken.inc(),
            events.TransferEnded: lambda event: self._running.dec(),
            events.StoreTrouble: lambda event: self._trouble.inc(),
            events.Evicted: self._on_evicted,
            events.BreakerChanged: self._on_breaker,
        }

    def observe(self, event: events.Event) -> None:
        """Count one event; kinds without a metric are ignored."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return generate_latest(self.registry)

    def requests_by_state(self) -> dict[str, int]:
        """How many requests were answered, by cache state ("NONE" for those of our own), for the status page."""
        totals: dict[str, int] = {}
        for family in self._requests.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    state = sample.labels["state"]
                    totals[state] = totals.get(state, 0) + int(sample.value)
        return totals

    def _on_served(self, event: events.Served) -> None:
        key = (event.state.value if event.state else "NONE", event.kind, event.status)
        child = self._served.get(key)
        if child is None:  # the library's own look-up costs more than the counting
            child = self._served[key] = self._requests.labels(*key)
        child.inc()
        if event.size:
            self._sent.inc(event.size)
        if not event.complete:
            self._aborted.labels(event.kind).inc()

    def _on_fetch_done(self, event: events.FetchDone) -> None:
        self._latency.labels(_kind(event.file)).observe(event.seconds)

    def _on_evicted(self, event: events.Evicted) -> None:
        self._evicted.inc(event.entries)
        self._evicted_bytes.inc(event.size)

    def _on_breaker(self, event: events.BreakerChanged) -> None:
        if event.origin in self._origins or len(self._origins) < _MAX_ORIGINS:
            self._origins.add(event.origin)
            self._breaker.labels(event.origin).set(event.open)


def _kind(file: bool) -> str:
    return "file" if file else "page"
