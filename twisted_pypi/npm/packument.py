"""The documents of a registry: packuments in both forms, and manifests, with links that lead to this server.

npm takes a relative `dist.tarball` for a file of its own machine, so links are absolute: they begin with `PLACEHOLDER`,
which is replaced for each answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO

from attrs import define, field, frozen

from twisted_pypi.errors import CacheError
from twisted_pypi.model import FileLink, PageBody, Pick
from twisted_pypi.npm.integrity import hashes_of
from twisted_pypi.npm.links import key_of_path, package_of, place_of
from twisted_pypi.npm.reading import MAX_VERSIONS, dump, head_of, json_object, versions_of

PLACEHOLDER = b"http://pypicache.invalid/"
"""Stands for the URL below which this server's clients find everything, with its final slash."""

ABBREVIATED = "application/vnd.npm.install-v1+json"
"""The media type of what an installation needs of a packument (npm registry API, "abbreviated metadata")."""

_PIECE = 256 << 10
_INSTALLATION = frozenset(
    {
        *("name", "version", "deprecated", "bin", "directories", "dist", "engines", "funding"),
        *("dependencies", "devDependencies", "optionalDependencies", "acceptDependencies"),
        *("bundleDependencies", "bundledDependencies", "peerDependencies", "peerDependenciesMeta"),
        *("os", "cpu", "libc", "_hasShrinkwrap", "hasInstallScript"),
    }
)
"""The keys of a version's manifest in the abbreviated form."""
_INSTALL_SCRIPTS = frozenset({"preinstall", "install", "postinstall"})
_RELEASE = re.compile(r"(\d{1,15})\.(\d{1,15})\.(\d{1,15})(?:\+.*)?")


@frozen
class Packument:
    """`model.Document` for any of a registry's documents, made already: its only body is "json"."""

    chunks: Sequence[bytes]
    announced: Sequence[FileLink] = ()
    version: None = None

    def links(self) -> Iterable[FileLink]:
        """What it says of tarballs."""
        return self.announced

    def render(self, body: str) -> Iterable[bytes]:
        """The chunks of "json"."""
        return self.chunks


@frozen
class Linking:
    """Where a registry is, and where its mount is here: both end with a slash, `path` begins with none."""

    registry: str
    path: str

    @property
    def prefix(self) -> str:
        """What all our links begin with."""
        return f"{PLACEHOLDER.decode()}{self.path}"

    def linked(self, manifest: dict[str, Any], name: str, base: str) -> FileLink | None:
        """Have the tarball in a manifest of the package `name` lead here; what is said of it.

        None where it says nothing of one, or names one of another package: what that is its own packument says. Raises
        `ValueError` for one that can't be linked.
        """
        dist = manifest.get("dist")
        if not isinstance(dist, dict) or "tarball" not in dist:
            return None
        reference = dist["tarball"]
        place = place_of(self.registry, base, reference) if isinstance(reference, str) else None
        if place is None:
            raise ValueError("its tarball can't be linked")
        manifest["dist"] = {**dist, "tarball": f"{self.prefix}{place.path}"}
        return FileLink(place.url, hashes_of(dist)) if package_of(place.path) in ("", name) else None

    def key(self, manifest: dict[str, Any]) -> str | None:
        """The key of the tarball that a link of ours leads to."""
        dist = manifest.get("dist")
        link = dist.get("tarball") if isinstance(dist, dict) else None
        if not isinstance(link, str) or not link.startswith(self.prefix):
            return None
        try:
            return key_of_path(self.registry, link.removeprefix(self.prefix))
        except CacheError:
            return None


@define
class _Versions:
    """Versions as they are written, in pieces."""

    chunks: list[bytes] = field(factory=list, init=False)
    names: set[str] = field(factory=set, init=False)
    _pending: list[bytes] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)

    def add(self, version: str, manifest: bytes) -> None:
        """One more. Raises `ValueError` if it is one too many."""
        if len(self.names) >= MAX_VERSIONS:
            raise ValueError(f"more than {MAX_VERSIONS} versions")
        self._pending.append(b"%s%s:%s" % (b"," if self.names else b"", dump(version), manifest))
        self.names.add(version)
        self._size += len(manifest)
        if self._size > _PIECE:
            self.flush()

    def flush(self) -> None:
        """Make a piece of what was added."""
        self.chunks.append(b"".join(self._pending))
        self._pending, self._size = [], 0


