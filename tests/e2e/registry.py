"""What a healthy npm registry answers, for `Upstream(catalogue=NpmCatalogue())`; and packages, made in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from base64 import b64encode
from typing import Any
from urllib.parse import unquote

from attrs import define, evolve, field, frozen

from e2e.content import Catalogue, Request, Response, compressed, conditional, document_bytes, file_response, missing
from e2e.upstream import Upstream

ABBREVIATED = "application/vnd.npm.install-v1+json"
PUBLISHED = "2024-01-01T00:00:00.000Z"


@frozen
class Package:
    """One published version."""

    name: str
    version: str
    requires: dict[str, str] = field(factory=dict)
    extra: dict[str, Any] = field(factory=dict)
    data: bytes = field(repr=False, default=b"")

    @property
    def path(self) -> str:
        """Where registries have the tarball."""
        return f"/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"

    @property
    def manifest(self) -> dict[str, Any]:
        """Its `package.json`."""
        return {"name": self.name, "version": self.version, "dependencies": self.requires, **self.extra}


def package(name: str, version: str = "1.0.0", size: int = 100, **requires: str) -> Package:
    """A package that exports its version; `requires` are names (`_` is `-`) with ranges, `@scope` ones as given."""
    return packed(Package(name, version, {each.replace("_", "-"): wanted for each, wanted in requires.items()}), size)


def packed(made: Package, size: int = 100) -> Package:
    """The package with its tarball."""
    members = {
        "package/package.json": json.dumps(made.manifest).encode(),
        "package/index.js": f"module.exports = {made.version!r};\n".encode(),
        "package/filling": hashlib.shake_256(made.name.encode()).digest(size),
    }
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return evolve(made, data=gzip.compress(raw.getvalue(), mtime=0))


@define
class NpmCatalogue(Catalogue):
    """All that the registry has. `knows_abbreviated`: packuments have both forms.

    `tarballs_url` is where they are, without trailing slash ("": at `url`, the registry's own); `shasum_only`: there is
    no `integrity`. `token` is what every request needs.
    """

    url: str = ""
    packages: dict[str, dict[str, Package]] = field(factory=dict)
    tags: dict[str, dict[str, str]] = field(factory=dict)
    knows_abbreviated: bool = True
    tarballs_url: str = ""
    shasum_only: bool = False
    token: str = ""

    def publish(self, *packages: Package) -> None:
        """Add versions; the last one of a name is its `latest`."""
        for each in packages:
            self.packages.setdefault(each.name, {})[each.version] = each
            self.tags.setdefault(each.name, {})["latest"] = each.version

    def answer(self, request: Request) -> Response:
        """The healthy answer to any request."""
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(401, {"Content-Type": "application/json"}, b'{"error":"who are you?"}', "Unauthorized")
        for each in (each for versions in self.packages.values() for each in versions.values()):
            if unquote(request.path) == each.path:
                return conditional(request, file_response(request, each.data))
        document = self.document(request, unquote(request.path).strip("/").split("/"))
        if document is None:
            return missing()
        short = ABBREVIATED in request.headers.get("accept", "") and "versions" in document and self.knows_abbreviated
        body, kind = document_bytes(document), ABBREVIATED if short else "application/json"
        etag = f'W/"{hashlib.md5(body + kind.encode()).hexdigest()}"'
        return conditional(request, compressed(request, Response(200, {"Content-Type": kind, "ETag": etag}, body)))

    def document(self, request: Request, parts: list[str]) -> dict[str, Any] | None:
        """Any document of the registry."""
        match parts:
            case ["-", "ping"]:
                return {}
            case ["-", "package", *name, "dist-tags"]:
                return dict(self.tags.get("/".join(name), {})) or None
        scoped = parts[0].startswith("@")
        name, rest = "/".join(parts[: 1 + scoped]), parts[1 + scoped :]
        versions = self.packages.get(name)
        if versions is None:
            return None
        if rest:
            found = versions.get(self.tags[name].get(rest[0], rest[0]))
            return self.manifest(found) if found else None
        short = ABBREVIATED in request.headers.get("accept", "") and self.knows_abbreviated
        return self.short(name) if short else self.full(name)

    def full(self, name: str) -> dict[str, Any]:
        """The whole packument."""
        versions = self.packages[name]
        return {
            "_id": name,
            "name": name,
            "dist-tags": self.tags[name],
            "versions": {version: self.manifest(each) for version, each in versions.items()},
            "time": {"created": PUBLISHED, "modified": PUBLISHED, **dict.fromkeys(versions, PUBLISHED)},
            "readme": f"# {name}",
        }

    def short(self, name: str) -> dict[str, Any]:
        """The abbreviated packument."""
        versions = {version: self.manifest(each) for version, each in self.packages[name].items()}
        for manifest in versions.values():
            del manifest["readme"]
        return {"name": name, "modified": PUBLISHED, "dist-tags": self.tags[name], "versions": versions}

    def manifest(self, each: Package) -> dict[str, Any]:
        """One version's."""
        dist = {"tarball": f"{self.tarballs_url or self.url}{each.path}", "shasum": sha1(each.data)}
        if not self.shasum_only:
            dist["integrity"] = integrity(each.data)
        return {**each.manifest, "_id": f"{each.name}@{each.version}", "readme": "long", "dist": dist}


def integrity(data: bytes) -> str:
    """Subresource Integrity, as npm has it."""
    return f"sha512-{b64encode(hashlib.sha512(data).digest()).decode()}"


def sha1(data: bytes) -> str:
    """For `shasum`."""
    return hashlib.sha1(data).hexdigest()


def registry() -> Upstream:
    """A registry without packages, to be used as a context manager. Its `npm` is the catalogue."""
    return Upstream(catalogue=NpmCatalogue())


def npm_of(upstream: Upstream) -> NpmCatalogue:
    """The catalogue of a `registry()` that runs."""
    assert isinstance(upstream.catalogue, NpmCatalogue)
    upstream.catalogue.url = f"http://{upstream.host}"
    return upstream.catalogue
