"""What can be wrong with an upstream. A fault is an async function of one exchange; it decides what goes out."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

from attrs import define, evolve, field

from e2e.content import Request, Response

PIECE = 64 << 10


@define
class Exchange:
    """One request, its healthy answer, and the connection.

    `keep` tells whether the connection goes on, `begun` whether the head was sent.
    """

    request: Request
    response: Response
    writer: asyncio.StreamWriter
    keep: bool = True
    begun: bool = False

    async def send(self, response: Response, first: int = 0, last: int | None = None) -> None:
        """Send a response's body from `first` to `last` (exclusive), its head before whatever is sent first."""
        head = b"" if self.begun else response.head()
        self.begun = True
        bodyless = self.request.method == "HEAD" or response.status == 304
        body = b"" if bodyless else response.body[first:last]
        self.keep = self.keep and response.content_length
        self.writer.write(head)
        for start in range(0, len(body), PIECE):
            self.writer.write(body[start : start + PIECE])
            await self.writer.drain()
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


@define
class Gate:
    """A fault that waits until `release`, after `after` body bytes (0: behind the headers, None: before them).

    Then it goes on healthy. `arrived` is set when a request waits at it.
    """

    after: int | None = None
    arrived: threading.Event = field(factory=threading.Event)
    _opened: Future[None] = field(factory=Future)

    def release(self) -> None:
        """Let all who wait, and all who will come, go on. Idempotent."""
        if not self._opened.done():
            self._opened.set_result(None)

    async def __call__(self, exchange: Exchange) -> None:
        if self.after is not None:
            await exchange.send(exchange.response, 0, self.after)
        self.arrived.set()
        await asyncio.shield(asyncio.wrap_future(self._opened))
        await exchange.send(exchange.response, self.after or 0)


def hang(after: int | None = None) -> Gate:
    """Never go on: before the headers, or after so many body bytes (0: behind the headers)."""
    return Gate(after)


def reset(after: int | None = None) -> Fault:
    """Break the connection with a TCP reset, before headers or after so many body bytes (0: behind the headers)."""

    async def act(exchange: Exchange) -> None:
        if after is not None:
            await exchange.send(exchange.response, 0, after)
        connection = exchange.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        exchange.keep = False
        exchange.writer.transport.abort()

    return act


def short_body(after: int) -> Fault:
    """Announce the whole length and close after `after` bytes."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(exchange.response, 0, after)
        exchange.keep = False

    return act


def disconnect() -> Fault:
    """Close in good order instead of answering."""
    return raw(b"")


def slow_head(interval: float) -> Fault:
    """Send the head one byte each `interval` seconds, then the body at once."""

    async def act(exchange: Exchange) -> None:
        head, exchange.begun = exchange.response.head(), True
        for start in range(len(head)):
            exchange.writer.write(head[start : start + 1])
            await exchange.writer.drain()
            await asyncio.sleep(interval)
        await exchange.send(exchange.response)

    return act


def trickle(size: int, interval: float) -> Fault:
    """Send the body in pieces of `size` bytes, one each `interval` seconds: a rate of size / interval."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(exchange.response, 0, size)
        for start in range(size, len(exchange.response.body), size):
            await asyncio.sleep(interval)
            await exchange.send(exchange.response, start, start + size)

    return act


def latency(seconds: float) -> Fault:
    """Answer well, but late."""

    async def act(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.send(exchange.response)

    return act


def corrupt() -> Fault:
    """The right length and headers, with the first byte changed."""

    async def act(exchange: Exchange) -> None:
        body = exchange.response.body
        await exchange.send(evolve(exchange.response, body=bytes(byte ^ 0xFF for byte in body[:1]) + body[1:]))

    return act


def reply(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Fault:
    """Any status, headers and body: an error, a login page, garbage, a redirect."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(Response(status, headers or {}, body))

    return act


def redirect(location: str, status: int = 302) -> Fault:
    """Elsewhere."""
    return reply(status, {"Location": location})


def truncated(share: float = 0.5) -> Fault:
    """A well-formed response that holds only the beginning of the body."""

    async def act(exchange: Exchange) -> None:
        body = exchange.response.body
        await exchange.send(evolve(exchange.response, body=body[: int(len(body) * share)]))

    return act


def encoded() -> Fault:
    """The body as gzip, whether that was accepted or not."""

    async def act(exchange: Exchange) -> None:
        response = exchange.response
        if "Content-Encoding" not in response.headers:
            headers = {**response.headers, "Content-Encoding": "gzip"}
            response = evolve(response, headers=headers, body=gzip.compress(response.body, mtime=0))
        await exchange.send(response)

    return act


def no_length() -> Fault:
    """Without Content-Length: the end of the connection ends the body."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(evolve(exchange.response, content_length=False))

    return act


def chunked() -> Fault:
    """In chunks (RFC 9112, 7.1), without Content-Length."""

    async def act(exchange: Exchange) -> None:
        response = exchange.response
        headers = {**response.headers, "Transfer-Encoding": "chunked"}
        head = evolve(response, headers=headers, content_length=False).head()
        exchange.keep = False
        exchange.writer.write(head)
        for start in range(0, len(response.body), PIECE):
            piece = response.body[start : start + PIECE]
            exchange.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await exchange.writer.drain()
        exchange.writer.write(b"0\r\n\r\n")
        await exchange.writer.drain()

    return act


def announced(length: str | Callable[[int], object]) -> Fault:
    """The whole body behind another Content-Length: these characters, or what becomes of the true length."""

    async def act(exchange: Exchange) -> None:
        response = exchange.response
        value = length if isinstance(length, str) else str(length(len(response.body)))
        headers = {**response.headers, "Content-Length": value}
        await exchange.send(evolve(response, headers=headers, content_length=False))

    return act


def early_hints() -> Fault:
    """An interim answer (RFC 8297) before the healthy one."""

    async def act(exchange: Exchange) -> None:
        exchange.writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        await exchange.send(exchange.response)

    return act


def surplus(data: bytes) -> Fault:
    """More than Content-Length announces: `data` behind the body."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(exchange.response)
        exchange.writer.write(data)
        await exchange.writer.drain()

    return act


def bad_chunks(after: int) -> Fault:
    """In chunks, of which the one behind `after` body bytes has no size that is a number."""

    async def act(exchange: Exchange) -> None:
        exchange.keep = False
        headers = {**exchange.response.headers, "Transfer-Encoding": "chunked"}
        exchange.writer.write(evolve(exchange.response, headers=headers, content_length=False).head())
        piece = exchange.response.body[:after]
        exchange.writer.write(b"%x\r\n%b\r\nnonsense\r\n%b" % (len(piece), piece, exchange.response.body[after:]))
        await exchange.writer.drain()

    return act


def with_headers(headers: dict[str, str]) -> Fault:
    """Healthy, but for these further or other headers."""

    async def act(exchange: Exchange) -> None:
        response = exchange.response
        await exchange.send(evolve(response, headers={**response.headers, **headers}))

    return act


def large_head(size: int) -> Fault:
    """Healthy, but with so many bytes of headers, in lines of a hundred or so."""
    return with_headers({f"X-Filler-{number:06}": "x" * 80 for number in range(size // 100)})


def raw(data: bytes) -> Fault:
    """Exactly these bytes, whatever they are, then close."""

    async def act(exchange: Exchange) -> None:
        exchange.writer.write(data)
        await exchange.writer.drain()
        exchange.keep = False

    return act
