"""Of which project a request was, as its path tells."""

from __future__ import annotations

from attrs import frozen

from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Mount
from twisted_pypi.model import Alternatives, FileRoute, PageRoute, Route
from twisted_pypi.status.usage import Used


@frozen
class Naming:
    """What paths mean to `mounts`, which are asked in order, below `prefix` ("" or "/path")."""

    mounts: tuple[Mount, ...]
    prefix: str

    def used(self, path: str) -> Used | None:
        """The project at a path that was answered, and the indexes that may have it; None where no project is."""
        if not path.startswith(f"{self.prefix}/"):
            return None
        for mount in self.mounts:
            try:
                return _used(mount.resolve(path[len(self.prefix) :]))
            except CacheError:
                continue
        return None


def _used(route: Route | Alternatives) -> Used | None:
    match route:
        case Alternatives(pages):
            return _used(pages[0])
        case PageRoute() if route.name:
            return route.name, frozenset(source.index for source in route.sources)
        case FileRoute() if route.pages is not None:
            return route.pages.name, frozenset((route.index,) if route.index is not None else route.indexes)
    return None
