"""Routes of one or several indexes: what caching needs to answer for each kind of page and file."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate
from functools import partial
from urllib.parse import unquote, urlsplit

from attrs import evolve, field, frozen

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.model import Document, FileRoute, Form, PageBody, PageRoute, PageSource
from twisted_pypi.pypi import api, listing, project
from twisted_pypi.pypi.links import key_of_path, url_of
from twisted_pypi.pypi.metadata import metadata_of_wheel
from twisted_pypi.pypi.mirroring import below, mirrors_of, root_of
from twisted_pypi.pypi.names import is_distribution, is_wheel, matches, projects_of
from twisted_pypi.pypi.specs import IndexSpec

_SIMPLE = "application/vnd.pypi.simple"
_INTEGRITY = "application/vnd.pypi.integrity.v1+json"

SIMPLE_FORMS = (
    Form("json", f"{_SIMPLE}.v1+json", (f"{_SIMPLE}.v1+json", f"{_SIMPLE}.latest+json")),
    Form("html", f"{_SIMPLE}.v1+html", (f"{_SIMPLE}.v1+html", f"{_SIMPLE}.latest+html")),
    Form("html", "text/html; charset=utf-8", ("text/html",)),
)
"""PEP 691, in our order of preference on equal q-values; the last is the default: for clients that send no `Accept`,
or only `*/*`, or nothing that we have."""

API_FORMS = (Form("json", "application/json", ("application/json",), api.PLACEHOLDER),)
INTEGRITY_FORMS = (Form("json", _INTEGRITY, (_INTEGRITY, "application/json")),)

SIMPLE_ACCEPT = f"{_SIMPLE}.v1+json, {_SIMPLE}.v1+html;q=0.2, text/html;q=0.1"
LIST_LIMIT = 256 << 20
"""The largest project list that is read, in bytes."""

UNION = "https://union.invalid/simple/"
"""The key of the union of several project lists: no index can have it (RFC 2606)."""

_METADATA = ".metadata"
# The public index names a file's directory after its BLAKE2b-256 digest.
_BLAKE2 = re.compile(r"packages/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})/[^/]+")


def origins_of(index: IndexSpec) -> frozenset[urls.Origin]:
    """The configured origins of an index: its own, its files', and file hosts, meant with https and http alike."""
    hosts = {urls.origin_of(f"{scheme}://{host}/") for host in index.file_hosts for scheme in urls.DEFAULT_PORTS}
    return frozenset({urls.origin_of(index.url), urls.origin_of(index.files_url), *hosts})


def names_origin(index: IndexSpec, url: str) -> bool:
    """Whether the origin of `url` is one of the index's configured ones."""
    return urls.origin_of(url) in origins_of(index)


def asked_for(indexes: tuple[IndexSpec, ...], name: str) -> tuple[IndexSpec, ...]:
    """Which of the indexes are asked for a normalised name, in order: those that claim it, else those without routes.

    Raises `Absent` if none is.
    """
    claiming = [index for index in indexes if any(matches(pattern, name) for pattern in index.routes)]
    asked = tuple(claiming or [index for index in indexes if not index.routes])
    if not asked:
        raise Absent(f"{name}: no index is for such names")
    return asked


def _claimed_at_all(indexes: tuple[IndexSpec, ...]) -> re.Pattern[str]:
    """Matches the names that any of the indexes claims: nearly none, so that most need no other look."""
    patterns = [translate(pattern) for index in indexes for pattern in index.routes]
    return re.compile("|".join(patterns) or r"(?!)")


def _shows(indexes: tuple[IndexSpec, ...], claimed: re.Pattern[str], index: str, name: str) -> bool:
    """Whether the index is asked for the name, so that its having it counts."""
    if not claimed.match(name):
        return any(index == spec.name and not spec.routes for spec in indexes)
    return any(index == spec.name for spec in asked_for(indexes, name))


