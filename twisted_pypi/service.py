"""The one service: it starts the parts in order and stops them in order.

Sockets are bound in `privilegedStartService`; directory, catalogue and threads begin in `startService`, after the
fork. Stopping: listeners; idle connections; running answers (with `Connection: close`, for `--grace`); transfers;
upstream; catalogue. A second signal ends the grace.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twisted_pypi.announcing import holdings, start_block
from twisted_pypi.assembly import assemble
from twisted_pypi.clocks import make_steady
from twisted_pypi.descriptors import connection_limit, kept_connections, raise_descriptor_limit
from twisted_pypi.errors import ConfigError
from twisted_pypi.interpreter import never_stall
from twisted_pypi.listening import Listeners
from twisted_pypi.notify import Notifier, ignored, notifier
from twisted_pypi.output import finish
from twisted_pypi.proxy_check import check_proxies, has_to_ask
from twisted_pypi.reloading import Reloader, Reread
from twisted_pypi.settings import Loaded, Settings
from twisted_pypi.signals import Signals
from twisted_pypi.storage.lock import lock_directory
from twisted_pypi.web.site import CacheSite

log = Logger(namespace="pypicache")

PATIENCE = 1.0
"""Seconds for which another daemon may have the directory: the processes of one that was killed end a moment later."""


def make_service(loaded: Loaded, reread: Reread | None = None) -> Service:
    """The daemon's service; `reread` is for SIGHUP. Raises `ConfigError` for what can be told before it starts."""
    from twisted.internet import reactor

    lock_directory(loaded.settings.cache_dir, PATIENCE).release()
    reread = reread or (lambda: loaded)
    if loaded.settings.workers > 1:
        from twisted_pypi.processes.supervisor import Supervisor

        assemble(reactor, loaded.settings)
        return Supervisor(reactor, loaded, reread)
    return PypiCache(reactor, loaded, reread)


class CannotStart(SystemExit, Exception):
    """Ends twistd with status 1 and one line, which goes to the terminal too where twistd logs elsewhere.

    As an `Exception` it is told to the twistd that waits in the terminal for its daemonised child; a bare `SystemExit`
    would leave that one waiting for ever.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        tell_terminal(problem)


def tell_terminal(problem: str) -> None:
    """Write a line to the stderr that there was before twistd's log took its place."""
    if sys.__stderr__ is not None and sys.stderr is not sys.__stderr__:
        print(problem, file=sys.__stderr__, flush=True)


def exit_failed() -> None:
    """End the process with status 1, its output written."""
    sys.stdout.flush()
    sys.stderr.flush()
    finish()
    os._exit(1)


Action = Callable[[], None]


class Installed(Protocol):
    """What has the daemon told when to end, to read its configuration anew and to open its logs anew."""

    def install(self) -> None:
        """Begin."""


class Entrance(Protocol):
    """Where clients come in: `listening.Listeners`, or the workers."""

    def bind(self, factory: CacheSite) -> None:
        """Let clients come in. Raises `ConfigError` that names the option."""

    def pace(self, accepted: Callable[[], int]) -> None:
        """See `listening.Listeners`."""

    def addresses(self) -> list[str]:
        """What is listened on, for people."""

    def use(self, settings: Settings) -> None:
        """Other settings are in force."""

    async def close(self) -> None:
        """Let nobody come any more."""


