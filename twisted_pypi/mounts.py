"""All mounts under some settings: in which order a path is shown to them, and who of them knows an index's files."""

from __future__ import annotations

from attrs import frozen

from twisted_pypi.interfaces import Mount
from twisted_pypi.model import PageRoute
from twisted_pypi.npm.mount import NpmMount
from twisted_pypi.portions import named_mounts
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.settings import Settings


@frozen
class Mounts:
    """The index, each index of the file alone, and npm's registries."""

    index: IndexMount
    named: tuple[NamedMount, ...] = ()
    npm: tuple[NpmMount, ...] = ()

    @property
    def serving(self) -> tuple[Mount, ...]:
        """In the order in which they are asked; the last one says what a path is that none knows."""
        return (*self.named, self.index, *self.npm)

    @property
    def purged(self) -> tuple[Mount, ...]:
        """In the order in which a name is purged."""
        return (self.index, *self.named, *self.npm)

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
