"""`pypicache status`, `ls`, `purge`, `gc`: on a running daemon, on a stopped one, as somebody without the token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bcrypt
import pytest

from e2e.clients import ask, links
from e2e.daemon import Daemon, Start, clean_environment
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

NAMES = ("acme-one", "acme-two", "flask")


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    for name in NAMES:
        upstream.project(name, [wheel(name)])


def fill(daemon: Daemon) -> None:
    for name in NAMES:
        for path in links(daemon, name).values():
            assert ask(daemon, path).status == 200
    wait_for("all is stored", lambda: len(ask(daemon, "/cache/?kind=file", **allowed(daemon)).json()["entries"]) == 3)


def allowed(daemon: Daemon) -> dict[str, str]:
    token = daemon.environment.get("PYPICACHE_ADMIN_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def command(daemon: Daemon, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `pypicache` with what the daemon's administrator would have set."""
    where = {"PYPICACHE_PORT": str(daemon.port), "PYPICACHE_CACHE_DIR": str(daemon.cache), "no_proxy": ""}
    where |= dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:1")
    return subprocess.run(
        [sys.executable, "-m", "twisted_pypi", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env=clean_environment(daemon.directory, **where, **environment),
        cwd=daemon.directory,
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done
    return done.stdout


def names(output: str) -> list[str]:
    return [line.split()[-1] for line in output.splitlines()[1:]]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_running_daemon(upstream: Upstream, start: Start, workers: str) -> None:
    daemon = start("--workers", workers)
    fill(daemon)
    assert f"cache at http://127.0.0.1:{daemon.port}" in succeeded(command(daemon, "status"))
    assert "version" in json.loads(succeeded(command(daemon, "status", "--json")))
    assert names(succeeded(command(daemon, "ls"))) == list(NAMES)
    assert len(names(succeeded(command(daemon, "ls", "--long", "acme-*")))) == 4
    assert succeeded(command(daemon, "purge", "acme-*", "--files")).startswith("2 names: 2 pages expired, 2 files del")
    assert daemon.stored("acme_one-1.0-py3-none-any.whl") == []
    assert names(succeeded(command(daemon, "ls", "--kind", "file"))) == ["flask"]
    daemon.wait_for_log(r"127\.0\.0\.1 purged acme-\* with files: 2 pages expired, 2 files of \d+ bytes deleted")
    assert ask(daemon, "/simple/acme-one/").state in ("REVALIDATED", "EXPIRED")
    refused = command(daemon, "gc")
    assert (refused.returncode, "a daemon uses" in refused.stderr) == (2, True)


def test_a_stopped_daemon(upstream: Upstream, start: Start) -> None:
    daemon = start()
    fill(daemon)
    daemon.stop()
    assert "not running" in succeeded(command(daemon, "status"))
    assert names(succeeded(command(daemon, "ls"))) == list(NAMES)
    assert "1 file deleted" in succeeded(command(daemon, "purge", "flask", "--files"))
    succeeded(command(daemon, "gc"))
    succeeded(command(daemon, "verify", "--quiet"))
    daemon.start()
    assert ask(daemon, "/simple/flask/").state in ("REVALIDATED", "EXPIRED")
    assert ask(daemon, "/simple/acme-one/").state == "HIT"
    (path,) = links(daemon, "flask").values()
    assert ask(daemon, path).state == "MISS"


def test_after_a_crash_all_is_listed(upstream: Upstream, start: Start) -> None:
    daemon = start()
    fill(daemon)
    daemon.kill()
    daemon.wait()
    assert names(succeeded(command(daemon, "ls"))) == list(NAMES)


def test_offline_nothing_is_purged(upstream: Upstream, start: Start) -> None:
    daemon = start()
    fill(daemon)
    daemon.stop()
    offline = start("--offline")
    refused = command(offline, "purge", "flask", "--files")
    assert refused.returncode == 2
    assert "refused this (409): Offline nothing can be fetched again" in refused.stderr
    assert ask(offline, "/cache/flask", "DELETE").status == 409
    assert names(succeeded(command(offline, "ls"))) == list(NAMES)


def test_the_admin_token(upstream: Upstream, start: Start) -> None:
    daemon = start(PYPICACHE_ADMIN_TOKEN="open-sesame")
    fill(daemon)
    without = command(daemon, "ls")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "wants its admin token: set PYPICACHE_ADMIN_TOKEN" in without.stderr
    wrong = command(daemon, "purge", "flask", PYPICACHE_ADMIN_TOKEN="open-barley")
    assert (wrong.returncode, "does not take this admin token" in wrong.stderr) == (2, True)
    assert "open-barley" not in wrong.stderr
    assert names(succeeded(command(daemon, "ls", PYPICACHE_ADMIN_TOKEN="open-sesame"))) == list(NAMES)
    (daemon.directory / "its.toml").write_text('admin-token = "open-sesame"\n')
    assert "1 name" in succeeded(command(daemon, "purge", "flask", "--config", "its.toml"))


def test_the_admin_token_in_a_file(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("open-sesame\n")
    daemon = start(PYPICACHE_ADMIN_TOKEN_FILE=str(path))
    assert ask(daemon, "/simple/flask/").status == 200
    assert "1 name" in succeeded(command(daemon, "purge", "flask", PYPICACHE_ADMIN_TOKEN_FILE=str(path)))
    path.unlink()
    assert "not running" not in succeeded(command(daemon, "status", PYPICACHE_ADMIN_TOKEN_FILE=str(path)))
    without = command(daemon, "purge", "flask", PYPICACHE_ADMIN_TOKEN_FILE=str(path))
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert f"wants its admin token, and PYPICACHE_ADMIN_TOKEN_FILE: {path} can't be read" in without.stderr


def test_a_daemon_that_wants_a_login(upstream: Upstream, start: Start, tmp_path: Path) -> None:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"ci:" + bcrypt.hashpw(b"hunter2", bcrypt.gensalt(4)) + b"\n")
    daemon = start(PYPICACHE_HTPASSWD=str(path))
    without = command(daemon, "status")
    assert (without.returncode, without.stderr.count("\n")) == (2, 1)
    assert "wants an admin token, as it has --htpasswd: set PYPICACHE_ADMIN_TOKEN" in without.stderr


def test_what_answers_is_no_daemon(upstream: Upstream, daemon: Daemon) -> None:
    done = command(daemon, "ls", "--url", upstream.index_url)
    assert (done.returncode, "is no pypicache daemon" in done.stderr) == (2, True)


def test_a_daemon_on_a_socket(upstream: Upstream, tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    options = ("--index-url", upstream.index_url, "--listen", f"unix:{socket}", "--prefix", "/pypi")
    daemon = Daemon(tmp_path / "daemon", options, {"PYPICACHE_ADMIN_TOKEN": "open-sesame"})
    daemon.spawn()
    try:
        wait_for("the socket", socket.exists)
        environment = {"PYPICACHE_LISTEN": f"unix:{socket}", "PYPICACHE_PREFIX": "/pypi"}
        wait_for("it is open", lambda: command(daemon, "status", **environment).returncode == 0)
        done = command(daemon, "ls", **environment, PYPICACHE_ADMIN_TOKEN="open-sesame")
        assert (done.returncode, done.stderr) == (1, "pypicache: nothing is stored\n")
    finally:
        daemon.kill()


def test_who_reads_the_output_may_have_enough(upstream: Upstream, start: Start) -> None:
    daemon = start()
    fill(daemon)
    daemon.stop()
    process = subprocess.Popen(
        [sys.executable, "-m", "twisted_pypi", "ls", "--cache-dir", str(daemon.cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(daemon.directory),
    )
    assert process.stdout is not None
    process.stdout.close()  # before anything is written
    assert process.stderr is not None
    problems = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(DEADLINE) == 0
    assert "Traceback" not in problems
    assert "Broken" not in problems
