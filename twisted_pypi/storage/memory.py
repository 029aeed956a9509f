"""The store in memory: for tests, as strict as the one on disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count

from attrs import define, evolve, field

from twisted_pypi.answers import ByteSource
from twisted_pypi.digests import Digests
from twisted_pypi.interfaces import Facts, FileStore, PageStore
from twisted_pypi.model import Document, FileLink
from twisted_pypi.records import NamedLink, PageMeta, PartialOrigin, Representation, StoredFile, StoredPage
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.memory_partial import MemoryPartial, MemoryReader
from twisted_pypi.storage.rendering import rendered
from twisted_pypi.storage.rows import link_row, link_rows, named_link
from twisted_pypi.storage.sources import BytesSource

__all__ = ["MemoryReader", "MemoryStore"]


@define(eq=False)
class MemoryFacts:
    """`interfaces.Facts` in dictionaries."""

    _links: dict[str, dict[str, NamedLink]] = field(factory=dict, init=False)
    _owners: dict[str, str] = field(factory=dict, init=False)
    _marks: dict[tuple[str, str], dict[str, float]] = field(factory=dict, init=False)

    def hot_links(self, key: str) -> tuple[NamedLink, ...]:
        """The links of this file."""
        return tuple(named for _, named in sorted(self._links.get(key, {}).items()))

    def hot_marks(self, kind: str, subject: str) -> Mapping[str, float]:
        """The marks of the subject."""
        return dict(self._marks.get((kind, subject), {}))

    async def links(self, key: str) -> tuple[NamedLink, ...]:
        """What each index's pages last said of the file with this key, in the order of their names."""
        return self.hot_links(key)

    async def record_link(self, index: str, link: FileLink) -> None:
        """Record one link outside a page. One whose URL can't be a key is left out."""
        if row := link_row(link):
            self._links.setdefault(row[0], {})[index] = named_link(index, row)

    def record(self, index: str, document: Document) -> None:
        """Record a page's links."""
        for row in link_rows(document):
            self._links.setdefault(row[0], {})[index] = named_link(index, row)

    async def owner(self, name: str) -> str | None:
        """The index that owns the name."""
        return self._owners.get(name)

    async def set_owner(self, name: str, index: str) -> None:
        """From now on only `index` is asked for `name`."""
        self._owners[name] = index

    async def forget_owner(self, name: str) -> None:
        """The next page fetch decides anew."""
        self._owners.pop(name, None)

    async def marks(self, kind: str, subject: str) -> Mapping[str, float]:
        """The values of the subject, each with the time until which it counts."""
        return self.hot_marks(kind, subject)

    async def mark(self, kind: str, subject: str, value: str, until: float) -> None:
        """Add a value, or prolong it."""
        self._marks.setdefault((kind, subject), {})[value] = until

    async def unmark(self, kind: str, subjects: list[str]) -> None:
        """Drop all values of the subjects."""
        for subject in subjects:
            self._marks.pop((kind, subject), None)


@define(eq=False)
class MemoryPages:
    """`interfaces.PageStore` in a dictionary."""

    facts: MemoryFacts
    _pages: dict[str, tuple[StoredPage, dict[str, bytes]]] = field(factory=dict, init=False)
    _inodes: Callable[[], int] = field(factory=lambda: count(1).__next__, init=False)

    def hot(self, key: str) -> StoredPage | None:
        """The page."""
        return self._pages[key][0] if key in self._pages else None

    def hot_body(self, page: StoredPage, representation: Representation) -> bytes | None:
        """The body."""
        _, bodies = self._pages.get(page.meta.key, (None, {}))
        return bodies.get(representation.digest)

    def seal(self, page: StoredPage) -> None:
        """There is no file to look at."""

    async def get(self, key: str) -> StoredPage | None:
        """The page, or None."""
        return self.hot(key)

    async def body(self, page: StoredPage, representation: Representation) -> bytes | ByteSource:
        """The body. Raises `LookupError` when the page has gone or was replaced meanwhile."""
        data = self.hot_body(page, representation)
        if data is None:
            raise LookupError(f"gone or replaced: {page.meta.key}")
        return data

    async def put(
        self, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str] = ()
    ) -> StoredPage:
        """Render and keep; whatever `document.render` raises passes through, and the old page stays."""
        page, made = rendered(meta, document, bodies, templates, self._inodes())
        self.facts.record(meta.index, document)
        self._pages[meta.key] = page, made
        return page

    async def confirm(self, page: StoredPage, now: float) -> StoredPage:
        """`validated_at` becomes `now`, in the store only if the page is still this one."""
        held = self.hot(page.meta.key)
        if held is not None and held.inode == page.inode:
            self._touch(page.meta.key, now)
        return evolve(page, validated_at=now)

    async def expire(self, key: str, validated_at: float = 0.0) -> None:
        """`validated_at` becomes that, by default 0."""
        self._touch(key, validated_at)

    async def delete(self, key: str) -> None:
        """Drop the page."""
        self._pages.pop(key, None)

    def size(self) -> int:
        """How many bytes all bodies take."""
        return sum(len(data) for _, bodies in self._pages.values() for data in bodies.values())

    def __len__(self) -> int:
        return len(self._pages)

    def _touch(self, key: str, now: float) -> None:
        if key in self._pages:
            page, bodies = self._pages[key]
            self._pages[key] = evolve(page, validated_at=now), bodies