@frozen
class Routes:
    """Makes the routes of `indexes`, which are in asking order. The last is the default index.

    `packages` is the URL that `packages/` stands for, with its final slash. A page is stored once for all mounts that
    show its index, so its links have to be right in all of them: `short_links` (links to `packages/`) must be the same
    for an index wherever it is the default, and False for one that is an extra index elsewhere. `among_others`: further
    indexes are served elsewhere, so that what an index redirects to may be one of those. `alone`: as `FileRoute.alone`.
    """

    indexes: tuple[IndexSpec, ...]
    short_links: bool = True
    among_others: bool = False
    alone: bool = False
    packages: str = field(init=False)

    @packages.default
    def _packages(self) -> str:
        files_url = urls.resolve(self.default.files_url, "") or self.default.files_url
        return f"{files_url.rstrip('/')}/packages/"

    @property
    def several(self) -> bool:
        """Whether an index is one of several, here or elsewhere."""
        return self.among_others or len(self.indexes) > 1

    @property
    def default(self) -> IndexSpec:
        """The last index."""
        return self.indexes[-1]

    def project(self, name: str) -> PageRoute:
        """The simple page of a project, by its normalised name: that of the first index that has it.

        Raises `Absent` if no index is for the name.
        """
        route = self._project(name, asked_for(self.indexes, name))
        return evolve(route, owner=name) if len(self.indexes) > 1 else route

    def page_of(self, index: str, url: str) -> PageRoute | None:
        """The project page of this index alone that would name the file at `url`; None if its name tells no project."""
        asked = tuple(spec for spec in self.indexes if spec.name == index)
        names = projects_of(unquote(urlsplit(url).path.rpartition("/")[2]))
        return evolve(self._project(names[0], asked), key=f"{index} {names[0]}") if asked and names else None

    def _project(self, name: str, indexes: tuple[IndexSpec, ...]) -> PageRoute:
        return PageRoute(
            key=f"simple/{name}",
            name=name,
            sources=tuple(self._project_source(index, name) for index in indexes),
            forms=SIMPLE_FORMS,
            restrict=partial(project.restrict, self.packages),
            withhold=project.withhold,
            tells_index=self.several,
            supply=project.supply,
        )

    def _project_source(self, index: IndexSpec, name: str) -> PageSource:
        url = f"{below(index.url)}{name}/"
        short = self._short(index)
        interpret = partial(project.interpret, short, name, mirrors=mirrors_of(index))
        return self._source(index, url, SIMPLE_ACCEPT, interpret, short)

    def listing(self) -> PageRoute:
        """The project list: of several indexes the union, with each name from those that are asked for it."""
        parts = tuple(self._list_of(index) for index in self.indexes)
        if len(parts) == 1:
            return parts[0]
        return PageRoute(
            key=UNION,
            name="",
            sources=tuple(source for part in parts for source in part.sources),
            forms=SIMPLE_FORMS,
            parts=parts,
            merge=partial(listing.union, partial(_shows, self.indexes, _claimed_at_all(self.indexes))),
            recipe=repr([(index.name, index.routes) for index in self.indexes]),
        )

    def _list_of(self, index: IndexSpec) -> PageRoute:
        source = self._source(index, below(index.url), SIMPLE_ACCEPT, listing.interpret)
        return PageRoute("simple/", "", (source,), SIMPLE_FORMS, max_body=LIST_LIMIT, tells_index=self.several)

    def api(self, name: str, version: str = "") -> PageRoute:
        """The JSON API's document of a project, or of one version (one raw path segment) of it. Raises `Absent`."""
        path = f"pypi/{name}/{version}/json" if version else f"pypi/{name}/json"
        sources = tuple(self._api_source(index, root_of(index.url) + path) for index in asked_for(self.indexes, name))
        return self._beside(PageRoute(path, name, sources, API_FORMS))

    def _api_source(self, index: IndexSpec, url: str) -> PageSource:
        short = self._short(index)
        return self._source(
            index, url, "application/json", partial(api.interpret_api, short, mirrors=mirrors_of(index)), short
        )

    def integrity(self, name: str, version: str, filename: str) -> PageRoute:
        """The provenance of a file (PEP 740); version and file name are raw path segments."""
        path = f"integrity/{name}/{version}/{filename}/provenance"
        accept = f"{_INTEGRITY}, application/json;q=0.5"
        sources = tuple(
            self._source(index, root_of(index.url) + path, accept, api.interpret_integrity)
            for index in asked_for(self.indexes, name)
        )
        return self._beside(PageRoute(path, name, sources, INTEGRITY_FORMS))

    def _beside(self, route: PageRoute) -> PageRoute:
        """A document beside a project's page: of the index that owns the name, no other hears of it."""
        if len(self.indexes) == 1:
            return evolve(route, tells_index=self.several)
        return evolve(route, owner=route.name, follows=self.project(route.name), tells_index=True)

    def _short(self, index: IndexSpec) -> str:
        """What `packages/` stands for in links of the index's pages, "" if they have none such.

        Only the default index's files are known by the short paths: those bind them to that index.
        """
        return self.packages if self.short_links and index is self.default else ""

    def file(self, path: str) -> FileRoute:
        """The file at a raw served path, `packages/…` or `files/…`. Raises `Absent` or `BadPath`."""
        key, url = key_of_path(path, self.packages), url_of(path, self.packages)
        name = unquote(urlsplit(key).path.rpartition("/")[2])
        short = path.startswith("packages/")
        companion = name.endswith(_METADATA) and is_distribution(name.removesuffix(_METADATA))
        # Such a path counts only if a page named it.
        ambiguous = urls.is_ambiguous(urlsplit(key).path)
        projects = () if ambiguous else projects_of(name)
        return FileRoute(
            key=key,
            url=url,
            name=name,
            index=self.default.name if short else None,
            indexes=(self.default.name,) if short else tuple(index.name for index in self.indexes),
            open=not ambiguous and (short or any(names_origin(index, url) for index in self.indexes)),
            pages=self._page_of(projects),
            path_hashes=self._path_hashes(key, name),
            companion_of=key.removesuffix(_METADATA) if companion else None,
            derive=metadata_of_wheel if companion and is_wheel(name.removesuffix(_METADATA)) else None,
            tells_index=self.several,
            alone=self.alone,
            companion=partial(self.file, f"{path}{_METADATA}") if is_wheel(name) and projects else None,
        )

    def _page_of(self, projects: tuple[str, ...]) -> PageRoute | None:
        try:
            return self.project(projects[0]) if projects else None
        except Absent:
            return None

    def _path_hashes(self, key: str, name: str) -> dict[str, str]:
        """The digest in a path of the public index; it is that of the file itself, not of a companion."""
        if not self.default.public or not is_distribution(name) or not key.startswith(self.packages):
            return {}
        match = _BLAKE2.fullmatch("packages/" + key[len(self.packages) :])
        return {"blake2b-256": "".join(match.groups())} if match else {}

    def _source(
        self, index: IndexSpec, url: str, accept: str, interpret: Callable[[PageBody], Document], layout: str = ""
    ) -> PageSource:
        try:
            key = urls.key_of(url)
        except ValueError as error:
            raise BadPath(str(error)) from error
        return PageSource(
            index=index.name,
            key=key,
            url=url,
            accept=accept,
            ttl=index.ttl,
            not_found_ttl=index.not_found_ttl,
            interpret=interpret,
            absent_status=index.absent_status,
            layout=layout,
            confined=self.several,
            local=bool(index.path),
        )
