"""Answers that are not proper HTTP, or say something untrue: bytes that no healthy server sends."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

from attrs import evolve

from e2e.content import Response
from e2e.faults import Exchange, Fault

STATUS_LINE = b"HTTP/1.1 200 OK\r\n"


def wire(make: Callable[[Response], bytes]) -> Fault:
    """What `make` makes of the healthy answer, byte for byte; then the connection is closed."""

    async def act(exchange: Exchange) -> None:
        exchange.keep = False
        exchange.writer.write(make(exchange.response))
        await exchange.writer.drain()

    return act


def changed(make: Callable[[Response], Response]) -> Fault:
    """What `make` makes of the healthy answer, properly sent."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(make(exchange.response))

    return act


def headed(*lines: str) -> Fault:
    """A 200 with exactly these header lines, and the right body."""
    head = STATUS_LINE + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    return wire(lambda response: head + response.body)


def long_line(size: int) -> Fault:
    """One header of `size` bytes."""
    return headed("X-Filler: " + "x" * size)


def cut_chunks(after: int) -> Fault:
    """In chunks; after so many bytes the connection ends without the last one."""
    head = STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\n"
    return wire(lambda response: head + b"%x\r\n%b\r\n" % (after, response.body[:after]))


def gzipped() -> Fault:
    """The body in gzip, and a header that says so."""

    def make(response: Response) -> Response:
        headers = {**response.headers, "Content-Encoding": "gzip"}
        return evolve(response, headers=headers, body=gzip.compress(response.body, mtime=0))

    return changed(make)


def slow_end(seconds: int) -> Fault:
    """The last bytes of the body come one a second."""

    async def act(exchange: Exchange) -> None:
        end = len(exchange.response.body)
        await exchange.send(exchange.response, 0, end - seconds)
        for position in range(end - seconds, end):
            await asyncio.sleep(1)
            await exchange.send(exchange.response, position, position + 1)

    return act


def no_length_cut(after: int) -> Fault:
    """Without a length; the connection ends after so many bytes, as it would at the end of the body."""
    return changed(lambda response: evolve(response, body=response.body[:after], content_length=False))
