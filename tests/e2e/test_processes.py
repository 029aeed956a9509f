"""`--workers 2`: several processes, one daemon."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.clients import Download, ask, links
from e2e.daemon import LISTENING, TWISTD, Daemon, Start, clean_environment
from e2e.packages import wheel
from e2e.single import MB, check_twenty_share_one_transfer, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

HEAD = b"GET /simple/app/ HTTP/1.1\r\nHost: cache\r\nAccept-Encoding: gzip\r\n\r\n"
PER_CONNECTION = 40


@pytest.fixture
def workers() -> str:
    return "2"


def processes(daemon: Daemon) -> dict[int, str]:
    """The daemon's other processes: pid -> what each has open that tells what it is."""
    found = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if process.name.isdigit() and parent == daemon.pid:
                found[int(process.name)] = (process / "cmdline").read_text()
    return found


def owner(daemon: Daemon) -> int:
    """The process that has the cache's lock, which names it."""
    return int(wait_for("the lock names a process", lambda: (daemon.cache / "lock").read_text().strip()))


def workers_of(daemon: Daemon) -> list[int]:
    return sorted(set(processes(daemon)) - {owner(daemon)})


def is_gone(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def one_answer(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    assert len(body) == length
    return head


def repeat(daemon: Daemon, count: int) -> set[bytes]:
    """The same request again and again on one connection; the statuses."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE) as connection:
        statuses = set()
        for _ in range(count):
            connection.sendall(HEAD)
            statuses.add(one_answer(connection).split(b" ")[1])
        return statuses


def metric(daemon: Daemon, name: str) -> float:
    lines = ask(daemon, "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_sums_are_exact_and_the_log_has_a_line_for_each(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    upstream.project("app", [wheel("app")])
    log = tmp_path / "access"
    daemon = start("--access-log", str(log))
    links(daemon, "app")
    with ThreadPoolExecutor(16) as pool:
        assert set().union(*pool.map(lambda _: repeat(daemon, PER_CONNECTION), range(16))) == {b"200"}
    asked = 16 * PER_CONNECTION + 1
    wait_for("all are counted", lambda: metric(daemon, 'pypicache_requests_total{kind="page"') >= asked)
    assert metric(daemon, 'pypicache_requests_total{kind="page"') == asked
    assert daemon.stop() == 0
    assert log.read_text().count('"GET /simple/app/ HTTP/1.1"') == asked
    assert upstream.count("/simple/app/") == 1


def test_workers_do_answer_by_themselves(upstream: Upstream, start: Start) -> None:
    upstream.project("app", [wheel("app")])
    daemon = start()
    links(daemon, "app")
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE) as connection:

        def answered_without_the_owner() -> bool:
            for _ in range(4):  # kept at the second time, lent at the third
                connection.sendall(HEAD)
                one_answer(connection)
            os.kill(pid, signal.SIGSTOP)
            try:
                connection.sendall(HEAD)
                connection.settimeout(0.3)  # what is lent is good for a second
                with suppress(TimeoutError):
                    one_answer(connection)
                    return True
                return False
            finally:
                os.kill(pid, signal.SIGCONT)

        pid = owner(daemon)

        def tried() -> bool:
            if answered_without_the_owner():
                return True
            connection.settimeout(DEADLINE)
            one_answer(connection)
            return False

        wait_for("an answer from a worker", tried)


def test_a_purge_is_seen_at_once(upstream: Upstream, start: Start) -> None:
    upstream.project("app", [wheel("app", "1.0")])
    daemon = start()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE) as connection:
        for version in ("2.0", "3.0", "4.0", "5.0"):
            states = []
            for _ in range(30):
                connection.sendall(HEAD)
                states.append(one_answer(connection))
            assert b"X-Pypi-Cache: HIT" in states[-1]
            before = states[-1].partition(b"ETag: ")[2].split(b"\r\n")[0]
            upstream.release("app", wheel("app", version))
            daemon.expire("app")
            connection.sendall(HEAD)
            after = one_answer(connection)
            assert b"X-Pypi-Cache: HIT" not in after
            assert after.partition(b"ETag: ")[2].split(b"\r\n")[0] != before


def test_clients_of_all_workers_share_one_transfer(upstream: Upstream, start: Start) -> None:
    check_twenty_share_one_transfer(upstream, start())


def test_a_worker_that_dies_is_started_again_and_downloads_go_on(upstream: Upstream, start: Start) -> None:
    file = publish(upstream, 3 * MB)
    daemon = start()
    path, gate = path_at(daemon), upstream.gate("/packages/", after=MB)
    with Download(daemon, path) as client:
        begun = client.read(MB // 2)
        before = workers_of(daemon)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        # Connections wait at the sockets, which outlive the workers.
        assert ask(daemon, "/healthz").status == 200
        wait_for("two new workers", lambda: len(set(workers_of(daemon)) - set(before)) == 2)
        gate.release()
        assert begun + client.read() == file.data
    assert ask(daemon, path).body == file.data
    assert upstream.count(file.path, "GET") == 1


def test_the_owner_dies_in_mid_transfer(upstream: Upstream, start: Start) -> None:
    file = publish(upstream, 3 * MB)
    daemon = start()
    path, gate = path_at(daemon), upstream.gate("/packages/", after=2 * MB)
    first, before = owner(daemon), workers_of(daemon)
    with Download(daemon, path) as client:
        client.read(MB)
        wait_for("a note to resume by", lambda: list((daemon.cache / "tmp").glob("*.json")))
        os.kill(first, signal.SIGKILL)
        # Nobody is refused meanwhile.
        assert ask(daemon, "/healthz").status == 200
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            client.read()
    gate.release()
    assert owner(daemon) != first
    assert workers_of(daemon) == before
    assert ask(daemon, path).body == file.data
    again = [request for request in upstream.seen(file.path, "GET") if "range" in request.headers]
    assert len(again) == 1
    assert upstream.count(file.path, "GET") == 2


def test_reload_is_for_the_owner_and_voids_what_was_lent(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    upstream.project("app", [wheel("app")])
    config = tmp_path / "config.toml"
    config.write_text("")
    daemon = start("--config", str(config))
    links(daemon, "app")
    before = processes(daemon).keys()
    assert repeat(daemon, PER_CONNECTION) == {b"200"}
    config.write_text('allow = ["192.0.2.1"]\n')
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("changed: allow")
    wait_for("the clients are refused", lambda: repeat(daemon, 1) == {b"403"})
    assert repeat(daemon, PER_CONNECTION) == {b"403"}
    assert processes(daemon).keys() == before
    # What is in force then is so for the owner that takes a dead one's place, too.
    first = owner(daemon)
    os.kill(first, signal.SIGKILL)
    wait_for("another owner", lambda: is_gone(first) and repeat(daemon, 1) == {b"403"} and owner(daemon) != first)
    assert repeat(daemon, PER_CONNECTION) == {b"403"}


def test_the_end_waits_for_a_download_and_leaves_nothing(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    file = publish(upstream, 3 * MB)
    daemon = start(TMPDIR=str(tmp_path))
    path, gate = path_at(daemon), upstream.gate("/packages/", after=MB)
    everyone = list(processes(daemon))
    assert len(everyone) == 3
    with Download(daemon, path) as client:
        begun = client.read(MB // 2)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log("running answers have")
        wait_for("nobody listens", lambda: not listens(daemon.port))
        gate.release()
        assert begun + client.read() == file.data
    assert daemon.wait() == 0
    assert all(map(is_gone, everyone))
    assert not list(tmp_path.glob("pypicache-*"))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_second_signal_ends_the_grace(upstream: Upstream, start: Start) -> None:
    publish(upstream, 3 * MB)
    daemon = start("--grace", "1h")
    path = path_at(daemon)
    upstream.gate("/packages/", after=MB)
    everyone = list(processes(daemon))
    with Download(daemon, path) as client:
        client.read(MB // 2)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log("running answers have")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
    assert all(map(is_gone, everyone))


def test_nothing_outlives_a_supervisor_that_is_killed(upstream: Upstream, start: Start) -> None:
    upstream.project("app", [wheel("app")])
    daemon = start()
    links(daemon, "app")
    everyone = list(processes(daemon))
    daemon.kill()
    daemon.start()
    assert all(map(is_gone, everyone))
    with upstream.down():
        assert list(links(daemon, "app"))


def test_a_second_daemon_is_refused_the_port(start: Start) -> None:
    daemon = start()
    second = Daemon(daemon.directory.parent / "second", ("--port", str(daemon.port), "--workers", "2"))
    with pytest.raises(AssertionError, match=f"pypicache: --port: 127.0.0.1:{daemon.port} is already in use"):
        second.start()
    assert ask(daemon, "/healthz").status == 200


def test_what_can_not_be_shared_is_refused(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, ("--listen", f"unix:{tmp_path}/socket", "--workers", "2"))
    done = subprocess.run(
        daemon.command(),
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("pypicache: --workers: ")
    assert done.stderr.count("\n") == 1


def test_daemonised(upstream: Upstream, tmp_path: Path) -> None:
    upstream.project("app", [wheel("app")])
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    own = ["--port", "0", "--cache-dir", str(tmp_path / "cache"), "--index-url", upstream.index_url, "--workers", "2"]
    command = [TWISTD, f"--pidfile={pid_file}", f"--logfile={log}", "pypicache", "--access-log", "none", *own]
    environment = clean_environment(tmp_path, TMPDIR=str(tmp_path))
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=DEADLINE)
    pid = int(wait_for("the pid file", lambda: pid_file.exists() and pid_file.read_text()))
    try:
        found = wait_for("the address in the log", lambda: log.exists() and LISTENING.search(log.read_text()))
        assert list(links(Daemon(tmp_path, (), port=int(found[2])), "app"))
        os.kill(pid, signal.SIGTERM)
        wait_for("the pid file is gone", lambda: not pid_file.exists())
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    assert not list(tmp_path.glob("pypicache-*"))
