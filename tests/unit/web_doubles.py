"""A client in memory for a real `CacheSite`, and doubles for what stands below `web`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_pypi.answers import CacheState, FileAnswer, PageAnswer, Provenance
from twisted_pypi.errors import Absent
from twisted_pypi.interfaces.listing import Wanted
from twisted_pypi.interfaces.purging import Purge, Purged
from twisted_pypi.model import FileRoute, Form, PageRoute
from twisted_pypi.mounts import resolve
from twisted_pypi.records import PageMeta, Representation, StoredPage
from twisted_pypi.web.resource import ProxyResource, Readiness, Services
from twisted_pypi.web.site import CacheSite
from unit.doubles import InlineWorkers

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT

JSON = Form(
    "json",
    "application/vnd.pypi.simple.v1+json",
    ("application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"),
)
V1_HTML = Form("html", "application/vnd.pypi.simple.v1+html", ("application/vnd.pypi.simple.v1+html",))
HTML = Form("html", "text/html; charset=utf-8", ("text/html",))
FORMS = (JSON, V1_HTML, HTML)
TEMPLATE = Form("json", "application/json", ("application/json",), placeholder=b"@BASE@/")

HIT = Provenance(CacheState.HIT, ttl=291.7)


@define
class Source:
    """A growing `ByteSource` that the test feeds."""

    data: bytes = b""
    length: int | None = None
    finished: bool = False
    failure: Exception | None = None
    closed: bool = False
    reads: list[int] = field(factory=list)
    _changed: Callable[[], None] = lambda: None

    def read(self, position: int, limit: int) -> bytes:
        assert not self.closed
        self.reads.append(limit)
        return self.data[position : position + limit]

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def close(self) -> None:
        self.closed = True

    def feed(self, data: bytes = b"", *, finished: bool = False, failure: Exception | None = None) -> None:
        self.data += data
        self.finished, self.failure = finished, failure
        self._changed()


def at_rest(data: bytes) -> Source:
    return Source(data, len(data), finished=True)


@define
class Pages:
    """Caching of pages: what is set is answered."""

    bodies: dict[tuple[str, str], bytes]
    provenance: Provenance = HIT
    hot: bool = True
    version: int | None = 7
    errors: list[Exception] = field(factory=list)
    body_errors: list[Exception] = field(factory=list)
    waiting: Deferred[None] | None = None
    as_source: bool = False
    vouches: bool = False
    askers: list[object] = field(factory=list)
    _page: StoredPage | None = None

    def page(self) -> StoredPage:
        if self._page is None:
            representations = {
                key: Representation(*key, hashlib.sha256(body).hexdigest(), len(body))
                for key, body in self.bodies.items()
            }
            meta = PageMeta("https://index.example/simple/six/", "main", "https://index.example/", version=self.version)
            self._page = StoredPage(meta, NOW, representations)
        return self._page

    def ready(self, route: PageRoute, asker: object) -> PageAnswer | None:
        if not self.hot:
            return None
        self.askers.append(asker)
        page = self.page()
        still = (lambda: self.hot and self.page() is page) if self.vouches else None
        return PageAnswer(page, self.provenance, still=still)

    def renew(self) -> None:
        """The page is another one now."""
        self._page = None

    async def answer(self, route: PageRoute, asker: object) -> PageAnswer:
        self.askers.append(asker)
        if self.waiting is not None:
            await self.waiting
        if self.errors:
            raise self.errors.pop(0)
        return PageAnswer(self.page(), self.provenance)

    def ready_body(self, answer: PageAnswer, representation: Representation) -> bytes | None:
        return self.bodies[representation.body, representation.encoding] if self.hot else None

    async def body(self, answer: PageAnswer, representation: Representation) -> bytes | Source:
        if self.body_errors:
            raise self.body_errors.pop(0)
        body = self.bodies[representation.body, representation.encoding]
        return at_rest(body) if self.as_source else body


@define
class Files:
    """Caching of files: gives out one answer."""

    result: FileAnswer | Exception
    askers: list[object] = field(factory=list)
    hot: FileAnswer | None = None

    def ready(self, route: FileRoute, asker: object) -> FileAnswer | None:
        return self.hot

    async def answer(self, route: FileRoute, asker: object) -> FileAnswer:
        self.askers.append(asker)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@define
class Status:
    """What is shown: what was asked for."""

    asked: list[tuple[object, ...]] = field(factory=list)

    async def document(self, admin: bool) -> dict[str, object]:
        self.asked.append((admin,))
        return {"entries": 3, "admin": admin}

    async def page(self, base: str, query: str, admin: bool) -> bytes:
        self.asked.append((base, query, admin))
        return f"<h1>{base}/simple/</h1>".encode()


@define
class InlineWriter:
    """A `log_writer.Writer` that writes at once."""

    error: OSError | None = None
    failing: OSError | None = None
    full: bool = False
    _descriptor: int = -1

    def start(self, descriptor: int) -> None:
        self.stop()
        self._descriptor = descriptor

    def write(self, data: bytes) -> bool:
        self.error = self.failing
        if not self.full and not self.failing:
            os.write(self._descriptor, data)
        return not self.full

    def stop(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@define
class Mount:
    """Paths by name."""

    routes: dict[str, object]

    def resolve(self, path: str) -> object:
        route = self.routes.get(path, Absent(f"No such path: {path}"))
        if isinstance(route, Exception):
            raise route
        return route

    def keys_of(self, name: str) -> tuple[str, ...]:
        return ()


@define
class Several:
    """Mounts that are asked one after the other."""

    mounts: tuple[Mount, ...]

    def resolve(self, path: str) -> object:
        return resolve(self.mounts, path)


PAGE = PageRoute("https://index.example/simple/six/", "six", (), FORMS)
FILE = FileRoute("https://files.example/a.whl", "https://files.example/a.whl", "six", None, (), True)


class Transport(StringTransport):
    """A connection that ends as a real one does: its protocol is told, once."""

    aborted = False
    ended = False
    protocol = None

    def loseConnection(self) -> None:  # noqa: N802
        super().loseConnection()
        self.end()

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True
        super().abortConnection()

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@define
class Response:
    """A parsed answer; `whole` is False when the framing says that something is missing."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool
    rest: bytes

    def __getitem__(self, name: str) -> str:
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) == 1, (name, values)
        return values[0]

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.headers)


