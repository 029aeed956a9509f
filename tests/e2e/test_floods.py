"""Floods. In each, a newcomer has its answer while the flood is still fully in place."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from e2e.clients import ask
from e2e.crowd import Meter, address, connect, crowd, descriptors, head, newcomer, together
from e2e.daemon import Daemon, Start
from e2e.packages import blob, wheel
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

IDLE, SLOW_HEADS, SLOW_READERS, COLD, REQUESTS, PROJECTS, CLIENTS = 1000, 300, 100, 500, 1000, 50, 50
NEEDED = 4 * IDLE
WARM = "/simple/warm/"


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    with descriptors(NEEDED) as allowed:
        if allowed < NEEDED:
            pytest.skip(f"the system allows {allowed} open files")
        yield


def flood(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def warm(upstream: Upstream, daemon: Daemon) -> None:
    """A page that is a hit from now on."""
    upstream.project("warm", [wheel("warm")])
    wait_for("it is a hit", lambda: ask(daemon, WARM).state == "HIT")


async def served(daemon: Daemon) -> None:
    """A newcomer gets the warm page, and the daemon says that it is well."""
    reply = await newcomer(daemon, WARM)
    assert (reply.status, reply.state) == (200, "HIT")
    assert (await newcomer(daemon, "/readyz")).status == 200


def test_idle_connections(upstream: Upstream, daemon: Daemon) -> None:
    warm(upstream, daemon)

    async def scenario() -> None:
        async with crowd(daemon, IDLE, clients=5) as peers:
            assert await together(peer.status("/healthz") for peer in peers) == [200] * IDLE
            await served(daemon)
            assert await together(peer.status(WARM) for peer in peers) == [200] * IDLE

    flood(scenario())


def test_idle_connections_make_way(upstream: Upstream, start: Start) -> None:
    daemon = start("--max-connections", "50")
    warm(upstream, daemon)

    async def scenario() -> None:
        async with crowd(daemon, 50) as peers:
            assert await together(peer.status(WARM) for peer in peers) == [200] * 50
            async with crowd(daemon, 10) as others:
                assert await together(peer.status(WARM) for peer in others) == [200] * 10
                await together(peer.reader.read() for peer in peers[:10])  # closed, and no others:
                assert await together(peer.status(WARM) for peer in peers[10:]) == [200] * 40

    flood(scenario())
    assert daemon.log.count("closed while idle") == 1


def test_slow_heads(upstream: Upstream, start: Start) -> None:
    daemon = start("--max-client-connections", "0")
    warm(upstream, daemon)

    async def scenario() -> None:
        async with crowd(daemon, SLOW_HEADS) as peers:
            for byte in head(WARM)[:8]:
                await together(peer.send(bytes([byte])) for peer in peers)
            await served(daemon)
            await together(peer.send(head(WARM)[8:]) for peer in peers)
            assert [reply.status for reply in await together(peer.reply() for peer in peers)] == [200] * SLOW_HEADS

    flood(scenario())


def test_slow_readers(upstream: Upstream, daemon: Daemon) -> None:
    warm(upstream, daemon)
    file = publish(upstream, 24 * MB)
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    wait_for("the file is a hit", lambda: ask(daemon, path, "HEAD").state == "HIT")
    before = daemon.memory()

    async def scenario() -> None:
        async with crowd(daemon, SLOW_READERS) as peers:
            await together(peer.send(head(path)) for peer in peers)
            await together(peer.reader.readuntil(b"\r\n\r\n") for peer in peers)
            await served(daemon)
            grown = daemon.memory() - before
            print(f"{SLOW_READERS} slow readers: {grown / MB:.0f} MB")
            assert grown < SLOW_READERS * MB
            assert await together([peers[0].reader.readexactly(len(file.data))]) == [file.data]

    flood(scenario())


def test_many_cold_projects(upstream: Upstream, start: Start) -> None:
    """`--max-fetches` holds, and a client with one request doesn't wait behind those with a hundred."""
    daemon = start("--max-fetches", "8")
    warm(upstream, daemon)
    for number in range(COLD):
        upstream.project(f"cold-{number}")
    upstream.project("modest")
    meter = Meter(0.01)
    upstream.fault("/simple/", meter)
    gate = upstream.gate("/simple/", times=8)

    async def scenario() -> None:
        async with crowd(daemon, COLD, clients=5) as peers:
            await together(peer.send(head(f"/simple/cold-{number}/")) for number, peer in enumerate(peers))
            await asyncio.to_thread(wait_for, "the fetches begin", gate.arrived.is_set)
            await served(daemon)
            modest = await connect(daemon, address(200))
            await modest.send(head("/simple/modest/"))
            await served(daemon)
            gate.release()
            assert [reply.status for reply in await together(peer.reply() for peer in peers)] == [200] * COLD
            assert (await modest.reply()).status == 200

    flood(scenario())
    asked = [request.path for request in upstream.seen("/simple/")]
    assert len(asked) == len(set(asked)) == COLD + 2
    assert meter.most <= 8
    assert asked.index("/simple/modest/") < COLD // 2


