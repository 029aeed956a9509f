"""Under systemd: what it is told, the sockets that it keeps, its journal, and the units."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from operator import ge
from pathlib import Path

import pytest

from e2e.clients import ask
from e2e.daemon import TWISTD, Daemon, Start, clean_environment
from e2e.load import Load, load
from e2e.manager import LAUNCH, Activated, Manager, listening
from e2e.packages import wheel
from e2e.servers import free_port
from e2e.stalling import HANGING
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

UNITS = Path(__file__).parents[2] / "systemd"


@pytest.fixture(params=["1", "2"], ids=["one process", "workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(f"@{tmp_path}/notify") as running:
        yield running


def systemd(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"there is no {tool} here")
    return found


# -- what the manager is told


def test_it_is_told_of_the_start_a_reload_and_the_end(start: Start, manager: Manager, workers: str) -> None:
    daemon = start(NOTIFY_SOCKET=manager.address)
    assert re.search(r"^STATUS=0 entries, 0 of 50G; \d+ connections", manager.wait_for("READY=1"), re.MULTILINE)
    assert ask(daemon, "/readyz").status == 200
    daemon.signal(signal.SIGHUP)
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
    manager.wait_for("READY=1", 2)
    assert daemon.stop() == 0
    assert "\nEXTEND_TIMEOUT_USEC=" in manager.wait_for("STOPPING=1")
    states = [message.partition("=")[0] for message in manager.messages if not message.startswith("STATUS")]
    assert [state for state, before in zip(states, ["", *states], strict=False) if state != before] == [
        "READY",
        "RELOADING",
        "READY",
        "STOPPING",
    ]
    assert manager.senders == {daemon.pid}  # NotifyAccess=main is enough


def test_its_watchdog_hears_of_it_also_while_the_disk_hangs(
    start: Start, manager: Manager, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "hang").mkdir()
    (tmp_path / "hang" / "sitecustomize.py").write_text(HANGING)
    path = f"{tmp_path / 'hang'}:{clean_environment(tmp_path)['PYTHONPATH']}"
    daemon = start(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000", PYTHONPATH=path)
    manager.wait_for("WATCHDOG=1\nSTATUS=", 2)
    upstream.project("lib", [wheel("lib")])
    stall = tmp_path / "hang" / "stall"
    stall.touch()
    with pytest.raises(TimeoutError):
        ask(daemon, "/simple/lib/", timeout=1)
    before = manager.count("WATCHDOG=1")
    manager.wait_for("WATCHDOG=1", before + 3)
    stall.unlink()
    wait_for("the page", lambda: ask(daemon, "/simple/lib/").status == 200)


def test_its_watchdog_notices_a_reactor_that_hangs(start: Start, manager: Manager, workers: str) -> None:
    """A stopped process stands for it; with workers, that of the owner, which serves them all."""
    daemon = start(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000")
    manager.wait_for("WATCHDOG=1", 2)
    pid = daemon.pid
    if workers != "1":
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])  # the first that was started
    os.kill(pid, signal.SIGSTOP)
    wait_for("silence", lambda: silent(manager))
    last = manager.count("WATCHDOG=1")
    os.kill(pid, signal.SIGCONT)
    manager.wait_for("WATCHDOG=1", last + 3)


def silent(manager: Manager) -> bool:
    """Whether nothing comes for a second, in which ten messages are due."""
    before = len(manager.messages)
    signal.sigtimedwait((), 1.0)
    return len(manager.messages) == before


def test_a_watchdog_of_another_process_is_none_of_ours(start: Start, manager: Manager) -> None:
    daemon = start(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="20000", WATCHDOG_PID="1")
    daemon.signal(signal.SIGHUP)
    manager.wait_for("READY=1", 2)
    daemon.stop()
    assert manager.count("WATCHDOG=1") == 0


def test_a_start_that_fails_is_never_called_ready(start: Start, manager: Manager, tmp_path: Path) -> None:
    taken = start()
    command = [TWISTD, "-n", "--pidfile=", "pypicache", "--port", "0", "--cache-dir", str(taken.cache)]
    environment = clean_environment(tmp_path, NOTIFY_SOCKET=manager.address)
    done = subprocess.run(command, env=environment, capture_output=True, timeout=DEADLINE, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert manager.count("READY=1") == 0


# -- its sockets


@pytest.fixture
def activated(tmp_path: Path, upstream: Upstream, workers: str) -> Iterator[Activated]:
    """A daemon on a socket that stays when it goes."""
    where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url, "--workers", workers)
    with listening() as kept, Activated(tmp_path / "kept", where, descriptors=(kept.fileno(),)) as daemon:
        yield daemon


def test_no_request_is_lost_at_restarts_under_load(activated: Activated, upstream: Upstream) -> None:
    daemon = activated
    upstream.project("lib", [wheel("lib")])
    assert ask(daemon, "/simple/lib/").status == 200
    with load(daemon.port, "/simple/lib/", clients=8) as running:
        for _ in range(3):
            wait_for_answers(running)
            daemon.restart()
        wait_for_answers(running)
    assert running.failures == []


def wait_for_answers(running: Load) -> None:
    """Wait until each client was answered a request that began after this, or one has failed."""
    wanted = [count + 2 for count in running.answered]

    def answered() -> bool:
        return bool(running.failures) or all(map(ge, running.answered, wanted))

    wait_for("all are answered", answered)


@pytest.mark.parametrize(
    ("address", "domain"),
    [("{}", "INET6"), ("127.0.0.1:{}", "INET6"), ("{}", "INET")],
    ids=["all addresses", "IPv4 alone", "said otherwise"],
)
def test_the_daemon_starts_with_the_first_connection(
    tmp_path: Path, upstream: Upstream, workers: str, address: str, domain: str
) -> None:
    tool, port, log = systemd("systemd-socket-activate"), free_port(), tmp_path / "log"
    upstream.project("lib", [wheel("lib")])
    environment = clean_environment(tmp_path, PYPICACHE_LISTEN=f"systemd:domain={domain}:name=http")
    passed = [f"--setenv={name}={value}" for name, value in environment.items()]
    command = [tool, f"--listen={address.format(port)}", "--fdname=http", *passed, TWISTD, "-n", "--pidfile="]
    where = ["--cache-dir", str(tmp_path / "cache"), "--index-url", upstream.index_url, "--workers", workers]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "pypicache", *where, "--allow", "127.0.0.1"], cwd=tmp_path, stdout=output, stderr=output
        )
    try:
        wait_for("it listens", lambda: b"Listening on" in log.read_bytes())
        assert not (tmp_path / "cache").exists()
        daemon = Daemon(tmp_path, (), process=process, port=port)
        assert ask(daemon, "/simple/lib/").status == 200
        assert re.search(rf"listening on http://(127\.0\.0\.1|0\.0\.0\.0|\[::\]):{port}/simple/", log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait(DEADLINE)


@pytest.mark.parametrize("endpoint", ["systemd:domain=INET:name=https", "systemd:domain=INET:index=1"])
def test_a_socket_that_was_not_handed_over_is_told_in_one_line(tmp_path: Path, endpoint: str) -> None:
    command = [TWISTD, "-n", "--pidfile=", "pypicache", "--cache-dir", str(tmp_path / "cache"), "--listen", endpoint]
    with listening() as given:
        done = subprocess.run(
            [sys.executable, "-c", LAUNCH, str(given.fileno()), *command],
            env=clean_environment(tmp_path),
            cwd=tmp_path,
            pass_fds=(given.fileno(),),
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"pypicache: --listen: {endpoint}: the service manager handed over no such socket\n"


# -- its journal


def test_the_journal_gets_each_line_with_its_priority_and_without_a_time(
    start: Start, upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    directory = tmp_path / "daemon"
    directory.mkdir()
    log = directory / "log"
    log.touch()
    stream = log.stat()
    daemon = start(JOURNAL_STREAM=f"{stream.st_dev}:{stream.st_ino}")
    assert ask(daemon, "/healthz").status == 200
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the configuration was read anew")
    assert daemon.stop() == 0
    *lines, rest = daemon.log.split("\n")
    assert rest == ""
    assert re.search(r"^<6>pypicache \S+ listening on ", daemon.log, re.MULTILINE)
    assert '127.0.0.1 "GET /healthz HTTP/1.1" ' in daemon.log
    assert [line for line in lines if not re.match(r'<[2-7]>\S|127\.0\.0\.1 "', line)] == []
    assert not re.search(r"\d\d:\d\d:\d\d", daemon.log)


# -- the units


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, as they are, but for the place of twistd, which must exist."""
    copies = []
    for path in sorted(UNITS.iterdir()):
        copy = tmp_path / path.name
        copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={TWISTD}", path.read_text(), flags=re.MULTILINE))
        copies.append(str(copy))
    assert [Path(copy).suffix for copy in copies] == [".service", ".socket"]
    return copies


def test_systemd_understands_the_units(units: list[str]) -> None:
    command = [systemd("systemd-analyze"), "verify", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_service_is_in_a_sandbox(units: list[str]) -> None:
    """`--threshold=N` is in tenths: 2.0 at most."""
    command = [systemd("systemd-analyze"), "security", "--offline=true", "--threshold=20", units[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_service_listens_where_the_socket_is() -> None:
    service, socket = ((UNITS / f"pypicache.{kind}").read_text() for kind in ("service", "socket"))
    (name,) = re.findall(r"^FileDescriptorName=(\w+)$", socket, re.MULTILINE)
    assert f"Environment=PYPICACHE_LISTEN=systemd:domain=INET6:name={name}\n" in service
