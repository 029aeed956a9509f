"""A reply as a value, and the one place that writes it to the request.

Whatever decides an answer hands up a `Reply`; `Exchange` sends it and reports `events.Served`, once for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES

from twisted_pypi.answers import ByteSource, Provenance, Still
from twisted_pypi.errors import CacheError
from twisted_pypi.events import Served
from twisted_pypi.http.cache_status import cache_status
from twisted_pypi.interfaces import Observer
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.problems import problem_body, problem_of, reason_phrase
from twisted_pypi.web.sending import PIECE, MemorySource, Sender
from twisted_pypi.web.site import CacheRequest

ANSWER_TIMEOUT = 14.0
"""Seconds in which an answer begins, whatever hangs. Upstream has less; pip doesn't wait for more than 15."""

CLIENT_GONE = 499
"""The status that is reported when a client left before any answer (as nginx does)."""


@frozen
class Window:
    """Positions `first` to `last` (inclusive; None: to the end, wherever that is) of a source."""

    source: ByteSource
    first: int = 0
    last: int | None = None


@frozen
class Reply:
    """An answer. Whoever sends it closes the source of a `Window`.

    `lines` are ready-made header lines. `sized` is False when the length of a `Window` isn't known yet. `kind` says
    for metrics what was asked for: page, file, redirect, health, admin, error. `still`, where it is given, tells
    whether the same request would get the same reply again within this second.
    """

    status: int
    lines: bytes
    body: bytes | Window = b""
    kind: str = ""
    provenance: Provenance | None = None
    reason: bytes = b""
    sized: bool = True
    still: Still | None = field(default=None, eq=False)


def header_lines(*pairs: tuple[str, str]) -> bytes:
    """Header lines, with their line ends. What isn't printable ASCII becomes "?": nothing can begin a new line."""
    return "".join(f"{name}: {_printable(value)}\r\n" for name, value in pairs).encode("ascii")


def _printable(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    return "".join(character if " " <= character <= "~" else "?" for character in value)


def provenance_lines(provenance: Provenance) -> bytes:
    """`X-Pypi-Cache` and `Cache-Status`, on everything that is proxied."""
    return header_lines(("X-Pypi-Cache", provenance.state.value), ("Cache-Status", cache_status(provenance)))


def simple_reply(status: int, content_type: str, body: bytes, kind: str, *pairs: tuple[str, str]) -> Reply:
    """A small answer of our own, with any further header `pairs`."""
    lines = header_lines(("Content-Type", content_type), ("Content-Length", str(len(body))), *pairs)
    return Reply(status, lines, body, kind)


def problem_reply(error: BaseException, accept: str) -> Reply:
    """The answer for an error (`problems.problem_of` decides which)."""
    problem = problem_of(error)
    content_type, body = problem_body(problem, accept)
    reply = simple_reply(problem.status, content_type, body, "error", ("Vary", "Accept"), *problem.headers)
    provenance = error.provenance if isinstance(error, CacheError) else None
    lines = reply.lines + (provenance_lines(provenance) if provenance else b"")
    return evolve(reply, lines=lines, reason=reason_phrase(problem.reason), provenance=provenance)


def reason_of(reply: Reply) -> bytes:
    """Its reason phrase."""
    return reply.reason or RESPONSES.get(reply.status, b"")


Keep = Callable[[bytes, Ask, Reply, Served], None]
"""Is told the bytes of a request, the request, the reply that it got, and what was reported of it."""


@define
class Exchange:
    """One request under way, from `began` (seconds since the epoch) to its one answer.

    `keep` is told of replies that the same bytes would get again. `mount` is what `Served` says, `user_of` tells who
    was let in.
    """

    request: CacheRequest
    ask: Ask
    began: float
    clock: IReactorTime
    observer: Observer
    keep: Keep
    mount: str = "/"
    user_of: Callable[[Ask], str] = lambda ask: ""

    def wait(self, answer: Coroutine[Deferred[Any], Any, Reply]) -> None:
        """Answer later. A client that leaves meanwhile cancels the coroutine."""
        waiting = Deferred.fromCoroutine(answer)
        if not waiting.called and self.ask.method != "DELETE":  # a purge takes as long as it takes
            waiting.addTimeout(ANSWER_TIMEOUT, self.clock)
        self.request.notifyFinish().addErrback(lambda _: waiting.cancel())
        waiting.addCallbacks(self.send, self._failed)
        waiting.addErrback(self._unsendable)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        self.send(problem_reply(error, self.ask.header("accept")))

    def send(self, reply: Reply) -> None:
        """Answer now."""
        request, body = self.request, reply.body
        if request.gone or (self.ask.head and isinstance(body, Window)):
            _close(body)
            body = b""
        if request.gone:
            self._report(reply, CLIENT_GONE, 0, complete=False)
            return
        if isinstance(body, bytes) and len(body) > PIECE and not self.ask.head:
            # In one write it would be in the buffers long after the channel's idle timer began.
            body = Window(MemorySource(body), 0, len(body) - 1)
        self._begin(reply, b"" if self.ask.head or isinstance(body, Window) else body)
        if isinstance(body, Window):
            self._stream(reply, body)
            return
        head = request.head if reply.still is not None else b""
        request.finish()  # type: ignore[no-untyped-call]
        served = self._report(reply, reply.status, request.sentLength, complete=True)
        if head:
            self.keep(head, self.ask, reply, served)

    def _begin(self, reply: Reply, body: bytes) -> None:
        self.request.begin(reply.status, reason_of(reply), reply.lines, body, sized=reply.sized)

    def _stream(self, reply: Reply, window: Window) -> None:
        def done(size: int, complete: bool) -> None:
            self._report(reply, reply.status, size, complete=complete)

        # Not by the time of day, which may be set back by a day while a client takes nothing.
        steady = self.request.channel.site.reactor
        Sender(self.request, window.source, window.first, window.last, steady, done).start()

    def _failed(self, failure: Failure) -> None:
        assert failure.value is not None
        if self.request.gone:
            self._report(Reply(CLIENT_GONE, b"", kind="error"), CLIENT_GONE, 0, complete=False)
        else:
            self.fail(failure.value)

    def _unsendable(self, failure: Failure) -> None:
        assert failure.value is not None
        problem_of(failure.value)  # for its log line: the head may be out already
        self.request.abort()

    def _report(self, reply: Reply, status: int, size: int, *, complete: bool) -> Served:
        ask, provenance = self.ask, reply.provenance
        served = Served(
            client=ask.client,
            method=ask.method,
            target=ask.path,
            host=ask.host,
            status=status,
            size=size,
            state=provenance.state if provenance else None,
            kind=reply.kind,
            upstream_seconds=provenance.upstream_seconds if provenance else None,
            seconds=max(0.0, self.clock.seconds() - self.began),  # the time of day may be set back
            agent=ask.header("user-agent"),
            protocol=ask.protocol,
            complete=complete,
            mount=self.mount,
            collapsed=provenance is not None and provenance.collapsed,
            user=self.user_of(ask),
        )
        self.observer(served)
        return served


def _close(body: bytes | Window) -> None:
    if isinstance(body, Window):
        body.source.close()
