"""What is served: caching, and the meaning of paths, as `web` sees them."""

from __future__ import annotations

from typing import Protocol

from twisted_pypi.answers import Asker, ByteSource, FileAnswer, PageAnswer
from twisted_pypi.model import Alternatives, FileRoute, PageRoute, Route
from twisted_pypi.records import Representation


class Pages(Protocol):
    """Caching of pages, as `web` sees it."""

    def ready(self, route: PageRoute, asker: Asker) -> PageAnswer | None:
        """The answer if it is fresh and at hand in memory: the hit that never leaves the reactor turn."""

    async def answer(self, route: PageRoute, asker: Asker) -> PageAnswer:
        """The answer, within the client's budget of 12 s. Raises `CacheError` kinds."""

    def ready_body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource | None:
        """The body, if it can be had at once."""

    async def body(self, answer: PageAnswer, representation: Representation) -> bytes | ByteSource:
        """The body. Raises `LookupError` when the page was replaced meanwhile: ask for the answer again."""

    async def renew(self, route: PageRoute, client: str) -> None:
        """Read the page anew, once for all who wait, though it is fresh: what it said of a file is no longer right."""

    async def withhold(self, route: PageRoute, index: str, key: str) -> None:
        """The companion of the file with this key can't be had: the index's page is not to announce it any more."""


class Files(Protocol):
    """Caching of files, as `web` sees it."""

    def ready(self, route: FileRoute, asker: Asker) -> FileAnswer | None:
        """The answer if the file is stored and at hand: the hit that never leaves the reactor turn."""

    async def answer(self, route: FileRoute, asker: Asker) -> FileAnswer:
        """The file, at rest, growing or passing through. Raises `CacheError` kinds."""


class Mount(Protocol):
    """One ecosystem: what paths mean. Pure."""

    def resolve(self, path: str) -> Route | Alternatives:
        """The route of a raw (percent-encoded) path below the prefix, beginning with "/".

        Raises `Absent`, `BadPath` or `Forbidden`.
        """

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages that a purge of `name` means. Raises `Absent` for what can't be a name here."""

    def name_of(self, index: str, key: str) -> str:
        """The name by which `pages_of` knows the page or file with this key, of this index ("": not known of which).

        "" for other mounts' indexes, and where nothing tells it. Called in any thread.
        """
