"""What is known of a file before it is fetched: who named it, its digest and its size.

Laws: an index's own page rules what its files are; no other index's page replaces that; a digest in the path counts
only where no page names the file; where nobody announced a digest, the one at the first download counts from then on;
a file that no page names is fetched only from an origin the operator configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, evolve, field, frozen

from twisted_pypi.answers import Asker
from twisted_pypi.errors import Absent, CacheError, Forbidden
from twisted_pypi.interfaces import Facts, Pages
from twisted_pypi.model import FileLink, FileRoute
from twisted_pypi.records import NamedLink, StoredFile

_SUFFIX = ".metadata"

Permits = Callable[[str, str], bool]
"""Whether pages of the index (first argument) may name files at the URL (second)."""


@frozen
class Known:
    """What is known of one file.

    `named`: a page of `index` named `url`; of a companion, `announced`: and the companion itself; of a file that could
    have one, `accompanied`: and its companion.
    """

    url: str
    index: str
    hashes: Mapping[str, str] = field(factory=dict)
    size: int | None = None
    named: bool = False
    announced: bool = True
    accompanied: bool = True

    @property
    def sha256(self) -> str:
        """The announced SHA-256, "" if there is none."""
        return self.hashes.get("sha256", "")


@define
class Knowledge:
    """Looks files up in what pages said, reading the project's page where nothing is recorded yet."""

    facts: Facts
    pages: Pages
    permits: Permits

    async def of(self, route: FileRoute, client: str) -> Known:
        """What is known of the route's file. Raises `Absent` or `Forbidden` when it may not be fetched at all."""
        link = await self._link(route) or await self._link_from_page(route, client)
        if link is None and not route.open:
            if route.index is not None:
                raise Absent(f"no page names {route.name!r} at this path")
            raise Forbidden(
                f"no page names {route.name!r} at this address: if its host is to be trusted, add it with --file-host"
            )
        return await self._known(route, link)

    async def recorded(self, route: FileRoute) -> Known:
        """Like `of`, from what is recorded alone: no page is read, and nothing is refused."""
        return await self._known(route, await self._said(route))

    async def remember(self, file: StoredFile) -> None:
        """Nobody announced a digest of the file: what it was at its first download is what it has to be."""
        await self.facts.mark(_first_of(file.index), file.key, file.sha256, float("inf"))

    async def forget(self, index: str, keys: list[str]) -> None:
        """What the index's files were at their first download counts no more."""
        await self.facts.unmark(_first_of(index), keys)

    async def withhold(self, route: FileRoute, known: Known) -> None:
        """This companion can't be had: the page that announced it is not to do so any more."""
        if route.pages is not None and route.companion_of:
            await self.pages.withhold(route.pages, known.index, route.companion_of)

    async def _known(self, route: FileRoute, link: NamedLink | None) -> Known:
        if link is None:
            known = Known(route.url, route.index or route.indexes[-1], route.path_hashes)
        else:
            known = _of_companion(route, link) if route.companion_of else _of_link(link)
        if known.hashes:
            return known
        first = await self.facts.marks(_first_of(known.index), route.key)
        return evolve(known, hashes={"sha256": min(first)}) if first else known

    async def _link(self, route: FileRoute) -> NamedLink | None:
        link = await self._said(route)
        if link is not None and not self.permits(link.index, link.link.url):
            raise Forbidden(f"{route.name!r} is at a host that its index may not name: allow it with --file-host")
        return link

    async def _said(self, route: FileRoute) -> NamedLink | None:
        """The link of the first index in order whose page named the file."""
        said = {named.index: named for named in await self.facts.links(route.companion_of or route.key)}
        wanted = (route.index,) if route.index is not None else route.indexes
        return next((said[index] for index in wanted if index in said), None)

    async def _link_from_page(self, route: FileRoute, client: str) -> NamedLink | None:
        if route.pages is None:
            return None
        try:
            await self.pages.answer(route.pages, Asker(client))
        except CacheError:
            return None
        return await self._link(route)


def agrees(file: StoredFile, hashes: Mapping[str, str]) -> bool | None:
    """Whether a stored file is what `hashes` announce; None when that can't be told without reading it."""
    have = {**file.hashes, "sha256": file.sha256}
    if any(have.get(algorithm, digest) != digest for algorithm, digest in hashes.items()):
        return False
    return True if hashes.keys() <= have.keys() else None


def _first_of(index: str) -> str:
    """The kind of mark (`Facts.mark`) for what the index's files were at their first download."""
    return f"first {index}"


def _of_link(named: NamedLink) -> Known:
    link = named.link
    accompanied = link.metadata is not None
    return Known(link.url, named.index, link.hashes, link.size, named=True, accompanied=accompanied)


def _of_companion(route: FileRoute, named: NamedLink) -> Known:
    """The `.metadata` of a named file (PEP 658): its URL is the file's, with the suffix before any query."""
    link = named.link
    url = _companion_url(link)
    if link.metadata is None:
        return Known(url, named.index, named=True, announced=False)
    return Known(url, named.index, link.metadata, named=True)


def _companion_url(link: FileLink) -> str:
    path, question, query = link.url.partition("?")
    return f"{path}{_SUFFIX}{question}{query}"


def file_of(companion: Known) -> Known:
    """The file that a companion is beside, of which no more is known than that a page named it."""
    path, question, query = companion.url.partition("?")
    return evolve(companion, url=f"{path.removesuffix(_SUFFIX)}{question}{query}", hashes={}, size=None)
