"""One process of a daemon with `--workers`: `python -m twisted_pypi.processes`, started by the supervisor alone."""

from __future__ import annotations

import os
import shutil
import socket
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.logger import globalLogBeginner

from twisted_pypi.processes.child_log import LineObserver, pass_on
from twisted_pypi.processes.jobs import END, HURRY, RELOAD, REOPEN, SOCKETS, Job, Orders, receive


def main() -> None:
    """Do the job that comes over stdin."""
    globalLogBeginner.beginLoggingTo([LineObserver(2)], redirectStandardIO=False)
    job = receive(0)
    from twisted.internet import reactor

    Factory.noisy = False
    be_owner(job, reactor) if job.owner else be_worker(job, reactor)


def be_owner(job: Job, reactor: Any) -> None:
    """Own the cache, until told to end."""
    from twisted_pypi.notify import Notifier, watchdog_seconds
    from twisted_pypi.processes.owner import House
    from twisted_pypi.service import Action, PypiCache

    settings = job.loaded.settings
    house = House(reactor, settings, SOCKETS, list(job.addresses))

    def gone() -> None:
        shutil.rmtree(os.path.dirname(job.path), ignore_errors=True)
        os._exit(1)  # as the supervisor did: nothing is lost by that

    orders = Orders(reactor, {}, gone)

    def signals(reactor: Any, end: Action, reload: Action, reopen: Action) -> Orders:
        orders.actions = {END: end, HURRY: end, RELOAD: reload, REOPEN: reopen}
        return orders

    def manager(reactor: Any) -> Notifier:
        # The watchdog is about the process that the manager started. It is well as long as both are.
        return Notifier(reactor, pass_on, watchdog_seconds(os.environ, os.getppid()))

    async def stop() -> None:
        await service.stopService()
        orders.close()

    reread = job.reread or (lambda: job.loaded)
    service = PypiCache(reactor, job.loaded, reread, listeners=house, signals=signals, manager=manager)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(stop()))
    reactor.run(installSignalHandlers=False)


def be_worker(job: Job, reactor: Any) -> None:
    """Take connections, until told to end."""
    from twisted_pypi.clocks import WallClock, make_steady
    from twisted_pypi.descriptors import connection_limit, raise_descriptor_limit
    from twisted_pypi.interpreter import never_stall
    from twisted_pypi.listening import Listeners
    from twisted_pypi.processes.worker import Worker

    never_stall()
    make_steady(reactor)
    total = connection_limit(job.loaded.settings, raise_descriptor_limit(), worker=True)
    worker = Worker(reactor, WallClock(reactor), total, job.path)
    listeners = Listeners(reactor, job.loaded.settings)

    async def end() -> None:
        await listeners.close()
        await worker.end()
        orders.close()
        reactor.stop()

    def ordered() -> None:
        if not worker.ending:
            Deferred.fromCoroutine(end())

    orders = Orders(reactor, {END: ordered, HURRY: partial(os._exit, 0)}, partial(os._exit, 1))
    orders.install()
    worker.start()
    for descriptor in range(SOCKETS, SOCKETS + job.sockets):
        with socket.socket(fileno=os.dup(descriptor)) as given:
            listeners.adopt(descriptor, given.family, worker.factory)
        os.close(descriptor)
    listeners.pace(lambda: worker.admission.entered)
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