def test_many_cold_files(upstream: Upstream, start: Start) -> None:
    daemon = start("--max-fetches", "4")
    warm(upstream, daemon)
    files = [blob(f"part{number}", 1000) for number in range(100)]
    upstream.project("data", files)
    assert ask(daemon, "/simple/data/").status == 200
    meter = Meter(0.02)
    upstream.fault("/packages/", meter)

    async def scenario() -> None:
        async with crowd(daemon, len(files)) as peers:
            pairs = list(zip(peers, files, strict=True))
            await together(peer.send(head(file.path)) for peer, file in pairs)
            await served(daemon)
            bodies = [reply.body for reply in await together(peer.reply() for peer in peers)]
            assert bodies == [file.data for file in files]

    flood(scenario())
    assert meter.most <= 4


def test_one_client_with_many_requests_in_parallel(upstream: Upstream, daemon: Daemon) -> None:
    """Its own limit refuses it, and nobody else."""
    warm(upstream, daemon)
    upstream.project("slow")
    gate = upstream.gate("/simple/slow/")

    async def scenario() -> None:
        async with crowd(daemon, 256) as peers:
            await together(peer.send(head("/simple/slow/")) for peer in peers)
            await asyncio.to_thread(wait_for, "upstream is asked", gate.arrived.is_set)
            async with crowd(daemon, REQUESTS - 256) as more:
                statuses = Counter(await together(peer.status(WARM) for peer in more))
                print(dict(statuses))
                assert set(statuses) <= {0, 503}
                assert statuses[503] > 0
                await served(daemon)
            gate.release()
            assert [reply.status for reply in await together(peer.reply() for peer in peers)] == [200] * 256

    flood(scenario())
    assert daemon.log.count("refused, as their client had too many") == 1


def test_one_client_with_many_pipelined_requests(upstream: Upstream, daemon: Daemon) -> None:
    """Who doesn't read its answers gets no more of them: nothing piles up in memory."""
    warm(upstream, daemon)
    upstream.project("large", [blob(f"large{number}", 1) for number in range(500)])
    wait_for("it is a hit", lambda: ask(daemon, "/simple/large/").state == "HIT")
    size = len(ask(daemon, "/simple/large/").body)
    assert size > 100_000
    before = daemon.memory()

    async def scenario() -> None:
        async with crowd(daemon, 1) as (peer,):
            sending = asyncio.ensure_future(peer.send(head("/simple/large/") * REQUESTS))
            await peer.reader.readuntil(b"\r\n\r\n")
            await served(daemon)
            grown = daemon.memory() - before
            print(f"{REQUESTS} pipelined requests for {size / MB:.1f} MB each: {grown / MB:.0f} MB")
            assert grown < 32 * MB
            await peer.reader.readexactly(size)
            replies = [await asyncio.wait_for(peer.reply(), 60) for _ in range(REQUESTS - 1)]
            assert {(reply.status, len(reply.body)) for reply in replies} == {(200, size)}
            await sending

    flood(scenario())


def test_a_cold_stampede(upstream: Upstream, daemon: Daemon) -> None:
    """Each client asks for each project at once: upstream is asked once for each."""
    warm(upstream, daemon)
    for number in range(PROJECTS):
        upstream.project(f"cold-{number}", [wheel(f"cold-{number}")])
    gate = upstream.gate("/simple/cold-")

    async def scenario() -> None:
        async with crowd(daemon, PROJECTS * CLIENTS, clients=CLIENTS) as peers:
            paths = [f"/simple/cold-{number // CLIENTS}/" for number in range(len(peers))]
            await together(peer.send(head(path)) for peer, path in zip(peers, paths, strict=True))
            await asyncio.to_thread(wait_for, "upstream is asked", gate.arrived.is_set)
            await served(daemon)
            gate.release()
            replies = await together(peer.reply() for peer in peers)
            assert Counter(reply.status for reply in replies) == {200: PROJECTS * CLIENTS}
            assert {path: len({reply.body for reply, asked in zip(replies, paths, strict=True) if asked == path})
                    for path in set(paths)} == dict.fromkeys(paths, 1)  # fmt: skip

    flood(scenario())
    assert upstream.count("/simple/cold-") == PROJECTS
