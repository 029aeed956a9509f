"""What the tests of `storage` share."""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_pypi.model import FileLink
from twisted_pypi.records import PageMeta, StoredFile
from twisted_pypi.storage.disk import DiskStore
from twisted_pypi.storage.limits import Limits
from unit.doubles import InlineWorkers

KEY = "https://files.example/packages/aa/bb/cc/flask-3.0-py3-none-any.whl"
PAGE = "https://index.example/simple/flask/"


def now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result (or exception) of something that must be through already."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert results, "not through yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


@define
class Page:
    """A document whose bodies are given."""

    bodies: dict[str, list[bytes] | Exception] = field(factory=lambda: {"json": [b"{", b"}"], "html": [b"<html>"]})
    named: Iterable[FileLink] = ()
    version: int | None = None

    def links(self) -> Iterable[FileLink]:
        return self.named

    def render(self, body: str) -> Iterable[bytes]:
        chunks = self.bodies[body]
        if isinstance(chunks, Exception):
            raise chunks
        return chunks


@define
class Disk:
    """Disk stores in one directory, with what they reported."""

    path: str
    limits: Limits = field(factory=lambda: Limits(min_free=0))
    clock: Clock = field(factory=Clock)
    events: list[Any] = field(factory=list)
    store: DiskStore = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1_700_000_000)

    def start(self, settle: bool = True) -> DiskStore:
        workers = InlineWorkers()
        self.store = DiskStore(self.path, workers, workers, self.clock, self.events.append, self.limits)
        now(self.store.start())
        if settle:
            self.settle()
        return self.store

    def settle(self) -> None:
        """Let everything in the background happen."""
        self.clock.pump([0.05] * 30)

    def restart(self) -> DiskStore:
        now(self.store.stop())
        return self.start()


def meta(key: str = PAGE, **changes: Any) -> PageMeta:
    return PageMeta(**{"key": key, "index": "main", "url": key, "fetched_at": 1_700_000_000.5, **changes})


def record(data: bytes, key: str = KEY, **changes: Any) -> StoredFile:
    digest = hashlib.sha256(data).hexdigest()
    return StoredFile(**{"key": key, "index": "main", "size": len(data), "sha256": digest, "verified": True, **changes})


def put_file(store: Any, data: bytes = b"wheel", key: str = KEY, **changes: Any) -> StoredFile:
    """Store a file."""
    partial = now(store.files.begin(key, len(data), ()))
    now(partial.write(data))
    file = record(data, key, **changes)
    now(partial.publish(file))
    return file


def content(store: Any, file: StoredFile) -> bytes:
    """The bytes of a stored file."""
    source = now(store.files.open(file))
    try:
        return bytes(source.read(0, 1 << 20))
    finally:
        source.close()


def body_of(store: Any, page: Any, body: str = "json", encoding: str = "identity") -> bytes:
    """A body of a stored page, in whichever way it comes."""
    got = now(store.pages.body(page, page.representations[body, encoding]))
    if isinstance(got, bytes):
        return got
    try:
        return bytes(got.read(0, 1 << 22))
    finally:
        got.close()
