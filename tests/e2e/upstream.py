"""A scriptable index with two origins, on loopback, in a thread of its own.

upstream.project("flask", files=[wheel("flask", requires=("click",)), sdist("flask")])
upstream.fault("/simple/flask/", reply(503), times=1)
upstream.count("/packages/")
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from attrs import define, field

from e2e.content import Catalogue, Project, Request
from e2e.faults import Exchange, Fault, Gate
from e2e.packages import File

T = TypeVar("T")
CALL_SECONDS = 30.0


@define
class Rule:
    """A fault in force for paths below `prefix`, `left` more times (None: always)."""

    prefix: str
    fault: Fault
    left: int | None


@define
class Origin:
    """One listening socket: "index" or "files". The port stays the same while it is closed and opened again."""

    name: str
    port: int = 0
    server: asyncio.Server | None = None
    connections: set[asyncio.Task[Any]] = field(factory=set)


@define(eq=False)
class Upstream:
    """The index; over https with a `tls` context. Everything public may be called from the test's thread."""

    tls: ssl.SSLContext | None = None
    catalogue: Catalogue = field(factory=Catalogue)
    requests: list[Request] = field(factory=list)
    _rules: list[Rule] = field(factory=list)
    _origins: tuple[Origin, Origin] = field(factory=lambda: (Origin("index"), Origin("files")))
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    _thread: threading.Thread = field(init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self.listen()
        self.catalogue.files_url = self._url("files")
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def index_url(self) -> str:
        """For `--index-url`."""
        return f"{self._url('index')}/simple/"

    @property
    def files_url(self) -> str:
        """For `--files-url`."""
        return f"{self._url('files')}/"

    @property
    def host(self) -> str:
        """HOST:PORT of the index."""
        return f"127.0.0.1:{self._origins[0].port}"

    def project(self, name: str, files: Iterable[File] = (), **extra: Any) -> Project:
        """Publish a project, or a new version of its page; `extra` are further keys of its JSON form."""
        serial = self.catalogue.projects[name].serial + 1 if name in self.catalogue.projects else 1
        self.catalogue.projects[name] = Project(name, tuple(files), serial, extra)
        return self.catalogue.projects[name]

    def release(self, name: str, file: File) -> None:
        """Add one file to a project."""
        self.project(name, (*self.catalogue.projects[name].files, file))

    def withdraw(self, name: str) -> None:
        """The project is gone: 404."""
        del self.catalogue.projects[name]

    def fault(self, prefix: str, fault: Fault, times: int | None = None) -> None:
        """From now on, `times` times, requests below `prefix` meet `fault`; the newest matching fault wins."""
        self._rules.insert(0, Rule(prefix, fault, times))

    def gate(self, prefix: str, after: int | None = None, times: int | None = None) -> Gate:
        """A fault that waits for its `release`."""
        gate = Gate(after)
        self.fault(prefix, gate, times)
        return gate

    def heal(self) -> None:
        """Forget all faults; whoever waits at a gate goes on."""
        for rule in self._rules:
            if isinstance(rule.fault, Gate):
                rule.fault.release()
        self._rules.clear()

    def count(self, prefix: str = "/", method: str | None = None) -> int:
        """How many requests there were below `prefix`."""
        return len(self.seen(prefix, method))

    def seen(self, prefix: str = "/", method: str | None = None) -> list[Request]:
        """The requests below `prefix`, in order."""
        found = [request for request in list(self.requests) if request.path.startswith(prefix)]
        return [request for request in found if method in (None, request.method)]

    def listen(self) -> None:
        """Accept connections (again)."""
        self._call(self._listen())

    def refuse(self) -> None:
        """Close the listening sockets and every connection: whoever connects now is refused."""
        self._call(self._refuse())

    def hang_up(self) -> None:
        """Close every connection; the next one is accepted again."""
        with self.down():
            pass

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for a while."""
        self.refuse()
        try:
            yield
        finally:
            self.listen()

    def _url(self, name: str) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{next(origin.port for origin in self._origins if origin.name == name)}"

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _listen(self) -> None:
        for origin in self._origins:
            if origin.server is None:
                origin.server = await asyncio.start_server(
                    self._serve(origin), "127.0.0.1", origin.port, backlog=512, ssl=self.tls
                )
                origin.port = origin.server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        for origin in self._origins:
            if origin.server is not None:
                origin.server.close()
                origin.server = None
            for task in list(origin.connections):
                task.cancel()
            await asyncio.gather(*origin.connections, return_exceptions=True)

    def _serve(self, origin: Origin) -> Any:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            origin.connections.add(task)
            try:
                while await self._exchange(origin.name, reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                origin.connections.discard(task)
                writer.close()

        return connected

    async def _exchange(self, origin: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and what comes of it; whether the connection goes on."""
        request = parse(origin, await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(request)
        exchange = Exchange(request, self.catalogue.answer(request), writer)
        fault = self._due(request.path)
        if fault is None:
            await exchange.send(exchange.response)
        else:
            await fault(exchange)
        return exchange.keep and request.headers.get("connection", "").lower() != "close"

    def _due(self, path: str) -> Fault | None:
        for rule in self._rules:
            if path.startswith(rule.prefix) and rule.left != 0:
                rule.left = None if rule.left is None else rule.left - 1
                return rule.fault
        return None


def parse(origin: str, head: bytes) -> Request:
    """A request head (RFC 9112), its target split at the question mark."""
    line, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    path, _, query = target.partition("?")
    pairs = (text.partition(":") for text in fields)
    return Request(origin, method, path, query, {name.lower(): value.strip() for name, _, value in pairs})
