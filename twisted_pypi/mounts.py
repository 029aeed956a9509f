"""All mounts under some settings: in which order a path is shown to them, and who of them knows an index's files."""

from __future__ import annotations

from attrs import frozen

from twisted_pypi.interfaces import Mount
from twisted_pypi.model import Alternatives, PageRoute, Route
from twisted_pypi.npm.mount import NpmMount
from twisted_pypi.portions import named_mounts
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.settings import Settings


@frozen
class Registries:
    """`interfaces.Mount` for several registries, of which no two know the same path."""

    mounts: tuple[NpmMount, ...]

    def resolve(self, path: str) -> Route | Alternatives:
        """As the registry does whose path it is; the first says what is none's."""
        return next((mount for mount in self.mounts if mount.covers(path)), self.mounts[0]).resolve(path)

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages of a package, of each registry. Raises `Absent` for what is no package name."""
        return tuple(page for mount in self.mounts for page in mount.pages_of(name))

    def name_of(self, index: str, key: str) -> str:
        """The package that a stored page or tarball is of, by the first registry that knows it."""
        return next(filter(None, (mount.name_of(index, key) for mount in self.mounts)), "")


@frozen
class Mounts:
    """The index, each index of the file alone, and npm's registries."""

    index: IndexMount
    named: tuple[NamedMount, ...] = ()
    npm: tuple[NpmMount, ...] = ()

    @property
    def serving(self) -> tuple[Mount, ...]:
        """In the order in which they are asked; the last one says what a path is that none knows."""
        return (*self.named, self.index, *self._registries)

    @property
    def purged(self) -> tuple[Mount, ...]:
        """In the order in which a name is purged."""
        return (self.index, *self.named, *self._registries)

    @property
    def names(self) -> frozenset[str]:
        """The first segments of the paths of indexes alone and of registries, as metrics and log tell them apart."""
        npm = (mount.path.split("/")[1] for mount in self.npm)
        return frozenset((*(mount.name for mount in self.named), *npm))

    @property
    def _registries(self) -> tuple[Registries, ...]:
        return (Registries(self.npm),) if self.npm else ()

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


def mounts_of(settings: Settings) -> Mounts:
    """The mounts under these settings."""
    npm = tuple(NpmMount(registry.path, registry.upstream) for registry in settings.npm)
    return Mounts(IndexMount(settings.indexes), named_mounts(settings.indexes), npm)
