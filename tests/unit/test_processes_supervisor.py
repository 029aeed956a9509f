"""The supervisor's processes: started, started again, ended in order; the sockets that it has for them."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Iterator

import orjson
import pytest
from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_pypi.descriptors import connection_limit
from twisted_pypi.errors import ConfigError
from twisted_pypi.preflight import check_shareable
from twisted_pypi.processes.child_log import LogLines, pass_on
from twisted_pypi.processes.jobs import END, RELOAD, Job, packed, receive
from twisted_pypi.processes.sockets import Sockets
from twisted_pypi.processes.supervisor import AHEAD, LATE, OVERTIME, SETTLED, SOON, Running, Supervisor
from twisted_pypi.settings import Loaded
from unit.test_config import settings

JOB = Job(True, 1, "/run/owner", ("http://127.0.0.1:1/",), Loaded(settings()))


@define(eq=False)
class Child:
    """A process that does nothing, and remembers what it was told."""

    protocol: Running
    descriptors: dict[int, object]
    told: bytes = b""
    signals: list[str] = field(factory=list)
    gone: bool = False
    pipes: dict[int, object] = field(factory=lambda: {0: None})

    def writeToChild(self, descriptor: int, data: bytes) -> None:  # noqa: N802
        assert self.pipes[descriptor] is None  # as Twisted's, which forgets a pipe that has ended
        self.told += data

    def signalProcess(self, name: str) -> None:  # noqa: N802
        if self.gone:
            raise ProcessExitedAlready
        self.signals.append(name)

    def end(self, status: int | None = 0, number: int | None = None) -> None:
        self.gone = True
        error = ProcessDone(0) if status == 0 else ProcessTerminated(status, number)
        self.protocol.processEnded(Failure(error))

    @property
    def orders(self) -> bytes:
        return self.told.removeprefix(packed(JOB))


@define(eq=False)
class Reactor(Clock):
    """Time, and processes."""

    children: list[Child] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def spawnProcess(self, protocol: Running, *_: object, **options: object) -> None:  # noqa: N802
        child = Child(protocol, options["childFDs"])
        self.children.append(child)
        protocol.makeConnection(child)


class Watched:
    """One process under watch."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.problems: list[str] = []
        self.running = Running("owner", self.reactor, JOB, (7, 8), self.problems.append)
        self.running.start()

    @property
    def child(self) -> Child:
        return self.reactor.children[-1]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_gets_its_job_over_a_pipe_and_its_sockets(watched: Watched) -> None:
    assert watched.child.descriptors == {0: "w", 1: 1, 2: "r", 3: 7, 4: 8}
    assert watched.child.told == packed(JOB)


def test_it_is_started_again_at_once_then_ever_later(watched: Watched) -> None:
    delays = []
    for _ in range(12):
        count = len(watched.reactor.children)
        watched.child.end(None, signal.SIGKILL)
        begun = watched.reactor.seconds()
        while len(watched.reactor.children) == count:
            watched.reactor.advance(SOON)
        delays.append(round(watched.reactor.seconds() - begun, 3))
    assert delays[0] < 4 * SOON
    assert delays == sorted(delays)
    assert LATE <= delays[-1] < LATE + 2 * SOON
    watched.reactor.advance(SETTLED)
    watched.child.end(None, signal.SIGKILL)
    watched.reactor.advance(SOON)
    assert len(watched.reactor.children) == 14


def test_one_that_can_not_start_at_all_is_not_started_again(watched: Watched) -> None:
    line = orjson.dumps(["critical", "pypicache", "pypicache: --cache-dir: it is in use"]) + b"\n"
    watched.child.protocol.childDataReceived(2, line[:9])
    watched.child.protocol.childDataReceived(2, line[9:])
    watched.child.end(1)
    watched.reactor.advance(LATE)
    assert watched.problems == ["pypicache: --cache-dir: it is in use"]
    assert len(watched.reactor.children) == 1


def test_later_it_may_fail_to(watched: Watched) -> None:
    watched.child.end(None, signal.SIGKILL)
    watched.reactor.advance(1)
    watched.child.end(1)
    watched.reactor.advance(1)
    assert not watched.problems
    assert len(watched.reactor.children) == 3


def test_it_ends_as_told_and_stays_so(watched: Watched) -> None:
    watched.running.order(RELOAD)
    done = watched.running.end()
    assert watched.child.orders == RELOAD + END
    assert not done.called
    watched.child.end()
    assert done.called
    watched.reactor.advance(LATE)
    assert len(watched.reactor.children) == 1


def test_one_that_waits_to_be_started_again_is_ended_at_once(watched: Watched) -> None:
    watched.child.end(None, signal.SIGKILL)
    assert watched.running.end().called
    watched.reactor.advance(LATE)
    assert len(watched.reactor.children) == 1
    watched.running.order(RELOAD)  # nobody hears it
    watched.running.kill()


