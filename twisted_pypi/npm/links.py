"""Where tarballs are: the paths below the mount under which we serve them, and the upstream URLs that they stand for.

A tarball where registries have theirs, `NAME/-/FILE` below the registry's URL, has that path here too; any other is
`-/files/HOST[:PORT]/PATH`: `-` is the registries' own room, in which no package lies.

Laws: a served path leads back to the key of the URL it was made from; no query is ever part of a served path.
"""

from __future__ import annotations

from attrs import frozen

from twisted_pypi import hosted, urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.npm.names import split_name

FILES = "-/files/"
"""Where tarballs at other places are, below the mount."""


@frozen
class Place:
    """A tarball's absolute URL (with query), and its path below the mount."""

    url: str
    path: str


def place_of(registry: str, base: str, reference: str) -> Place | None:
    """The place of a link in a document from the URL `base`; None for what isn't http(s), or has no usable path.

    `registry` is the registry's URL with its final slash.
    """
    url = urls.resolve(base, reference.partition("#")[0])
    if url is None:
        return None
    try:
        key = urls.key_of(url)
    except ValueError:
        return None
    if key.endswith("/"):
        return None
    below = key.removeprefix(registry)
    if below != key and package_of(below):
        return Place(url, below)
    return Place(url, f"{FILES}{hosted.path_of(url)}")


def package_of(path: str) -> str:
    """The package in a path `NAME/-/FILE`, the scope's slash not encoded; "" for any other path."""
    try:
        name, rest = split_name(path)
    except Absent:
        return ""
    return name if path == f"{name}/{rest}" and rest.startswith("-/") and len(rest) > len("-/") else ""


def url_of(registry: str, path: str) -> str:
    """The upstream URL behind a raw path below the mount. Raises `BadPath` or `Absent`."""
    if path.endswith("/"):
        raise Absent("this path names no file")
    return hosted.url_of(path.removeprefix(FILES)) if path.startswith(FILES) else f"{registry}{path}"


def key_of_path(registry: str, path: str) -> str:
    """The key of the tarball behind a raw path below the mount. Raises `BadPath` or `Absent`."""
    try:
        return urls.key_of(url_of(registry, path))
    except ValueError as error:
        raise BadPath(str(error)) from error
