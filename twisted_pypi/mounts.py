"""All mounts under some settings as one: who of them knows a path, a name, an index's files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from attrs import field, frozen

from twisted_pypi.errors import Absent, CacheError
from twisted_pypi.interfaces import Mount
from twisted_pypi.model import Alternatives, PageRoute, Route
from twisted_pypi.npm.mount import NpmMount
from twisted_pypi.portions import named_mounts
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.settings import Settings


@frozen
class Mounts:
    """`interfaces.Mount` for all there is: npm's registries, each index of the file alone, and the index."""

    index: IndexMount
    named: tuple[NamedMount, ...] = ()
    npm: tuple[NpmMount, ...] = ()
    _indexes: tuple[Mount, ...] = field(init=False, repr=False, eq=False)

    @_indexes.default
    def _make_indexes(self) -> tuple[Mount, ...]:
        return (*self.named, self.index)

    def resolve(self, path: str) -> Route | Alternatives:
        """As the registry says whose path it is, else the first of the others that knows it."""
        for mount in self.npm:
            if mount.covers(path):
                return mount.resolve(path)
        return resolve(self._indexes, path)

    @property
    def names(self) -> frozenset[str]:
        """The first segments of the paths of indexes alone and of registries, as metrics and log tell them apart."""
        npm = (mount.path.split("/")[1] for mount in self.npm)
        return frozenset((*(mount.name for mount in self.named), *npm))

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """What each of them has of that name."""
        found: list[PageRoute] = []
        mounts: tuple[Mount, ...] = (self.index, *self.named, *self.npm)
        for mount in mounts:
            with suppress(CacheError):
                found += mount.pages_of(name)
        return tuple(found)

    def name_of(self, index: str, key: str) -> str:
        """The name of the first that has one for it."""
        mounts: tuple[Mount, ...] = (self.index, *self.npm)
        return next(filter(None, (mount.name_of(index, key) for mount in mounts)), "")

    def permits(self, index: str, url: str) -> bool:
        """See `caching.knowledge.Permits`."""
        return self._of(index).permits(index, url)

    def at_home(self, index: str, url: str) -> bool:
        """See `caching.knowledge.AtHome`."""
        return self._of(index).at_home(index, url)

    def page_of(self, index: str, url: str) -> PageRoute | None:
        """See `caching.knowledge.PageOf`."""
        return self._of(index).page_of(index, url)

    def _of(self, index: str) -> IndexMount | NpmMount:
        return next((mount for mount in self.npm if mount.registry.name == index), self.index)


def resolve(mounts: Iterable[Mount], path: str) -> Route | Alternatives:
    """The route of the first mount that knows the path. Raises what the last one raises."""
    error = Absent("nothing is served here")
    for mount in mounts:
        try:
            return mount.resolve(path)
        except Absent as absent:
            error = absent
    raise error


def mounts_of(settings: Settings) -> Mounts:
    """The mounts under these settings."""
    npm = tuple(NpmMount(registry.path, registry.upstream) for registry in settings.npm)
    return Mounts(IndexMount(settings.indexes, alone=bool(npm)), named_mounts(settings.indexes), npm)
