"""The index as a mount: what each path of it means."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

from attrs import evolve, field, frozen

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.model import FileRoute, PageRoute, Redirect, Route
from twisted_pypi.pypi.names import project_name
from twisted_pypi.pypi.naming import PROJECT_LIST, name_of
from twisted_pypi.pypi.routes import Routes, names_origin
from twisted_pypi.pypi.specs import IndexSpec

_HINT = "try /simple/"
_SLASHES = re.compile(r"/{2,}")
_REMEMBERED = 2048


@frozen
class IndexMount:
    """`interfaces.Mount` for indexes in asking order, of which the last is the default.

    `short_links` is False for a mount that shows an extra index alone, `among_others` True for one that shows any of
    several alone (see `Routes`). `alone`: what is stored is other mounts' too, so that no file counts that none of
    these indexes named (`FileRoute.alone`).
    """

    indexes: tuple[IndexSpec, ...]
    short_links: bool = True
    among_others: bool = False
    alone: bool = False
    _routes: Routes = field(init=False, repr=False, eq=False)
    _remembered: Callable[[str], Route] = field(init=False, repr=False, eq=False)

    @_routes.default
    def _make_routes(self) -> Routes:
        return Routes(self.indexes, self.short_links, self.among_others, self.alone)

    @_remembered.default
    def _remember(self) -> Callable[[str], Route]:
        # The same few paths are asked for over and over, and a route takes longer to make than a hit to serve.
        return lru_cache(maxsize=_REMEMBERED)(self._checked)

    def resolve(self, path: str) -> Route:
        """The route of a raw path without query, beginning with "/". Raises `Absent` or `BadPath`.

        A NAME without its slash is redirected relatively, doubled slashes to an absolute path of this mount.
        """
        return self._remembered(path)

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages of a project, in any spelling, or of the "list" of all projects.

        Raises `Absent` for what is no project name.
        """
        if name == PROJECT_LIST:
            return (self._routes.listing(),)
        normal = project_name(name)
        return self._routes.project(normal), self._routes.api(normal)

    def name_of(self, index: str, key: str) -> str:
        """The project that a stored page or file is of (see `naming.name_of`)."""
        return name_of(self.indexes, index, key)

    def permits(self, index: str, url: str) -> bool:
        """Whether pages of the index may name files at `url`: anywhere, unless the index is bound to its origins."""
        return self.at_home(index, url) or any(not spec.bound for spec in self.indexes if spec.name == index)

    def at_home(self, index: str, url: str) -> bool:
        """Whether `url` is at one of the index's configured origins."""
        return any(names_origin(spec, url) for spec in self.indexes if spec.name == index)

    def page_of(self, index: str, url: str) -> PageRoute | None:
        """The page of the index that would name the file at `url`, as far as its name tells."""
        return self._routes.page_of(index, url)

    def _checked(self, path: str) -> Route:
        try:
            urls.check_path(path)
        except ValueError as error:
            raise BadPath(str(error)) from error
        tidy = _tidied(path)
        route = self._route(tidy)
        if tidy == path:
            return route
        return Redirect(f"{tidy}/" if isinstance(route, Redirect) else tidy)

    def _route(self, path: str) -> Route:
        kind, slash, rest = path[1:].partition("/")
        if kind in ("packages", "files"):
            return self._routes.file(path[1:])
        if kind in ("simple", "index"):
            return self._simple(rest) if slash else Redirect(f"{kind}/")
        if kind == "pypi":
            return self._api(rest.removesuffix("/").split("/"))
        if kind == "integrity":
            return self._integrity(rest.removesuffix("/").split("/"))
        raise Absent(f"nothing is served here: {_HINT}")

    def _simple(self, rest: str) -> Route:
        if not rest:
            return self._routes.listing()
        raw, slash, below = rest.partition("/")
        if below:
            raise Absent("below a project there is nothing: files are where its page links them")
        name = project_name(unquote(raw))
        return self._routes.project(name) if slash else Redirect(f"{raw}/")

    def _api(self, segments: list[str]) -> Route:
        match segments:
            case [name, "json"]:
                return self._routes.api(project_name(unquote(name)))
            case [name, version, "json"]:
                return self._routes.api(project_name(unquote(name)), _segment(version))
        raise Absent(f"the JSON API has /pypi/NAME/json and /pypi/NAME/VERSION/json; for pip, {_HINT}")

    def _integrity(self, segments: list[str]) -> Route:
        match segments:
            case [name, version, filename, "provenance"]:
                return self._routes.integrity(project_name(unquote(name)), _segment(version), _segment(filename))
        raise Absent("the provenance API has /integrity/PROJECT/VERSION/FILENAME/provenance")


_OF_ONE_INDEX = ("simple", "index", "packages", "files")


@frozen
class NamedMount:
    """`interfaces.Mount` for one index alone, below `/NAME/`: its pages and files, none of the other APIs.

    What caching remembers of a route's key (absent, being fetched) holds for this index only, so the keys are its own.
    Files have one key for all: their routes say that no other index's pages count (`FileRoute.alone`).
    """

    name: str
    index: IndexMount

    def resolve(self, path: str) -> Route:
        """As `IndexMount.resolve`, of a path that begins with "/NAME/". Raises `Absent` for any other."""
        single = "/" + path.lstrip("/")
        below = single.removeprefix(f"/{self.name}")
        if below == single or not below.startswith("/"):
            raise Absent(f"nothing is served here: {_HINT}")
        if below.lstrip("/").partition("/")[0] not in _OF_ONE_INDEX:
            raise Absent(f"nothing is served here: try /{self.name}/simple/")
        match self.index.resolve(below):
            case Redirect(location) if location.startswith("/"):
                return Redirect(f"/{self.name}{location}")
            case Redirect() as redirect:
                return redirect
            case _ if single != path:
                return Redirect(single)
            case PageRoute() as route:
                return self._own(route)
            case FileRoute() as file:
                return evolve(file, alone=True, pages=file.pages and self._own(file.pages))

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages of a project of this index, or its "list" of all projects."""
        return tuple(self._own(route) for route in self.index.pages_of(name))

    def name_of(self, index: str, key: str) -> str:
        """The project that a stored page or file of this index is of."""
        return self.index.name_of(index, key)

    def _own(self, route: PageRoute) -> PageRoute:
        return evolve(route, key=f"{self.name}/{route.key}")


def _tidied(path: str) -> str:
    """The path without doubled slashes, save in what is upstream's own path."""
    single = "/" + path.lstrip("/")
    if single.startswith(("/packages/", "/files/")):
        return single
    return _SLASHES.sub("/", path)


def _segment(raw: str) -> str:
    """One path segment in its canonical spelling. Raises `Absent` if it is empty, or hides a slash."""
    segment = urls.canonical_path(raw)
    if not segment or "%2F" in segment:
        raise Absent("this path names no file or version")
    return segment
