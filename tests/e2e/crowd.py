"""Many clients at once: raw HTTP/1.1 connections on asyncio, from any number of loopback addresses."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from attrs import define

from e2e.clients import Reply, ask
from e2e.content import HTML_TYPE
from e2e.daemon import Daemon
from e2e.faults import Exchange
from e2e.waiting import DEADLINE

T = TypeVar("T")


def address(number: int) -> str:
    """The loopback address of one client."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


def head(path: str, *lines: str) -> bytes:
    """A GET."""
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: cache", *lines, "", "")).encode("ascii")


@define(eq=False)
class Peer:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes; whether they are taken is not waited for beyond what the kernel buffers."""
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self) -> Reply:
        """The next answer. Raises `IncompleteReadError` or `OSError` when there is none."""
        status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        _, status, reason = status_line.split(" ", 2)
        return Reply(int(status), reason, headers, body)

    async def get(self, path: str) -> Reply:
        """One exchange."""
        await self.send(head(path))
        return await self.reply()

    async def status(self, path: str) -> int:
        """The status of one exchange; 0 when the connection was closed instead."""
        try:
            return (await self.get(path)).status
        except (OSError, asyncio.IncompleteReadError):
            return 0


async def connect(daemon: Daemon, client: str = "127.0.0.1") -> Peer:
    """A new connection from that address."""
    # A small window: what isn't read stays with the daemon.
    return Peer(*await asyncio.open_connection("127.0.0.1", daemon.port, local_addr=(client, 0), limit=1 << 16))


@asynccontextmanager
async def crowd(daemon: Daemon, count: int, clients: int = 1) -> AsyncIterator[list[Peer]]:
    """So many connections, of that many clients in turn."""
    peers: list[Peer] = []
    try:
        for start in range(0, count, 100):
            numbers = range(start, min(start + 100, count))
            peers += await asyncio.gather(*(connect(daemon, address(number % clients)) for number in numbers))
        yield peers
    finally:
        for peer in peers:
            peer.writer.transport.abort()


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """All results, within the deadline."""
    return list(await asyncio.wait_for(asyncio.gather(*work), DEADLINE))


async def newcomer(daemon: Daemon, path: str) -> Reply:
    """What a client gets that comes now, from an address of its own; the time that it took is printed."""
    began = time.monotonic()
    reply = await asyncio.to_thread(ask, daemon, path, Accept=HTML_TYPE)
    print(f"a newcomer waited {1000 * (time.monotonic() - began):.0f} ms")
    return reply


@define
class Meter:
    """A fault that is none: counts the requests under way at a time, each of which takes `seconds`."""

    seconds: float
    now: int = 0
    most: int = 0

    async def __call__(self, exchange: Exchange) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.seconds)
            await exchange.send(exchange.response)
        finally:
            self.now -= 1


@contextmanager
def descriptors(wanted: int) -> Iterator[int]:
    """Raise this process's limit of open files for a while, as far as the system allows; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield max(soft, allowed)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