def parse(raw: bytes, head: bool = False) -> Response:
    """The first answer in `raw`."""
    top, _, rest = raw.partition(b"\r\n\r\n")
    status_line, *lines = top.decode("ascii").split("\r\n")
    _, status, reason = status_line.split(" ", 2)
    headers = [tuple(line.split(": ", 1)) for line in lines]
    response = Response(int(status), reason, headers, b"", True, b"")
    if head or response.status == 304:
        response.rest = rest
    elif "transfer-encoding" in response:
        _dechunk(response, rest)
    else:
        length = int(response["content-length"]) if "content-length" in response else len(rest)
        response.body, response.rest = rest[:length], rest[length:]
        response.whole = len(response.body) == length
    return response


def _dechunk(response: Response, rest: bytes) -> None:
    while True:
        size, found, rest = rest.partition(b"\r\n")
        length = int(size, 16) if found else 0
        response.body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            response.whole, response.rest = bool(found), rest
            return


class Turning(Clock):
    """`advance` is one turn, as of a real reactor: what a call schedules waits for the next turn."""

    def advance(self, amount: float) -> None:
        self.rightNow += amount
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


@define
class Inventory:
    """Notes what was wanted."""

    wanted: list[tuple[str, Wanted]]

    async def entries(self, wanted: Wanted) -> dict[str, object]:
        self.wanted.append(("entries", wanted))
        return {"entries": []}

    async def names(self, wanted: Wanted) -> dict[str, object]:
        self.wanted.append(("names", wanted))
        return {"names": []}


class Web:
    """A site in memory. `services` are overridden by keyword."""

    def __init__(self, **services: object) -> None:
        self.clock = Turning()
        self.clock.rightNow = NOW
        self.events: list[object] = []
        self.purged: list[Purge] = []
        self.listed: list[tuple[str, Wanted]] = []
        self.pages = Pages({("json", "identity"): b"{}", ("html", "identity"): b"<html>", ("html", "gzip"): b"<gz>"})
        self.files = Files(FileAnswer(3, "ab" * 32, None, HIT))
        self.mount = Mount({"/simple/six/": PAGE, "/packages/a.whl": FILE})
        given: dict[str, object] = {
            "mount": self.mount,
            "pages": self.pages,
            "files": self.files,
            "workers": InlineWorkers(),
            "observer": self.events.append,
            "clock": self.clock,
            "readiness": Readiness(True),
            "purger": self,
            "status": Status(),
            "metrics": lambda accept: ("text/plain", b"# metrics\n"),
            "inventory": Inventory(self.listed),
        }
        self.site = CacheSite(ProxyResource(Services(**(given | services))), self.clock, self.events.append)

    async def purge(self, wanted: Purge, done: Purged) -> None:
        """See `interfaces.purging.Purger`."""
        self.purged.append(wanted)
        if wanted.name != "unknown":
            done.names, done.pages, done.files, done.size = 1, 1, 1, 7

    def connect(self, peer: object = None) -> Transport:
        transport = Transport(peerAddress=peer or IPv4Address("TCP", "192.0.2.7", 4000))
        transport.protocol = self.site.buildProtocol(None)
        transport.protocol.makeConnection(transport)
        return transport

    def raw(self, data: bytes, peer: object = None) -> Transport:
        """Send bytes on a new connection and let the reactor turn."""
        transport = self.connect(peer)
        transport.protocol.dataReceived(data)
        self.turn()
        return transport

    def turn(self, times: int = 50) -> None:
        for _ in range(times):
            self.clock.advance(0)

    def ask(self, path: str, *headers: str, method: str = "GET", host: str = "cache.example", peer: object = None):
        """One request; its parsed answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        transport = self.raw("\r\n".join(lines).encode("latin-1"), peer)
        return parse(transport.value(), head=method == "HEAD")