def interpret(linking: Linking, name: str, abbreviated: bool, body: PageBody) -> Packument:
    """The packument of the package `name`, made abbreviated if that is wanted and isn't what came.

    Versions whose tarballs can't be linked are left out. Raises `ValueError` if it is no such packument.
    """
    shrinking = abbreviated and not body.content_type.lower().startswith(ABBREVIATED)
    head = head_of(body.stream)
    check_name(head, name)
    versions, announced = _Versions(), []
    for version, manifest in versions_of(body.stream):
        if not isinstance(manifest, dict):
            continue
        try:
            link = linking.linked(manifest, name, body.url)
        except ValueError:
            continue
        if link is not None:
            announced.append(link)
        versions.add(version, dump(_shrunk(manifest) if shrinking else manifest))
    return _written(_shrunk_head(head) if shrinking else head, versions, announced)


def interpret_manifest(linking: Linking, name: str, body: PageBody) -> Packument:
    """One version's manifest. Raises `ValueError` if it is no such thing."""
    manifest = _object(body.stream)
    check_name(manifest, name)
    link = linking.linked(manifest, name, body.url)
    return Packument((dump(manifest),), (link,) if link else ())


def interpret_object(body: PageBody) -> Packument:
    """A JSON object, as it came. Raises `ValueError` if it is none."""
    return Packument((dump(_object(body.stream)),))


def restrict(linking: Linking, stored: bytes, pick: Pick) -> Packument:
    """The packument in a stored body with only the versions whose tarballs `pick` has stay.

    Where the `latest` goes, the highest release that stays takes its place: npm asks for it when nothing else is said.
    """
    stream = BytesIO(stored)
    announced: dict[str, dict[str, str]] = {}
    found: list[tuple[str, str | None, bytes]] = []
    for version, manifest in versions_of(stream):
        if key := linking.key(manifest):
            announced[key] = hashes_of(manifest["dist"])
        found.append((version, key, dump(manifest)))
    kept = pick(announced)
    versions = _Versions()
    for version, key, text in found:
        if key in kept:
            versions.add(version, text)
    head = head_of(stream)
    latest = _latest(versions.names)
    if latest and isinstance(tags := head.get("dist-tags"), dict) and tags.get("latest") not in versions.names:
        tags["latest"] = latest
    return _written(head, versions, ())


def check_name(document: Mapping[str, Any], name: str) -> None:
    """Raises `ValueError` for a document of another package, or of none: a login page may well come with status 200."""
    if document.get("name") != name:
        raise ValueError(f"not what a registry says of {name}: its name is {str(document.get('name'))[:80]!a}")


def _written(head: dict[str, Any], versions: _Versions, announced: Sequence[FileLink]) -> Packument:
    """With what is said of versions that aren't there left out."""
    versions.flush()
    if isinstance(tags := head.get("dist-tags"), dict):
        head["dist-tags"] = {tag: version for tag, version in tags.items() if version in versions.names}
    first = dump(head)[:-1] + (b"," if head else b"") + b'"versions":{'
    return Packument((first, *versions.chunks, b"}}"), announced)


def _shrunk(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the abbreviated form has of a manifest."""
    shrunk = {key: value for key, value in manifest.items() if key in _INSTALLATION}
    scripts = manifest.get("scripts")
    if isinstance(scripts, dict) and not _INSTALL_SCRIPTS.isdisjoint(scripts):
        shrunk["hasInstallScript"] = True
    return shrunk


def _shrunk_head(head: dict[str, Any]) -> dict[str, Any]:
    """The abbreviated form's other keys, and `time`, by which pnpm chooses versions where a registry tells it."""
    shrunk = {key: value for key, value in head.items() if key in ("name", "dist-tags", "modified", "time")}
    if isinstance(times := head.get("time"), dict) and isinstance(times.get("modified"), str):
        shrunk.setdefault("modified", times["modified"])
    return shrunk


def _latest(versions: Iterable[str]) -> str:
    """The highest of the versions that are releases (semver.org, 11), "" if none is."""
    releases = [(tuple(map(int, match.groups())), version) for version in versions if (match := _released(version))]
    return max(releases)[1] if releases else ""


def _released(version: str) -> re.Match[str] | None:
    return _RELEASE.fullmatch(version)


def _object(stream: BinaryIO) -> dict[str, Any]:
    stream.seek(0)
    return json_object(stream.read())
