"""Local directories in the place of upstream: their pages as fetches, their files straight from where they lie.

Both are wrappers: what isn't about a directory goes on to what is beyond.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from attrs import define, field, frozen

from twisted_pypi.answers import Asker, ByteSource, CacheState, FileAnswer, Provenance
from twisted_pypi.directories.addresses import file_in, host_in, origin_of_directory, project_in
from twisted_pypi.directories.reading import metadata_in, open_same
from twisted_pypi.directories.shelf import Item, Shelf
from twisted_pypi.directories.watching import Watch
from twisted_pypi.errors import Absent, Unavailable, UpstreamFailed
from twisted_pypi.interfaces import Fetched, FetchedBody, Files, Upstream, Workers
from twisted_pypi.model import FetchRequest, FileRoute
from twisted_pypi.storage.sources import BytesSource, FileSource
from twisted_pypi.storage.tasks import Tasks

_T = TypeVar("_T")

_JSON = "application/vnd.pypi.simple.v1+json"
_METADATA = ".metadata"


class DirectorySpec(Protocol):
    """An index as configured."""

    @property
    def name(self) -> str:
        """The index's name."""

    @property
    def path(self) -> str:
        """Where the directory is; "" for an index that is no local directory."""

    @property
    def metadata(self) -> bool:
        """Whether `.metadata` is made of its wheels."""


@define(eq=False)
class Directories:
    """The directories that are indexes. `watch` makes the watch of an index's name and a path."""

    watch: Callable[[str, str], Watch]
    _specs: Iterable[DirectorySpec] = ()
    _watches: dict[str, tuple[Watch, DirectorySpec]] = field(factory=dict, init=False)
    _running: bool = field(default=False, init=False)

    def use(self, indexes: Iterable[DirectorySpec]) -> None:
        """Serve these from now on. A directory that stays is not looked through anew."""
        self._specs = tuple(index for index in indexes if index.path)
        if not self._running:
            return
        kept = {}
        for spec in self._specs:
            host = host_in(origin_of_directory(spec.name))
            old = self._watches.get(host)
            if old is not None and (old[0].index, old[0].root) == (spec.name, spec.path):
                kept[host] = old[0], spec
                del self._watches[host]
            else:
                kept[host] = self.watch(spec.name, spec.path), spec
                kept[host][0].start()
        self._end()
        self._watches = kept

    def start(self) -> None:
        """Begin to look through them."""
        self._running = True
        self.use(self._specs)

    def stop(self) -> None:
        """End, also what is being read."""
        self._running = False
        self._end()
        self._watches = {}

    def at(self, url: str) -> tuple[Watch, DirectorySpec] | None:
        """The directory that a URL or key is of."""
        return self._watches.get(host_in(url))

    def _end(self) -> None:
        for watch, _ in self._watches.values():
            watch.stop()


