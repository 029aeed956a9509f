"""A project's page: from either upstream form to both of ours, with links that lead to this server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from attrs import define, evolve, field, frozen

from twisted_pypi import urls
from twisted_pypi.errors import CacheError
from twisted_pypi.mirrors import Mirror
from twisted_pypi.model import Document, FileLink, PageBody, Pick
from twisted_pypi.pypi import simple_html, simple_json
from twisted_pypi.pypi.charsets import is_json
from twisted_pypi.pypi.digests import link_of
from twisted_pypi.pypi.links import UP, Linker, key_of_path
from twisted_pypi.pypi.names import is_file_name, normalized

_RENDERERS = {"json": simple_json.render, "html": simple_html.render}


@frozen
class ProjectPage:
    """`model.Document` for a simple page. `page` and `files` are as we serve them, `announced` as upstream said."""

    page: dict[str, Any]
    files: Sequence[dict[str, Any]]
    announced: Sequence[FileLink] = ()

    @property
    def version(self) -> int | None:
        """The last serial."""
        return simple_json.serial_of(self.page["meta"])

    def links(self) -> Iterable[FileLink]:
        """What the page says of files, in its order."""
        return self.announced

    def render(self, body: str) -> Iterable[bytes]:
        """The chunks of "json" or "html"."""
        return _RENDERERS[body](self.page, self.files)


def interpret(packages: str, name: str, body: PageBody, mirrors: tuple[Mirror, ...] = ()) -> ProjectPage:
    """The page of the project `name` (normalised). Files below the URL `packages` ("" for none) are served as such.
    It may come from one of the `mirrors`, whose files are the index's.

    The body's stream is empty then. Raises `ValueError` if it is no such page.
    """
    if is_json(body):
        body.stream.seek(0)
        ours = _Files(Linker(body.url, packages, mirrors))
        page = simple_json.parse_files(body.stream.read(), ours.take)
        if normalized(page["name"]) != name:
            raise ValueError(f"it is the page of {page['name'][:80]!r}")
    else:
        page, href = simple_html.parse(body, name)
        ours = _Files(Linker(urls.resolve(body.url, href) or body.url, packages, mirrors))
        ours.take(page.pop("files"))
    body.stream.seek(0)
    body.stream.truncate()
    return ProjectPage(page, ours.files, ours.announced)


@define
class _Files:
    """Makes our entries of upstream's."""

    linker: Linker
    files: list[dict[str, Any]] = field(factory=list)
    announced: list[FileLink] = field(factory=list)

    def take(self, theirs: list[Any]) -> None:
        """The next ones; the list is empty then: both at once are most of the memory that a large page takes."""
        theirs.reverse()
        while theirs:
            entry = _entry(theirs.pop(), self.linker)
            if entry is not None:
                self.files.append(entry[0])
                self.announced.append(entry[1])


def _entry(file: object, linker: Linker) -> tuple[dict[str, Any], FileLink] | None:
    """A file as served, and what was said of it; None if it can't be linked or named."""
    if not isinstance(file, dict) or not isinstance(reference := file.get("url"), str) or not reference:
        return None
    place = linker.place(reference)
    if place is None:
        return None
    served = simple_json.tidy_file(file, UP + place.path)
    filename = served.get("filename")
    if not isinstance(filename, str) or not filename:
        filename = served["filename"] = unquote(place.path.rpartition("/")[2])
    if not is_file_name(filename):
        return None
    # PEP 740 wants an absolute URL; a relative one would mean something else on this server.
    if isinstance(provenance := served.get("provenance"), str) and not provenance.startswith("https://"):
        served["provenance"] = urls.resolve(linker.base, provenance)
    return served, link_of(place.url, served)


def withhold(page: Document, keys: frozenset[str]) -> Document:
    """The project's page without the announcement of `.metadata` (PEP 658) for the files with these keys."""
    if not isinstance(page, ProjectPage):
        return page
    files = [
        {name: value for name, value in file.items() if name != "core-metadata"} if _names(link, keys) else file
        for file, link in zip(page.files, page.announced, strict=True)
    ]
    return evolve(page, files=files)


def supply(page: Document, digests: Mapping[str, str]) -> Document:
    """The project's page with `.metadata` announced for the files with these keys, where upstream doesn't."""
    if not isinstance(page, ProjectPage):
        return page
    files, announced = list(page.files), list(page.announced)
    for position, (file, link) in enumerate(zip(page.files, page.announced, strict=True)):
        sha256 = digests.get(_key_of(link), "")
        if sha256 and link.metadata is None:
            files[position] = {**file, "core-metadata": {"sha256": sha256}}
            announced[position] = evolve(link, metadata={"sha256": sha256})
    return evolve(page, files=files, announced=announced)


def _key_of(link: FileLink) -> str:
    try:
        return urls.key_of(link.url)
    except ValueError:
        return ""


def _names(link: FileLink, keys: frozenset[str]) -> bool:
    return _key_of(link) in keys


def restrict(packages: str, stored: bytes, pick: Pick) -> ProjectPage:
    """The page in a stored "json" body with only the files that `pick` has stay."""
    page = simple_json.parse(stored)
    keyed = [(file, _key(file["url"], packages)) for file in page["files"]]
    kept = pick({key: link_of(key, file).hashes for file, key in keyed if key})
    return ProjectPage(page, [file for file, key in keyed if key in kept])


def _key(link: str, packages: str) -> str | None:
    """The key behind a link of ours."""
    try:
        return key_of_path(link.removeprefix(UP), packages)
    except CacheError:
        return None
