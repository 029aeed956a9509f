"""Who is told of events: log, access log, metrics, statistics and the health of upstreams."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, frozen

from twisted_pypi.clocks import WallClock
from twisted_pypi.events import Event, StoreTrouble
from twisted_pypi.interfaces import Observer
from twisted_pypi.journal import is_journal
from twisted_pypi.portions import log_level, origins
from twisted_pypi.settings import Settings
from twisted_pypi.status.health import Health
from twisted_pypi.status.naming import Naming
from twisted_pypi.status.statistics import Statistics
from twisted_pypi.storage.kept import KeptFile
from twisted_pypi.storage.layout import STATISTICS
from twisted_pypi.web.access_lines import LINE_FORMS, UNDATED
from twisted_pypi.web.access_log import AccessLog
from twisted_pypi.web.event_log import EventLog
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.workers import ThreadWorkers


@define
class Observers:
    """Tells each event to all who want to know."""

    _all: tuple[Observer, ...]

    def __call__(self, event: Event) -> None:
        """Tell them."""
        for observer in self._all:
            observer(event)


@frozen
class Observing:
    """Each of them, and `observer`, which tells all."""

    metrics: Metrics
    log: EventLog
    access_log: AccessLog | None
    statistics: Statistics
    health: Health
    observer: Observer


def observing(
    settings: Settings, wall: WallClock, steady: Callable[[], float], disk: ThreadWorkers, naming: Naming
) -> Observing:
    """All who are told of events under these settings. `steady()` is seconds that only grow."""

    def trouble(what: str, reason: str) -> None:
        observer(StoreTrouble(what, reason))

    metrics, access_log = Metrics(origins(settings)), _access_log(wall, settings)
    log, health = EventLog(log_level(settings), seconds=steady), Health(steady)
    kept = KeptFile(settings.cache_dir, STATISTICS)
    statistics = Statistics(kept, disk, wall, steady, trouble, naming)
    heard = [metrics.observe, log.observe, *([access_log.observe] if access_log else [])]
    observer = Observers((*heard, statistics.observe, health.observe))
    return Observing(metrics, log, access_log, statistics, health, observer)


def _access_log(clock: WallClock, settings: Settings) -> AccessLog | None:
    path = settings.access_log
    if path is None:
        return None
    undated = settings.access_log_format == "text" and path == "-" and is_journal()
    return AccessLog(path, clock, form=UNDATED if undated else LINE_FORMS[settings.access_log_format])
