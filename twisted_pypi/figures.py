"""The figures of the daemon as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from twisted_pypi import __version__
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.web.metrics import Metrics


@define
class Figures:
    """What `/+status` and the status page show."""

    store: DiskStore
    metrics: Metrics
    started: float
    clock: Any

    def now(self) -> Mapping[str, object]:
        """The figures of this moment."""
        entries, size = self.store.usage()
        return {
            "version": __version__,
            "uptime_seconds": round(self.clock.seconds() - self.started),
            "entries": entries,
            "bytes": size,
            "requests": self.metrics.requests_by_state(),
        }
