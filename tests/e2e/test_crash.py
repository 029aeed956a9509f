"""Power cuts: `kill -9` at random moments of a mixed load. `PYPICACHE_CRASH_ROUNDS` says how many (3).

After each: what is served is right, and, at the end, `pypicache verify` finds nothing wrong.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

from e2e.clients import ask, links
from e2e.daemon import Daemon, Start, clean_environment
from e2e.packages import File, blob
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE

ROUNDS = int(os.environ.get("PYPICACHE_CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("PYPICACHE_CRASH_SEED", "1"))
CLIENTS = 6
SIZES = [1 << 10, 3000, 20_000, 100_000, 500_000, 1 << 20, 3 << 20, 20 << 20]


def load(daemon: Daemon, files: dict[str, File], seed: int) -> int:
    """Ask until the daemon is gone; how many whole files came. What comes whole must be right."""
    names, whole = random.Random(seed).sample(sorted(files), len(files)), 0
    for name in names * 100:
        project = name.rpartition("-")[0]
        try:
            path = links(daemon, project)[name]
            reply = ask(daemon, path)
        except (OSError, HTTPException, ValueError):
            if daemon.process is None or daemon.process.poll() is not None:
                return whole
            continue
        assert reply.status == 200
        assert reply.body == files[name].data, name
        whole += 1
    return whole


def killed_under_load(daemon: Daemon, files: dict[str, File], chance: random.Random) -> int:
    """One power cut; how many whole files came before it."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load, daemon, files, chance.randrange(1 << 30)) for _ in range(CLIENTS)]
        time.sleep(chance.uniform(0.02, 0.6))  # the moment is the point: nothing to wait for
        daemon.kill()
        return sum(client.result(DEADLINE) for client in clients)


def verified(daemon: Daemon) -> subprocess.CompletedProcess[str]:
    """`pypicache verify` on the daemon's cache."""
    return subprocess.run(
        [sys.executable, "-m", "twisted_pypi", "verify", "--cache-dir", str(daemon.cache)],
        cwd=daemon.directory,
        env=clean_environment(daemon.directory),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_nothing_is_wrong_after_power_cuts(upstream: Upstream, start: Start) -> None:
    chance, files = random.Random(SEED), {}
    daemon = start("--index-ttl", "0")
    for turn in range(ROUNDS):
        # New ones in every round, so that there is always something to be fetched.
        new = [blob(f"data{turn}x{number}", size) for number, size in enumerate(SIZES)]
        for file in new:
            upstream.project(file.name.rpartition("-")[0], [file])
            files[file.name] = file
        killed_under_load(daemon, files, chance)
        daemon.start()
        for name, file in files.items():
            assert ask(daemon, links(daemon, name.rpartition("-")[0])[name]).body == file.data, name
    assert daemon.stop() == 0
    done = verified(daemon)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"{len(files)} files and {len(files)} pages are right" in done.stdout
    assert "integrity" not in daemon.log


def test_verify_refuses_beside_a_daemon_and_repairs_without(upstream: Upstream, daemon: Daemon) -> None:
    file = blob("data", 100_000)
    upstream.project("data", [file])
    assert ask(daemon, links(daemon, "data")[file.name]).body == file.data
    done = verified(daemon)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"in use by another pypicache (pid {daemon.pid})" in done.stderr
    assert daemon.stop() == 0
    (stored,) = daemon.stored(file.name)
    spoil(stored)
    done = verified(daemon)
    assert done.returncode == 1
    assert "1 damaged and dropped" in done.stdout
    daemon.start()
    assert ask(daemon, links(daemon, "data")[file.name]).body == file.data
    assert daemon.stop() == 0
    assert verified(daemon).returncode == 0


def spoil(path: Path) -> None:
    """Change one byte and let size and time look as before."""
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(state.st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
