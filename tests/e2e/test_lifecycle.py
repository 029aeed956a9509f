"""Starting, signals, stopping: the daemon as an init system and an administrator meet it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from e2e.clients import Download, ask, links
from e2e.daemon import LISTENING, TWISTD, Daemon, Start, clean_environment
from e2e.packages import blob, wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

MB = 1 << 20


def run(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A daemon that is expected to end by itself."""
    return subprocess.run(
        [TWISTD, "-n", "--pidfile=", "pypicache", *arguments],
        cwd=directory,
        env=clean_environment(directory, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_start_says_what_is_needed_to_begin(daemon: Daemon) -> None:
    said = daemon.wait_for_log(r".*listening on http://127\.0\.0\.1:\d+/simple/.*")
    assert f":{daemon.port}/" in said
    assert "this machine only" in daemon.log
    assert "--interface" in daemon.log


def test_port_0_picks_one_for_each(start: Start) -> None:
    assert len({start(name="a").port, start(name="b").port}) == 2


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_signals_that_do_not_end_it(number: signal.Signals, daemon: Daemon) -> None:
    daemon.signal(number)
    for _ in range(3):
        assert ask(daemon, "/healthz").status == 200
    assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_when_nobody_is_served(number: signal.Signals, daemon: Daemon) -> None:
    begun = time.monotonic()
    daemon.signal(number)
    assert daemon.wait() in (0, -number)
    assert time.monotonic() - begun < 8, "nobody to wait for"
    assert refused(daemon.port)


def test_a_running_answer_is_finished_within_the_grace(upstream: Upstream, start: Start) -> None:
    daemon = start("--grace", "60")
    file = blob("data", 3 * MB)
    upstream.project("data", [file])
    (path,) = links(daemon, "data").values()
    gate = upstream.gate("/packages/", after=MB)
    with Download(daemon, path) as client:
        begin = client.read(1000)
        daemon.signal(signal.SIGTERM)
        wait_for("no new connections", lambda: refused(daemon.port))
        gate.release()
        assert begin + client.read() == file.data
    assert daemon.wait() == 0


@pytest.mark.parametrize(("grace", "terms"), [("1", 1), ("600", 2)], ids=["grace is over", "second signal"])
def test_the_grace_ends(grace: str, terms: int, upstream: Upstream, start: Start) -> None:
    daemon = start("--grace", grace)
    upstream.project("data", [blob("data", 3 * MB)])
    (path,) = links(daemon, "data").values()
    upstream.gate("/packages/", after=MB)
    with Download(daemon, path) as client:
        client.read(1000)
        begun = time.monotonic()
        for _ in range(terms):
            daemon.signal(signal.SIGTERM)
            wait_for("no new connections", lambda: refused(daemon.port))
        assert daemon.wait() == 0
        assert time.monotonic() - begun < 30


def test_what_was_stored_survives_a_kill(upstream: Upstream, daemon: Daemon) -> None:
    file = wheel("app", size=MB)
    upstream.project("app", [file])
    (path,) = links(daemon, "app").values()
    assert ask(daemon, path).body == file.data
    daemon.wait_for_log(rf"ended, stored: .*{file.name}\n")
    daemon.kill()
    daemon.start()
    with upstream.down():
        assert list(links(daemon, "app")) == [file.name]
        assert ask(daemon, path).body == file.data
    assert upstream.count(file.path, "GET") == 1


def test_daemonised(tmp_path: Path, upstream: Upstream) -> None:
    upstream.project("app", [wheel("app")])
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    own = ["--port", "0", "--cache-dir", str(tmp_path / "cache"), "--index-url", upstream.index_url]
    command = [TWISTD, f"--pidfile={pid_file}", f"--logfile={log}", "pypicache", *own]
    subprocess.run(command, cwd=tmp_path, env=clean_environment(tmp_path), check=True, timeout=DEADLINE)
    pid = int(wait_for("the pid file", lambda: pid_file.exists() and pid_file.read_text()))
    try:
        wait_for("the warning", lambda: log.exists() and "--access-log a path" in log.read_text())
        found = wait_for("the address in the log", lambda: log.exists() and LISTENING.search(log.read_text()))
        daemon = Daemon(tmp_path, (), port=int(found[2]))
        assert list(links(daemon, "app")) == ["app-1.0-py3-none-any.whl"]
        os.kill(pid, signal.SIGTERM)
        wait_for("the pid file is gone", lambda: not pid_file.exists())
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, "--port", str(port), "--cache-dir", str(tmp_path / "cache"))
    assert done.returncode == 1
    assert re.fullmatch(rf"pypicache: .*--port.*{port}.*\n", done.stderr)


def test_a_socket_that_is_lost_after_the_fork_is_told_in_the_terminal(tmp_path: Path) -> None:
    """The same address twice: each is free when it is tried."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    twice = ["--listen", f"tcp:{port}:interface=127.0.0.1"] * 2
    options = ["--cache-dir", str(tmp_path / "cache"), *twice]
    done = run(tmp_path, *options)
    assert done.returncode == 1
    assert re.fullmatch(r"pypicache: --listen: tcp:.*in use.*\n", done.stderr)
    for how in ([], ["--nodaemon"]):
        status = subprocess.run(
            [TWISTD, *how, f"--logfile={tmp_path / 'log'}", f"--pidfile={tmp_path / 'pid'}", "pypicache", *options],
            cwd=tmp_path,
            env=clean_environment(tmp_path),
            timeout=DEADLINE,
            check=False,
        ).returncode
        assert status == 1
        assert "--listen" in (tmp_path / "log").read_text()
    assert refused(port)


def test_the_start_says_what_kind_of_socket_it_listens_on(start: Start, tmp_path: Path) -> None:
    sockets = ("--listen", "tcp:0:interface=127.0.0.1", "--listen", f"unix:{tmp_path}/socket")
    daemon = start(*sockets)
    daemon.wait_for_log(rf"listening on the socket {tmp_path}/socket\n")
    daemon.wait_for_log(r"listening on http://127\.0\.0\.1:\d+/simple/ \(this machine only\)\n")
    assert "Starting factory" not in daemon.log


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        (("--port", "http"), {}, "--port"),
        (("--index-ttl", "soon"), {}, "--index-ttl"),
        (("--cache-dir", "/dev/null/cache"), {}, "--cache-dir"),
        (("--no-such-option",), {}, "no-such-option"),
        (("--listen", "carrier-pigeon:1"), {}, "--listen"),
        (("--config", "/nonexistent.toml"), {}, "--config"),
        ((), {"PYPICACHE_CACHE_SIZE": "big"}, "PYPICACHE_CACHE_SIZE"),
    ],
)
def test_a_bad_option_is_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], names: str, tmp_path: Path
) -> None:
    done = run(tmp_path, *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pypicache: ")
    assert done.stderr.count("\n") == 1
    assert names in done.stderr


def test_a_second_daemon_on_one_directory_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    done = run(tmp_path, "--port", "0", "--cache-dir", str(daemon.cache))
    assert done.returncode == 1
    assert "--cache-dir" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert ask(daemon, "/healthz").status == 200


@pytest.mark.parametrize("name", ["catalogue.sqlite", "tmp"])
def test_a_directory_that_can_not_be_opened_ends_it(name: str, tmp_path: Path) -> None:
    """One fails before the reactor runs, the other after."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / name).mkdir() if name.endswith("sqlite") else (cache / name).touch()
    done = run(tmp_path, "--port", "0", "--cache-dir", str(cache))
    assert done.returncode == 1
    assert re.fullmatch(r"pypicache: --cache-dir: .*\n", done.stderr)
    assert "Server Shut Down" in done.stdout


def test_a_broken_catalogue_does_not_keep_it_from_starting(upstream: Upstream, daemon: Daemon) -> None:
    file = wheel("app")
    upstream.project("app", [file])
    (path,) = links(daemon, "app").values()
    ask(daemon, path)
    wait_for("the file is stored", lambda: daemon.stored(file.name))
    assert daemon.stop() == 0
    databases = [each for each in daemon.cache.rglob("*") if each.is_file() and each.read_bytes()[:6] == b"SQLite"]
    assert databases
    for database in databases:
        database.write_bytes(b"this is no database" * 1000)
    daemon.start()
    assert ask(daemon, path).body == file.data


def test_the_environment_configures_it(upstream: Upstream, start: Start) -> None:
    upstream.project("app", [wheel("app")])
    daemon = start(PYPICACHE_INDEX_TTL="0", PYPICACHE_PORT="tcp://10.0.0.1:8080", PYPICACHE_UNHEARD_OF="1")
    for _ in range(2):
        ask(daemon, "/simple/app/")
    assert upstream.count("/simple/app/") == 2