def test_one_that_takes_its_place_has_the_settings_in_force_by_then(watched: Watched) -> None:
    watched.running.order(RELOAD)
    for _ in range(2):
        watched.child.end(None, signal.SIGKILL)
        watched.reactor.advance(1)
        assert watched.child.orders == RELOAD


def test_settings_that_change_while_there_is_none(watched: Watched) -> None:
    watched.child.end(None, signal.SIGKILL)
    watched.running.order(RELOAD)
    watched.reactor.advance(1)
    assert watched.child.orders == RELOAD


def test_one_whose_pipe_has_ended_already(watched: Watched) -> None:
    watched.child.pipes.clear()
    done = watched.running.end()
    watched.child.end(None, signal.SIGKILL)
    assert done.called


def test_all_is_tidied_up_after_processes_that_had_to_be_killed(tmp_path) -> None:
    clock = Reactor()
    supervisor = Supervisor(clock, Loaded(settings()), lambda: Loaded(settings()))
    supervisor._owner = Running("owner", clock, JOB, ())
    supervisor._directory = str(tmp_path / "inner")
    os.mkdir(supervisor._directory)
    supervisor._owner.start()
    stopping = supervisor.stopService()
    clock.advance(AHEAD)
    assert clock.children[0].orders == END
    clock.advance(settings().grace + OVERTIME)
    assert clock.children[0].signals == ["KILL"]
    clock.children[0].end(None, signal.SIGKILL)
    assert stopping.called
    assert not isinstance(stopping.result, Failure)
    assert not os.path.exists(supervisor._directory)


def test_a_job_there_and_back(tmp_path) -> None:
    path = tmp_path / "pipe"
    path.write_bytes(packed(JOB) + END)
    with path.open("rb", buffering=0) as pipe:
        assert receive(pipe.fileno()) == JOB
        assert pipe.read() == END


def test_a_supervisor_that_has_gone_gives_no_job(tmp_path) -> None:
    path = tmp_path / "pipe"
    path.write_bytes(packed(JOB)[:-1])
    with path.open("rb", buffering=0) as pipe, pytest.raises(EOFError):
        receive(pipe.fileno())


def test_a_job_shows_no_secret() -> None:
    job = evolve(JOB, loaded=Loaded(evolve(settings(), admin_token="secret")))
    assert "secret" not in repr(job)
    assert pickle.loads(pickle.dumps(job)) == job


def test_what_is_for_the_service_manager_is_passed_and_not_logged() -> None:
    passed: list[str] = []
    told: list[object] = []
    reading, writing = os.pipe()
    pass_on("READY=1\nSTATUS=ä", writing)
    LogLines(lambda *line: told.append(line), passed.append).take(os.read(reading, 1000))
    os.close(writing)
    os.close(reading)
    assert (passed, told) == (["READY=1\nSTATUS=ä"], [])


def test_what_is_no_log_line_is_told_as_it_is() -> None:
    told: list[tuple[str, str]] = []
    LogLines(lambda level, text: told.append((level, text))).take(
        b'Fatal Python error\n["no level", "x", "y"]\n["info"'
    )
    assert told == [("error", "Fatal Python error"), ("error", '["no level", "x", "y"]')]


# The sockets


@pytest.fixture
def bound() -> Iterator[Sockets]:
    sockets = Sockets(reactor, evolve(settings(), port=0, workers=3))
    sockets.bind()
    yield sockets
    sockets._close_own()


def port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return int(found.getsockname()[1])


def test_each_worker_has_a_socket_on_the_same_port(bound: Sockets) -> None:
    descriptors = [bound.of_worker(number)[0] for number in range(3)]
    assert len(set(descriptors)) == 3
    (port,) = set(map(port_of, descriptors))
    assert f"http://127.0.0.1:{port}/simple/" in bound.addresses()[0]


def test_a_port_that_others_have_is_refused_though_they_would_share(bound: Sockets) -> None:
    port = port_of(bound.of_worker(0)[0])
    with pytest.raises(ConfigError, match=r"--port: .* is already in use"):
        Sockets(reactor, evolve(settings(), port=port, workers=2)).bind()


@pytest.mark.parametrize("listen", ["unix:/run/socket", "ssl:443", "haproxy:tcp:80"])
def test_endpoints_that_can_not_be_shared(listen: str) -> None:
    check_shareable(listen, 1)
    with pytest.raises(ConfigError, match=r"^--workers: "):
        check_shareable(listen, 2)
    check_shareable("tcp:80", 2)
    check_shareable("systemd:domain=INET:index=0", 2)


@pytest.mark.parametrize(("total", "workers"), [(1000, 2), (7, 3), (64, 1), (4000, 64)])
def test_the_limit_of_connections_is_divided(total: int, workers: int) -> None:
    given = evolve(settings(), max_connections=total, workers=workers)
    owner = connection_limit(given, 100_000)
    each = connection_limit(given, 100_000, worker=True) if workers > 1 else 0
    assert owner + workers * each == total
    assert owner >= total // 2
