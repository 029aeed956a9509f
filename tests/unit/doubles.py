"""Doubles for what caching stands on, as strict as the real things."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.model import FetchRequest, FileLink, Form, PageBody, PageRoute, PageSource

PLAIN = Form("text", "text/plain", ("text/plain",))


class InlineWorkers:
    """Runs the work at once, in the reactor thread."""

    def run(self, work, *args):
        try:
            return succeed(work(*args))
        except Exception:
            failed: Deferred[None] = Deferred()
            failed.errback()
            return failed


@define
class FakeBody:
    """A body that came in `pieces`; ends with `failure` if there is one."""

    pieces: list[bytes]
    length: int | None = None
    delimited: bool = True
    failure: UpstreamFailed | None = None
    abandoned: bool = False

    async def read(self) -> bytes:
        assert not self.abandoned
        if self.pieces:
            return self.pieces.pop(0)
        if self.failure:
            raise self.failure
        return b""

    def abandon(self) -> None:
        self.abandoned = True


@define
class FakeFetched:
    """Upstream's answer."""

    status: int
    headers: Mapping[str, str]
    body: FakeBody
    url: str
    seconds: float = 0.1


def answer(status: int, text: bytes = b"", **headers: str) -> FakeFetched:
    """An answer with a text body; header names with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return FakeFetched(status, named, FakeBody([text] if text else [], len(text)), "")


@define
class FakeUpstream:
    """Every fetch waits until the test answers it, in any order."""

    requests: list[FetchRequest] = field(factory=list)
    waiting: list[tuple[FetchRequest, Deferred]] = field(factory=list)
    down: set[str] = field(factory=set)
    probe_due: bool = False
    refused: list[FakeFetched] = field(factory=list)
    elsewhere: int = 0

    def fetch(self, request: FetchRequest):
        self.requests.append(request)
        fetching: Deferred = Deferred()
        self.waiting.append((request, fetching))
        return fetching

    def is_down(self, url: str) -> bool:
        return url in self.down

    def may_probe(self, url: str) -> bool:
        return url in self.down and self.probe_due

    def refuse(self, fetched: FakeFetched) -> bool:
        self.refused.append(fetched)
        return len(self.refused) <= self.elsewhere

    def answer(self, fetched: FakeFetched) -> FetchRequest:
        """Answer the oldest request that waits."""
        request, fetching = self.waiting.pop(0)
        fetched.url = fetched.url or request.url
        fetching.callback(fetched)
        return request

    def fail(self, reason: str = "connection refused", **more) -> FetchRequest:
        """Fail the oldest request that waits."""
        return self.fail_with(UpstreamFailed(reason, self.waiting[0][0].url, unreachable=True, **more))

    def fail_with(self, failure: UpstreamFailed) -> FetchRequest:
        """Fail it with this."""
        request, fetching = self.waiting.pop(0)
        fetching.errback(failure)
        return request


@define
class TextDocument:
    """A page that is one text; lines `file URL ALGORITHM HEX` are links."""

    text: bytes
    version: int | None = None

    def links(self):
        for line in self.text.decode().splitlines():
            match line.split():
                case ["file", url, algorithm, digest]:
                    yield FileLink(url, {algorithm: digest}, metadata={algorithm: digest})
                case ["file", url]:
                    yield FileLink(url)

    def render(self, body: str):
        assert body == "text"
        return [self.text]


def interpret(body: PageBody) -> TextDocument:
    """The document; `ValueError` for a login page."""
    text = body.stream.read()
    if b"login" in text:
        raise ValueError("a login page")
    return TextDocument(text)


def source(index: str = "main", name: str = "thing", ttl: float = 300.0) -> PageSource:
    """The page of `name` at an index."""
    url = f"https://{index}.example/simple/{name}/"
    return PageSource(index, url, url, "text/plain", ttl, 60.0, interpret)


def page_route(*sources: PageSource, name: str = "thing") -> PageRoute:
    """A route over those sources, owned by the first that has it when there are several."""
    return PageRoute(f"simple/{name}", name, sources, (PLAIN,), owner=name if len(sources) > 1 else None)


def scratch():
    """An empty file for a body."""
    return tempfile.SpooledTemporaryFile(1 << 20)
