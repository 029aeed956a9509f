"""The registry as a mount: what each path of it means, and what caching needs to answer for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from urllib.parse import unquote

from attrs import field, frozen

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.model import Alternatives, Document, FileRoute, Form, PageBody, PageRoute, PageSource, Redirect, Route
from twisted_pypi.npm.links import FILES, key_of_path, package_of, url_of
from twisted_pypi.npm.names import escaped, package_name, split_name
from twisted_pypi.npm.packument import (
    ABBREVIATED,
    PLACEHOLDER,
    Linking,
    interpret,
    interpret_manifest,
    interpret_object,
    restrict,
)
from twisted_pypi.npm.specs import RegistrySpec

JSON = "application/json"
SHORT = Form("json", ABBREVIATED, (ABBREVIATED,), PLACEHOLDER)
FULL = Form("json", JSON, (JSON,), PLACEHOLDER)
PLAIN = Form("json", JSON, (JSON,))

SHORT_ACCEPT = f"{ABBREVIATED}; q=1.0, {JSON}; q=0.8"
"""As npm asks; a registry that knows no abbreviated form sends the full one."""

_SMALL = 8 << 20
"""Bytes of any other document than a packument."""

_SLASHES = re.compile(r"/{2,}")
_TAGS = re.compile(r"-/package/(.+)/dist-tags")
_REMEMBERED = 2048


@frozen
class NpmMount:
    """`interfaces.Mount` for one registry below `path`, as in "/npm/".

    The two forms of a packument are two pages, each asked for upstream as such: the full one of an old package is a
    hundred times as large, and an installation has no use for it.
    """

    path: str
    registry: RegistrySpec
    _linking: Linking = field(init=False, repr=False, eq=False)
    _remembered: Callable[[str], Route | Alternatives] = field(init=False, repr=False, eq=False)

    @_linking.default
    def _make_linking(self) -> Linking:
        return Linking(self.registry.url, self.path.removeprefix("/"))

    @_remembered.default
    def _remember(self) -> Callable[[str], Route | Alternatives]:
        # An installation asks for some thousand paths, and the next one for the same.
        return lru_cache(maxsize=_REMEMBERED)(self._checked)

    def resolve(self, path: str) -> Route | Alternatives:
        """The route of a raw path without query, beginning with "/". Raises `Absent` or `BadPath`."""
        return self._remembered(path)

    def covers(self, path: str) -> bool:
        """Whether a raw path is at or below the mount."""
        return f"/{path.lstrip('/')}/".startswith(self.path)

    def pages_of(self, name: str) -> tuple[PageRoute, ...]:
        """The pages of a package. Raises `Absent` for what is no package name."""
        package_name(name)
        return self._packument(name, abbreviated=True), self._packument(name, abbreviated=False), self._tags(name)

    def name_of(self, index: str, key: str) -> str:
        """The package that a stored page or tarball is of, "" for tarballs elsewhere than in the registry."""
        below = key.removeprefix(self.registry.url)
        if below == key or index not in ("", self.registry.name):
            return ""
        try:
            return split_name(below.removeprefix("-/package/"))[0]
        except Absent:
            return ""

    def permits(self, index: str, url: str) -> bool:
        """Whether the registry may name tarballs at `url`: anywhere."""
        return index == self.registry.name

    def at_home(self, index: str, url: str) -> bool:
        """Whether `url` is at the registry's origin."""
        return index == self.registry.name and urls.origin_of(url) == urls.origin_of(self.registry.url)

    def page_of(self, index: str, url: str) -> PageRoute | None:
        """The packument that would name the tarball at `url`, as far as its path tells."""
        if index != self.registry.name:
            return None
        name = package_of(urls.key_of(url).removeprefix(self.registry.url))
        return self._packument(name, abbreviated=True) if name else None

    # -- paths ---------------------------------------------------------------------------------------------------

    def _checked(self, path: str) -> Route | Alternatives:
        single = "/" + path.lstrip("/")
        if f"{single}/" == self.path:
            return Redirect(self.path)
        below = single.removeprefix(self.path)
        if below == single:
            raise Absent(f"nothing is served here: try {self.path}")
        try:
            urls.check_path(path)
        except ValueError as error:
            raise BadPath(str(error)) from error
        below = below.lstrip("/")
        return self._below(below if below.startswith(FILES) else _SLASHES.sub("/", below))

    def _below(self, path: str) -> Route | Alternatives:
        if not path:
            raise Absent("an npm registry is here: this is the URL that npm config set registry takes")
        if path.startswith(FILES):
            return self._file(path, "")
        # There is a package called "-": its tarballs are below "-/-/".
        if path.startswith("-/") and not path.startswith("-/-/"):
            return self._beside(path.removesuffix("/"))
        name, rest = split_name(path)
        if rest.startswith("-/"):
            return self._file(f"{name}/{rest}", name)
        if not rest:
            return Alternatives((self._packument(name, abbreviated=True), self._packument(name, abbreviated=False)))
        version = unquote(rest.removesuffix("/"))
        if not version or "/" in version:
            raise Absent("a registry has /NAME, /NAME/VERSION and /NAME/-/FILE")
        return self._manifest(name, rest.removesuffix("/"))

    def _beside(self, path: str) -> PageRoute:
        """The registry's own documents that are cached. Whatever else is asked here, npm goes on without it."""
        if path == "-/ping":
            return self._page("", self._source(path, path, JSON, interpret_object), PLAIN)
        if match := _TAGS.fullmatch(path):
            return self._tags(package_name(unquote(match[1])))
        raise Absent(f"this cache has no {path[:80]!a}: ask the registry itself")

    # -- routes --------------------------------------------------------------------------------------------------

    def _packument(self, name: str, abbreviated: bool) -> PageRoute:
        # The full one's key is a path that nothing else can have: both are at the same URL.
        key = name if abbreviated else f"{name}/-/full"
        accept, form = (SHORT_ACCEPT, SHORT) if abbreviated else (JSON, FULL)
        source = self._source(key, escaped(name), accept, partial(interpret, self._linking, name, abbreviated))
        return PageRoute(source.key, name, (source,), (form,), restrict=partial(restrict, self._linking))

    def _manifest(self, name: str, version: str) -> PageRoute:
        """Of a version or tag, one raw path segment."""
        read = partial(interpret_manifest, self._linking, name)
        return self._page(name, self._source(f"{name}/{version}", f"{escaped(name)}/{version}", JSON, read), FULL)

    def _tags(self, name: str) -> PageRoute:
        path = f"-/package/{escaped(name)}/dist-tags"
        return self._page(name, self._source(f"-/package/{name}/dist-tags", path, JSON, interpret_object), PLAIN)

    def _page(self, name: str, source: PageSource, form: Form) -> PageRoute:
        return PageRoute(source.key, name, (source,), (form,), max_body=_SMALL)

    def _file(self, path: str, name: str) -> FileRoute:
        """The tarball at a raw path below the mount, of the package `name` if the path tells it."""
        key, url = key_of_path(self.registry.url, path), url_of(self.registry.url, path)
        return FileRoute(
            key=key,
            url=url,
            name=unquote(key.rpartition("/")[2]),
            index=self.registry.name,
            indexes=(self.registry.name,),
            open=bool(name) and not urls.is_ambiguous(key.removeprefix(self.registry.url)),
            alone=True,
            pages=self._packument(name, abbreviated=True) if name else None,
        )

    def _source(self, key: str, path: str, accept: str, read: Callable[[PageBody], Document]) -> PageSource:
        try:
            key = urls.key_of(f"{self.registry.url}{key}")
        except ValueError as error:
            raise BadPath(str(error)) from error
        return PageSource(
            index=self.registry.name,
            key=key,
            url=f"{self.registry.url}{path}",
            accept=accept,
            ttl=self.registry.ttl,
            not_found_ttl=self.registry.not_found_ttl,
            interpret=read,
            absent_status=self.registry.absent_status,
            layout=self.path,
        )
