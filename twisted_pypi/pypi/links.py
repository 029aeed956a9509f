"""Where files are: the paths under which we serve them, and the upstream URLs that they stand for.

Laws: a served path leads back to the key of the URL it was made from; what could not be asked for again is not linked;
no query (it may be a signature) is ever part of a served path.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

from twisted_pypi import hosted, urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.mirrors import Mirror, canonical

UP = "../../"
"""From a project page (`simple/NAME/`) to where `packages/` and `files/` are."""

# A plain path: nothing in it needs decoding, quoting or resolving. Most links are plain below their first part.
_PLAIN = re.compile(
    r"(https?://[a-z0-9.-]+(?::\d+)?/|/|(?:\.\./)+|)"
    r"((?:[A-Za-z0-9_+!~-][A-Za-z0-9._+!~-]*/)*[A-Za-z0-9_+!~-][A-Za-z0-9._+!~-]*)"
)


@frozen
class Place:
    """A file's absolute URL (with query), and the path under which it is served: `packages/…` or `files/…`."""

    url: str
    path: str


@define
class Linker:
    """Gives the links of one page their places.

    `base` is what relative links resolve against. `packages` is the URL whose files are served below `packages/`, ""
    for none. What is at one of `mirrors` has the place that it has at the index itself.
    """

    base: str
    packages: str
    mirrors: tuple[Mirror, ...] = ()
    _leads: dict[str, Place | None] = field(factory=dict, init=False)

    def place(self, reference: str) -> Place | None:
        """The place of a link as a page spells it; None for what isn't http(s), or has no usable path."""
        bare = reference.partition("#")[0]
        # Which prefix of a mirror's it lies below can't be told from the first part of a link.
        plain = None if self.mirrors else _PLAIN.fullmatch(bare)
        lead = self._lead(plain[1]) if plain else None
        if plain is None or lead is None:
            return self._resolved(bare)
        url = lead.url + plain[2]
        if self.packages and url.startswith(self.packages):
            return Place(url, f"packages/{url[len(self.packages) :]}")
        return Place(url, lead.path + plain[2])

    def _lead(self, lead: str) -> Place | None:
        """The place of the directory that plain links begin with, resolved once for all of them."""
        if lead not in self._leads:
            self._leads[lead] = self._place_of(urls.resolve(self.base, lead or "./"))
        return self._leads[lead]

    def _resolved(self, reference: str) -> Place | None:
        place = self._place_of(urls.resolve(self.base, reference))
        return None if place is None or place.path.endswith("/") else place

    def _place_of(self, url: str | None) -> Place | None:
        if url is None:
            return None
        url = canonical(self.mirrors, url)
        try:
            urls.key_of(url)
        except ValueError:
            return None
        return Place(url, _served_path(url, self.packages))


def _served_path(url: str, packages: str) -> str:
    """The path for a URL with a usable path."""
    bare = url.partition("?")[0]
    if packages and bare.startswith(packages):
        return f"packages/{hosted.quoted(bare[len(packages) :])}"
    return f"files/{hosted.path_of(bare)}"


def url_of(path: str, packages: str) -> str:
    """The upstream URL behind a served path, `packages/PATH`, `files/HOST[:PORT]/PATH` or `files/http:…`.

    Raises `BadPath` if the host is none, `Absent` if no file is named.
    """
    kind, _, rest = path.partition("/")
    if not rest or rest.endswith("/") or kind not in ("packages", "files"):
        raise Absent("this path names no file")
    if kind == "packages":
        return packages + rest
    return hosted.url_of(rest)


def key_of_path(path: str, packages: str) -> str:
    """The key of the file behind a served path. Raises `Absent` or `BadPath`."""
    url = url_of(path, packages)
    try:
        return urls.key_of(url)
    except ValueError as error:
        raise BadPath(str(error)) from error
