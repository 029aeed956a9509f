"""`python -m bench.load`: a daemon that holds 1,000 idle connections while 200 clients ask without a pause.

Tells requests a second, how long an answer took, and the daemon's memory; fails when an answer is wrong, or when an
idle connection isn't answered afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field

from bench.measuring import cpu_of, index, path_of
from bench.upstream import JSON_TYPE
from e2e.daemon import Daemon


@define
class Load:
    """What is asked, and how long each answer took (seconds)."""

    daemon: Daemon
    paths: tuple[str, ...]
    seconds: float
    took: list[float] = field(factory=list)

    async def run(self, idle: int, active: int) -> None:
        """Open all connections, ask on the active ones, then on every idle one."""
        waiting = [await self._connect() for _ in range(idle)]
        until = time.monotonic() + self.seconds
        await asyncio.gather(*(self._ask_until(until, number) for number in range(active)))
        for reader, writer in waiting:
            await _ask(reader, writer, self.paths[0])
            writer.close()

    async def _ask_until(self, until: float, number: int) -> None:
        reader, writer = await self._connect()
        while (began := time.monotonic()) < until:
            await _ask(reader, writer, self.paths[number % len(self.paths)])
            self.took.append(time.monotonic() - began)
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.daemon.port)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
    writer.write(f"GET {path} HTTP/1.1\r\nHost: cache\r\nAccept: {JSON_TYPE}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"{path}: {head[:80]!r}")
    _, _, length = head.lower().partition(b"content-length: ")
    await reader.readexactly(int(length.partition(b"\r\n")[0]))


def main(arguments: list[str]) -> None:
    """Run it and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--active", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pypicache-load-"))
        url = stack.enter_context(index(100, 1))
        arguments = ("--index-url", f"{url}/simple/", "--access-log", "/dev/null")
        daemon = stack.enter_context(Daemon(Path(directory), arguments))
        file = path_of(daemon, "small")
        load = Load(daemon, ("/simple/small/", file, f"{file}.metadata"), options.seconds)
        before = cpu_of(daemon)
        asyncio.run(load.run(options.idle, options.active))
        used, peak = cpu_of(daemon) - before, daemon.memory("VmHWM") / (1 << 20)
    took = sorted(load.took)
    print(f"{len(took) / options.seconds:.0f} requests a second, {used / len(took) * 1e6:.0f} us of CPU each")
    middle, late = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))
    print(f"an answer took {middle:.1f} ms (median), {late:.1f} ms (99 of 100), {took[-1] * 1000:.1f} ms (longest)")
    print(f"{peak:.0f} MB of memory at most; {options.idle} idle connections were answered afterwards")


if __name__ == "__main__":
    main(sys.argv[1:])
