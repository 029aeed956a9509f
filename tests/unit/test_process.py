"""What is set for the whole process, in processes of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

ARENAS = """
import ctypes, sys, threading
from twisted_pypi.process import settle
class Reactor:
    def callWhenRunning(self, call): pass
settle(Reactor())
barrier = threading.Barrier(5)
def work():
    held = bytearray(50_000)  # too large for Python's own allocator, too small for a mapping of its own
    barrier.wait(60)
    barrier.wait(60)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
barrier.wait(60)
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
barrier.wait(60)
"""

FROZEN = """
import gc
from twisted_pypi.process import settle
calls = []
class Reactor:
    def callWhenRunning(self, call): calls.append(call)
settle(Reactor())
assert not gc.get_freeze_count(), "there is more to come"
for call in calls:
    call()
assert len(gc.get_objects()) < 100 < gc.get_freeze_count()
"""

TOLD = """
import sys
from twisted.internet import reactor
from twisted_pypi.tap import Options, makeService
options = Options()
options.parseOptions(["--cache-dir", sys.argv[1], "--port", "0"])
makeService(options)
import gc
reactor.callWhenRunning(reactor.stop)
reactor.run()
assert gc.get_freeze_count()
"""


def run(program: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True, timeout=120)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="not glibc")
def test_threads_share_the_memory_that_they_free(tmp_path: Path) -> None:
    told = tmp_path / "arenas"
    run(ARENAS, told)
    assert told.read_text().count("<heap ") == 1


def test_what_start_up_made_is_not_looked_through_again() -> None:
    run(FROZEN)


def test_the_daemon_sets_it(tmp_path: Path) -> None:
    run(TOLD, tmp_path / "cache")