@define(eq=False)
class _Body:
    """An `interfaces.FetchedBody` over bytes."""

    _data: bytes
    length: int | None = field(init=False)
    delimited: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self.length = len(self._data)

    async def read(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def abandon(self) -> None:
        self._data = b""


@define(eq=False)
class _Answer:
    """An `interfaces.Fetched`."""

    status: int
    url: str
    headers: Mapping[str, str] = field(factory=dict)
    body: FetchedBody = field(factory=lambda: _Body(b""))
    seconds: float = 0.0


@frozen
class DirectoryUpstream:
    """`interfaces.Upstream` with the pages of directories; all else is asked `beyond`."""

    beyond: Upstream
    directories: Directories

    async def fetch(self, request: FetchRequest) -> Fetched:
        """See `interfaces.Upstream`. A directory that can't be read has failed, it doesn't lack anything."""
        if not host_in(request.url):
            return await self.beyond.fetch(request)
        found = self.directories.at(request.url)
        if found is None:
            raise UpstreamFailed("is no directory that is configured", request.url)
        watch, spec = found
        project = project_in(request.url)
        shelf = await watch.shelf(lambda shelf: shelf.projects.get(project or "", ()))
        if shelf is None:
            raise UpstreamFailed(watch.failure, request.url, unreachable=True)
        return _conditional(request, _page(shelf, spec, request.url))

    def is_down(self, url: str) -> bool:
        """See `interfaces.Upstream`."""
        found = self.directories.at(url)
        return bool(found[0].failure) if found else self.beyond.is_down(url)

    def may_probe(self, url: str) -> bool:
        """See `interfaces.Upstream`. A directory is looked for anyhow."""
        return not host_in(url) and self.beyond.may_probe(url)

    def refuse(self, fetched: Fetched) -> bool:
        """See `interfaces.Upstream`. There is no other place of a directory."""
        return not host_in(fetched.url) and self.beyond.refuse(fetched)


def _page(shelf: Shelf, spec: DirectorySpec, url: str) -> bytes | None:
    """The body of a page, None if there is no such. Raises `UpstreamFailed` where it can't be told yet."""
    project = project_in(url)
    if project == "":
        return shelf.listing()
    if project is None or project not in shelf.projects:
        return None
    page = shelf.page(project, spec.metadata)
    if page is None:
        raise UpstreamFailed("its files are being read", url)
    return page


def _conditional(request: FetchRequest, body: bytes | None) -> _Answer:
    if body is None:
        return _Answer(404, request.url)
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        return _Answer(304, request.url, {"etag": etag})
    return _Answer(200, request.url, {"etag": etag, "content-type": _JSON}, _Body(body))


@define(eq=False)
class DirectoryFiles:
    """`interfaces.Files` with the files of directories; all others are had from `beyond`.

    Nothing is copied: a file is opened where it lies if it still is the one that was read, and who has it open gets it
    to its end though it is removed meanwhile. `workers` open files and read metadata.
    """

    beyond: Files
    directories: Directories
    workers: Workers
    _tasks: Tasks = field(factory=Tasks, init=False)

    def ready(self, route: FileRoute, asker: Asker) -> FileAnswer | None:
        """See `interfaces.Files`. What is in a directory is opened each time."""
        return None if host_in(route.key) else self.beyond.ready(route, asker)

    async def answer(self, route: FileRoute, asker: Asker) -> FileAnswer:
        """See `interfaces.Files`."""
        if not host_in(route.key):
            return await self.beyond.answer(route, asker)
        found = self.directories.at(route.key)
        if found is None or found[1].name not in route.indexes:
            raise Absent(f"{route.name}: no directory of this index has it")
        watch, spec = found
        name = file_in(route.key)
        shelf = await watch.shelf(lambda _: (name.removesuffix(_METADATA),))
        if shelf is None:
            raise Unavailable(f"{route.name}: {watch.failure}")
        item = shelf.items.get(name)
        if item is not None:
            return await self._whole(watch, route, item, asker)
        item = shelf.items.get(name.removesuffix(_METADATA))
        if item is not None and item.reading.metadata and spec.metadata:
            return await self._metadata(watch, route, item, asker)
        if name.removesuffix(_METADATA) in shelf.waiting:
            raise Unavailable(f"{route.name}: it is being read")
        raise Absent(f"{route.name}: the directory does not have it")

    async def _whole(self, watch: Watch, route: FileRoute, item: Item, asker: Asker) -> FileAnswer:
        source: ByteSource | None = None
        if not asker.head:
            opening = self._in_thread(_open, watch, route, item)
            source = await self._tasks.run(opening, FileSource.close)
        return FileAnswer(item.stamp.size, item.reading.sha256, source, Provenance(CacheState.HIT, index=watch.index))

    async def _metadata(self, watch: Watch, route: FileRoute, item: Item, asker: Asker) -> FileAnswer:
        body = await self._in_thread(_metadata, watch, route, item)
        source = None if asker.head else BytesSource(body)
        return FileAnswer(len(body), item.reading.metadata, source, Provenance(CacheState.HIT, index=watch.index))

    async def _in_thread(self, work: Callable[[str, Item], _T], watch: Watch, route: FileRoute, item: Item) -> _T:
        """What `work` makes of the file. Raises `Absent` if it has gone, `Unavailable` if it is another one now."""
        try:
            return await self.workers.run(work, os.path.join(watch.root, item.path), item)
        except FileNotFoundError as error:
            raise Absent(f"{route.name}: the directory has it no more") from error
        except (OSError, LookupError, ValueError) as error:
            raise Unavailable(f"{route.name}: {error}") from error


def _open(path: str, item: Item) -> FileSource:
    with open_same(path, item.stamp) as file:
        return FileSource(os.dup(file.fileno()), 0, item.stamp.size)


def _metadata(path: str, item: Item) -> bytes:
    """The file's metadata, as announced. Raises `ValueError` for another one."""
    with open_same(path, item.stamp) as file:
        body = metadata_in(file, path)
    if hashlib.sha256(body).hexdigest() != item.reading.metadata:
        raise ValueError("its metadata is not what it was")
    return body