class PypiCache(Service):
    """The daemon, or with `--workers` the process that owns its cache.

    `reactor` provides time, TCP, threads and a name resolver.
    """

    def __init__(
        self,
        reactor: Any,
        loaded: Loaded,
        reread: Reread,
        *,
        listeners: Entrance | None = None,
        signals: Callable[[Any, Action, Action, Action], Installed] = Signals,
        manager: Callable[[Any], Notifier] = notifier,
    ) -> None:
        self._reactor = reactor
        self._warnings = loaded.warnings
        self._parts = assemble(reactor, loaded.settings)
        self._listeners = listeners or Listeners(reactor, loaded.settings)
        self._signals, self._manager = signals, manager
        self._notifier = Notifier(reactor, ignored)
        self._reloader = Reloader(loaded.settings, reread, self._parts.use, self._try)
        self._grace: Deferred[None] | None = None
        self._ending = False

    @property
    def _settings(self) -> Settings:
        return self._reloader.settings

    # -- starting ------------------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:  # noqa: N802
        """Bind the sockets. Exits with one line on stderr when that can't be."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        try:
            self._listeners.bind(self._parts.site)
        except ConfigError as error:
            raise CannotStart(f"pypicache: {error}") from None

    def startService(self) -> None:  # noqa: N802
        """Begin threads, store and logs."""
        super().startService()  # type: ignore[no-untyped-call]
        never_stall()
        make_steady(self._reactor)
        Factory.noisy = False  # a line for each connection to an upstream
        self._notifier = self._manager(self._reactor)
        self._notifier.status = self._figures
        descriptors = raise_descriptor_limit()
        admission = self._parts.site.admission
        self._listeners.pace(lambda: admission.entered)
        admission.total = connection_limit(self._settings, descriptors)
        self._parts.upstream.keep(kept_connections(descriptors))
        self._signals(self._reactor, self._end, self._reload, self._reopen_logs).install()
        if self._parts.told.access_log is not None:
            self._parts.told.access_log.start()
        for pool in self._parts.pools:
            pool.start()
        Deferred.fromCoroutine(self._open()).addErrback(self._give_up)

    async def _open(self) -> None:
        for warning in self._warnings:
            log.warn("{warning}", warning=warning)
        await self._parts.store.start()
        await self._parts.told.statistics.start()
        self._parts.directories.start()
        self._parts.instruments.start()
        self._parts.readiness.ready = True
        entries, size = self._parts.store.usage()
        for line in start_block(self._settings, self._listeners.addresses(), entries, size):
            log.info("{line}", line=line)
        if not self._ending:
            self._notifier.ready()

    def _give_up(self, failure: Any) -> None:
        """The store can't be opened: say so, and leave nothing running."""
        if isinstance(failure.value, ConfigError):
            log.critical("pypicache: {problem}", problem=str(failure.value))
            tell_terminal(f"pypicache: {failure.value}")
            self._notifier.failed(str(failure.value))
        else:
            log.failure("pypicache can't start", failure)
        # twistd's own status is 0 however its reactor came to stop.
        atexit.register(exit_failed)
        if not self._ending:
            self._ending = True
            # It may not be running yet.
            self._reactor.callWhenRunning(self._reactor.stop)

    # -- running -------------------------------------------------------------------------------------------------

    def _reload(self) -> None:
        Deferred.fromCoroutine(self._reread())

    async def _reread(self) -> None:
        with self._notifier.reloading():
            self._reopen_logs()
            if self._ending:
                return
            await self._reloader.reload()
            if not self._ending:
                self._listeners.use(self._settings)

    async def _try(self, settings: Settings, before: Settings) -> tuple[str, ...]:
        if not has_to_ask(settings, before):
            return ()
        pool = self._reactor.getThreadPool()  # they are resolved and connected to, which is what that pool is for
        return await deferToThreadPool(self._reactor, pool, check_proxies, settings, before)

    def _reopen_logs(self) -> None:
        if self._parts.told.access_log is not None:
            self._parts.told.access_log.reopen()

    def _figures(self) -> str:
        """How it is, for who looks at the service in passing."""
        held = holdings(self._settings, *self._parts.store.usage())
        admission = self._parts.site.admission
        return f"{held}; {admission.seated + admission.elsewhere} connections, {self._parts.site.busy} being answered"

    def _end(self) -> None:
        """The first signal ends the daemon in order, a second one ends its grace."""
        if not self._ending:
            self._ending = True
            log.info("stopping; running answers have {grace:g} s", grace=self._settings.grace)
            self._reactor.stop()
        elif self._grace is not None:
            self._grace.cancel()

    # -- stopping ------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:  # noqa: N802
        """Stop in order; fires when everything is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        parts = self._parts
        parts.readiness.ready = False
        self._notifier.stopping(self._settings.grace)
        await self._listeners.close()
        await self._drain()
        parts.directories.stop()
        parts.instruments.stop()
        parts.pages.stop()
        await parts.files.stop()
        parts.mirrored.stop()
        await parts.upstream.close()
        await parts.told.statistics.stop()
        await parts.store.stop()
        if parts.told.access_log is not None:
            parts.told.access_log.stop()
        for pool in parts.pools:
            pool.stop()
        log.info("stopped")

    async def _drain(self) -> None:
        """Let running answers end, for `--grace` seconds or until the second signal; then break them off."""
        self._parts.site.drain()
        self._grace = self._parts.site.when_closed()
        self._grace.addTimeout(self._settings.grace, self._reactor)
        try:
            await self._grace
        except (defer.TimeoutError, defer.CancelledError):
            if busy := self._parts.site.busy:
                log.warn("{busy} answers are broken off", busy=busy)
            self._parts.site.abort()