@define(eq=False)
class MemoryFiles:
    """`interfaces.FileStore` in a dictionary."""

    limits: Limits
    _files: dict[str, tuple[StoredFile, bytes]] = field(factory=dict, init=False)
    _kept: dict[str, MemoryPartial] = field(factory=dict, init=False)

    def hot(self, key: str) -> StoredFile | None:
        """The file's record."""
        return self._files[key][0] if key in self._files else None

    def hot_body(self, file: StoredFile) -> bytes | None:
        """Its bytes, unless it has gone or was replaced."""
        held, data = self._files.get(file.key, (None, b""))
        return data if held is file and file.sha256 else None

    def unchanged(self, file: StoredFile) -> bool:
        """Whether it is still there."""
        return self.hot_body(file) is not None

    def seal(self, file: StoredFile) -> None:
        """There is no file to look at."""

    async def get(self, key: str) -> StoredFile | None:
        """The file's record, or None."""
        return self.hot(key)

    async def open(self, file: StoredFile) -> ByteSource:
        """Its bytes. Raises `LookupError` when it has gone or was replaced."""
        held, data = self._files.get(file.key, (None, b""))
        if held is None or held.sha256 != file.sha256:
            raise LookupError(f"gone or replaced: {file.key}")
        return BytesSource(data)

    async def begin(
        self, key: str, expected: int | None, algorithms: Iterable[str], origin: PartialOrigin | None = None
    ) -> MemoryPartial | None:
        """Begin a new file; None when it may not be stored. Algorithms that aren't known here are left out."""
        if not self.limits.allows(expected or 0):
            return None
        return MemoryPartial(key, self.limits, Digests(tuple(algorithms)), self.put, self._keep, origin)

    async def resume(self, key: str, algorithms: Iterable[str]) -> MemoryPartial | None:
        """What was kept of a file; None when there is nothing."""
        kept = self._kept.pop(key, None)
        if kept is None or kept.origin is None:
            return None
        data = kept.data if kept.origin.length is None else kept.data[: kept.origin.length - 1]
        resumed = await self.begin(key, len(data), algorithms, kept.origin)
        if resumed is not None:
            await resumed.write(data)
        return resumed

    async def delete(self, key: str) -> None:
        """Drop the file."""
        self._files.pop(key, None)
        self._kept.pop(key, None)

    async def drop(self, keys: list[str]) -> dict[str, int]:
        """Drop the files; the size of each that there was."""
        sizes = {key: len(self._files[key][1]) for key in keys if key in self._files}
        for key in keys:
            await self.delete(key)
        return sizes

    async def held(self, keys: list[str]) -> set[str]:
        """Which of `keys` are stored."""
        return self._files.keys() & set(keys)

    async def confirm(self, file: StoredFile, hashes: Mapping[str, str]) -> StoredFile | None:
        """The record, verified, if the file is what `hashes` announce; else it is dropped, and None."""
        held, data = self._files.get(file.key, (None, b""))
        digests = Digests(hashes)
        digests.update(data)
        answer = digests.confirms(hashes)
        if held is None or answer is None:
            return None
        if not answer:
            del self._files[file.key]
            return None
        confirmed = evolve(held, sha256=digests.hexdigest("sha256"), hashes=dict(hashes), verified=True)
        self.put(confirmed, data)
        return confirmed

    def put(self, file: StoredFile, data: bytes) -> None:
        """Keep a file, in place of what was there."""
        self._files[file.key] = file, data

    def _keep(self, partial: MemoryPartial) -> None:
        self._kept[partial.key] = partial

    def size(self) -> int:
        """How many bytes all files take."""
        return sum(len(data) for _, data in self._files.values())

    def __len__(self) -> int:
        return len(self._files)


@define(eq=False)
class MemoryStore:
    """`interfaces.Store` without a disk."""

    limits: Limits = field(factory=Limits)
    pages: PageStore = field(init=False)
    files: FileStore = field(init=False)
    facts: Facts = field(init=False)
    _pages: MemoryPages = field(init=False)
    _files: MemoryFiles = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.facts = facts = MemoryFacts()
        self.pages = self._pages = MemoryPages(facts)
        self.files = self._files = MemoryFiles(self.limits)

    async def start(self) -> None:
        """Nothing to open."""

    async def stop(self) -> None:
        """Nothing to close."""

    def usage(self) -> tuple[int, int]:
        """(entries, bytes) stored now."""
        return len(self._pages) + len(self._files), self._pages.size() + self._files.size()
