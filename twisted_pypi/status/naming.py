"""Of which project a request was, as its path tells."""

from __future__ import annotations

from attrs import frozen

from twisted_pypi.errors import CacheError
from twisted_pypi.interfaces import Mount
from twisted_pypi.model import Alternatives, FileRoute, PageRoute, Route
from twisted_pypi.status.usage import Used


@frozen
class Naming:
    """What paths mean to `mount`, below `prefix` ("" or "/path")."""

    mount: Mount
    prefix: str

    def used(self, path: str) -> Used | None:
        """The project at a path that was answered, and the indexes that may have it; None where no project is."""
        if not path.startswith(f"{self.prefix}/"):
            return None
        try:
            return _used(self.mount.resolve(path[len(self.prefix) :]))
        except CacheError:
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
