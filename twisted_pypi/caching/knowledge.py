"""What is known of a file before it is fetched: who named it, its digest and its size.

Laws: an index's own page rules what its files are; no other index's page replaces that, and at its own origins it is
heard before all others; below an index's own name no other one's page permits a file, stored or not; a digest in the
path counts only where no page names the file; where nobody announced a digest, the one at the first download counts
from then on; a file that no page names is fetched only from an origin the operator configured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, evolve, field, frozen

from twisted_pypi.answers import Asker
from twisted_pypi.errors import Absent, CacheError, Forbidden
from twisted_pypi.interfaces import Facts, Pages
from twisted_pypi.model import FileLink, FileRoute, PageRoute
from twisted_pypi.records import NamedLink, StoredFile
from twisted_pypi.urls import key_of

COMPANION = ".metadata"
"""What a companion's path has behind that of its file (PEP 658)."""

Permits = Callable[[str, str], bool]
"""Whether pages of the index (first argument) may name files at the URL (second)."""

AtHome = Callable[[str, str], bool]
"""Whether the URL (second argument) is at one of the origins that are configured for the index (first)."""


def _nowhere(index: str, url: str) -> bool:
    return False


PageOf = Callable[[str, str], PageRoute | None]
"""The page of the index (first argument) that would name the file at the URL (second)."""


def no_page(index: str, url: str) -> PageRoute | None:
    """The default: none can be told."""
    return None


Ground = tuple[tuple[NamedLink, ...], tuple[str, Mapping[str, float]] | None]
"""What is known of a file rests on these links; without a digest in them, on its index's mark at first download too."""


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
    at_home: AtHome = _nowhere
    page_of: PageOf = no_page

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

    def at_hand(self, route: FileRoute) -> tuple[Known, Ground] | None:
        """Like `recorded`, if that can be told in memory alone; and what it rests on."""
        links = self.facts.hot_links(route.companion_of or route.key)
        if links is None:
            return None
        known = _said_of(route, self._first(route, links))
        if not self.allows(route, known):
            return None
        if known.hashes:
            return known, (links, None)
        first = self.facts.hot_marks(first_of(known.index), route.key)
        return None if first is None else (_with_first(known, first), (links, (known.index, first)))

    def holds(self, route: FileRoute, ground: Ground) -> bool:
        """Whether `at_hand` would still say the same."""
        links, first = ground
        if self.facts.hot_links(route.companion_of or route.key) != links:
            return False
        return first is None or self.facts.hot_marks(first_of(first[0]), route.key) == first[1]

    def allows(self, route: FileRoute, known: Known) -> bool:
        """Whether the file may be served from the store: what is `alone` only if it could be fetched as well."""
        return not route.alone or route.open or (known.named and self.permits(known.index, known.url))

    async def renewed(self, index: str, url: str, client: str) -> str | None:
        """Where the index says that the file at `url` (with its query) is, once its page was read anew.

        None if it says nothing else.
        """
        page = self.page_of(index, url)
        if page is None:
            return None
        await self.pages.renew(page, client)
        said = await self.said(index, url)
        return None if said == url else said

    async def said(self, index: str, url: str) -> str | None:
        """Where the index's page last said that this file, or companion of a file, is; None if nowhere it may be."""
        key = key_of(url)
        for file, where in ((key, _file_url), (key.removesuffix(COMPANION), _companion_url)):
            said = next((where(named.link) for named in await self.facts.links(file) if named.index == index), None)
            if said is not None and key_of(said) == key:
                return said if self.permits(index, said) else None
        return None

    async def remember(self, file: StoredFile) -> None:
        """Nobody announced a digest of the file: what it was at its first download is what it has to be."""
        await self.facts.mark(first_of(file.index), file.key, file.sha256, float("inf"))

    async def forget(self, index: str, keys: list[str]) -> None:
        """What the index's files were at their first download counts no more."""
        await self.facts.unmark(first_of(index), keys)

    async def withhold(self, route: FileRoute, known: Known) -> None:
        """This companion can't be had: the page that announced it is not to do so any more."""
        if route.pages is not None and route.companion_of:
            await self.pages.withhold(route.pages, known.index, route.companion_of)

    async def _known(self, route: FileRoute, link: NamedLink | None) -> Known:
        known = _said_of(route, link)
        if known.hashes:
            return known
        return _with_first(known, await self.facts.marks(first_of(known.index), route.key))

    async def _link(self, route: FileRoute) -> NamedLink | None:
        link = await self._said(route)
        if link is not None and not self.permits(link.index, link.link.url):
            raise Forbidden(f"{route.name!r} is at a host that its index may not name: allow it with --file-host")
        return link

    async def _said(self, route: FileRoute) -> NamedLink | None:
        return self._first(route, await self.facts.links(route.companion_of or route.key))

    def _first(self, route: FileRoute, named: tuple[NamedLink, ...]) -> NamedLink | None:
        """What an index at home there said of the file, else the first in order whose page named it."""
        said = {link.index: link for link in named}
        wanted = (route.index,) if route.index is not None else route.indexes
        links = [said[index] for index in wanted if index in said]
        if len(links) > 1:
            links.sort(key=lambda link: not self.at_home(link.index, route.url))
        return links[0] if links else None

    def overrules(self, route: FileRoute, index: str, other: str) -> bool:
        """Whether what `index` says of the file has the one dropped that is stored for the index `other`."""
        if index == other or route.index is not None:
            return True
        strange = other not in route.indexes or self.at_home(index, route.url)
        return strange and not self.at_home(other, route.url)

    async def _link_from_page(self, route: FileRoute, client: str) -> NamedLink | None:
        if route.pages is None:
            return None
        try:
            await self.pages.answer(route.pages, Asker(client))
        except CacheError:
            return None
        return await self._link(route)


def agrees(have: Mapping[str, str], hashes: Mapping[str, str]) -> bool | None:
    """Whether a file with the digests `have` is what `hashes` announce; None: that can't be told without reading it."""
    if any(have.get(algorithm, digest) != digest for algorithm, digest in hashes.items()):
        return False
    return True if hashes.keys() <= have.keys() else None


def first_of(index: str) -> str:
    """The kind of mark (`Facts.mark`) for what the index's files were at their first download."""
    return f"first {index}"


def _with_first(known: Known, first: Mapping[str, float]) -> Known:
    return evolve(known, hashes={"sha256": min(first)}) if first else known


def _said_of(route: FileRoute, link: NamedLink | None) -> Known:
    if link is None:
        return Known(route.url, route.index or route.indexes[-1], route.path_hashes)
    return _of_companion(route, link) if route.companion_of else _of_link(link)


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


def _file_url(link: FileLink) -> str:
    return link.url


def _companion_url(link: FileLink) -> str:
    path, question, query = link.url.partition("?")
    return f"{path}{COMPANION}{question}{query}"


def file_of(companion: Known) -> Known:
    """The file that a companion is beside, of which no more is known than that a page named it."""
    path, question, query = companion.url.partition("?")
    return evolve(companion, url=f"{path.removesuffix(COMPANION)}{question}{query}", hashes={}, size=None)
