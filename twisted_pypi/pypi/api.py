"""The JSON API (`/pypi/NAME/json`) and the provenance API (`/integrity/…`, PEP 740), passed through.

Clients of the JSON API expect absolute links: they begin with `PLACEHOLDER`, which is replaced for each answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from twisted_pypi.mirrors import Mirror
from twisted_pypi.model import FileLink, PageBody
from twisted_pypi.pypi.digests import natural
from twisted_pypi.pypi.json_pieces import load_object
from twisted_pypi.pypi.links import Linker
from twisted_pypi.pypi.simple_json import dump

PLACEHOLDER = b"http://pypicache.invalid/"
"""Stands for the base URL of the mount, with its final slash."""


@frozen
class ApiPage:
    """`model.Document` for a JSON document with one form."""

    data: bytes
    version: int | None = None

    def links(self) -> Iterable[FileLink]:
        """None: what a file is, its project's page says, and says more of it (the digest of its `.metadata`)."""
        return ()

    def render(self, body: str) -> Iterable[bytes]:
        """The document, as the only chunk; "json" is its only body."""
        return (self.data,)


def interpret_integrity(body: PageBody) -> ApiPage:
    """A provenance object, as it came. Raises `ValueError` if it is no JSON object."""
    data = _whole(body)
    load_object(data)
    return ApiPage(data)


def interpret_api(packages: str, body: PageBody, mirrors: tuple[Mirror, ...] = ()) -> ApiPage:
    """A JSON API document, with links that lead here. Files below the URL `packages` are served as such.

    Raises `ValueError` if it is no such document.
    """
    document = load_object(_whole(body))
    if not isinstance(document.get("info"), dict):
        raise ValueError('not a JSON API document: no "info"')
    linker = Linker(body.url, packages, mirrors)
    if "urls" in document:
        document["urls"] = _rewritten(document["urls"], linker)
    if isinstance(releases := document.get("releases"), dict):
        document["releases"] = {version: _rewritten(files, linker) for version, files in releases.items()}
    return ApiPage(dump(document), natural(document.get("last_serial")))


def _whole(body: PageBody) -> bytes:
    body.stream.seek(0)
    return body.stream.read()


def _rewritten(files: object, linker: Linker) -> list[dict[str, Any]]:
    """The entries with our links, those left out that can't be linked."""
    rewritten = []
    for file in files if isinstance(files, list) else ():
        place = linker.place(file["url"]) if isinstance(file, dict) and isinstance(file.get("url"), str) else None
        if place is not None:
            rewritten.append({**file, "url": PLACEHOLDER.decode() + place.path})
    return rewritten
