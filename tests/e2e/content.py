"""What a healthy index answers: a pure step from (catalogue, request) to a response, as the public index words it."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import re
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from attrs import define, evolve, field, frozen

from e2e.packages import File

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPE = "text/html"
PUBLISHED = formatdate(1_700_000_000, usegmt=True)


@frozen
class Request:
    """One request as it arrived. `origin` is "index" or "files"; header names are in lower case."""

    origin: str
    method: str
    path: str
    query: str
    headers: dict[str, str]


@frozen
class Response:
    """What goes back. `content_length` False: the end of the connection ends the body."""

    status: int
    headers: dict[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=False)
    reason: str = "Scripted"
    content_length: bool = True

    def head(self) -> bytes:
        """Status line and headers as they go over the wire."""
        lines = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in self.headers.items())]
        lines.append(f"Content-Length: {len(self.body)}" if self.content_length else "Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@define
class Project:
    """One project: its files and its serial."""

    name: str
    files: tuple[File, ...] = ()
    serial: int = 1
    extra: dict[str, Any] = field(factory=dict)


@define
class Catalogue:
    """All that the index has, and how it words it.

    `html_only`: no JSON form exists. `relative_links`: files lie on the index's own origin and are linked relatively.
    `login` is the `Authorization` header that pages need. `files_url` is the files' origin without trailing slash.
    """

    files_url: str = ""
    projects: dict[str, Project] = field(factory=dict)
    html_only: bool = False
    relative_links: bool = False
    announce_metadata: bool = True
    login: str | None = None

    def answer(self, request: Request) -> Response:
        """The healthy answer to any request."""
        if self.login and request.origin == "index" and request.headers.get("authorization") != self.login:
            return Response(401, {"WWW-Authenticate": "Basic"}, b"who are you?", "Unauthorized")
        if request.path.startswith("/packages/"):
            return conditional(request, self.file(request))
        if request.origin == "index":
            return conditional(request, compressed(request, self.page(request)))
        return missing()

    def page(self, request: Request) -> Response:
        """Anything on the index's origin but files."""
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match parts:
            case ["simple"]:
                return self.listing(request)
            case ["simple", name]:
                return self.simple(request, name)
            case ["pypi", name, *version, "json"] if name in self.projects:
                return self.api(self.projects[name], version[0] if version else None)
            case ["integrity", name, _, filename, "provenance"] if name in self.projects:
                document = {"version": 1, "attestation_bundles": [], "of": filename}
                return page_response(document_bytes(document), "application/vnd.pypi.integrity.v1+json", 1)
        return missing()

    def simple(self, request: Request, name: str) -> Response:
        """A project's page in the form that was asked for; a redirect to its own spelling."""
        normalised = re.sub(r"[-_.]+", "-", name).lower()
        if name != normalised or not request.path.endswith("/"):
            return Response(301, {"Location": f"/simple/{normalised}/"}, reason="Moved Permanently")
        project = self.projects.get(name)
        if project is None:
            return missing()
        if self.html_only or JSON_TYPE not in request.headers.get("accept", ""):
            return page_response(self.project_html(project), HTML_TYPE, project.serial)
        return page_response(document_bytes(self.project_json(project)), JSON_TYPE, project.serial)

    def project_json(self, project: Project) -> dict[str, Any]:
        """PEP 691 with what PEP 700, 708, 714 and 792 add."""
        versions = sorted({file.name.removesuffix(".tar.gz").split("-")[1] for file in project.files})
        return {
            "meta": {"api-version": "1.4", "_last-serial": project.serial},
            "name": project.name,
            "project-status": {"status": "active"},
            "versions": versions,
            "alternate-locations": [],
            "files": [self.file_json(file) for file in project.files],
            **project.extra,
        }

    def file_json(self, file: File) -> dict[str, Any]:
        """One element of "files"."""
        metadata = self.metadata_hashes(file)
        return {
            "filename": file.name,
            "url": self.link(file),
            "hashes": {"sha256": file.sha256},
            "size": len(file.data),
            "upload-time": file.upload_time,
            "requires-python": file.requires_python,
            "yanked": file.yanked if file.yanked is not None else False,
            "core-metadata": metadata or False,
            "data-dist-info-metadata": metadata or False,
            "provenance": None,
        }

    def project_html(self, project: Project) -> bytes:
        """PEP 503 with the attributes of PEP 592, 658 and 714."""
        anchors = "".join(f"    {self.anchor(file)}<br />\n" for file in project.files)
        return (
            '<!DOCTYPE html>\n<html>\n  <head>\n    <meta name="pypi:repository-version" content="1.4">\n'
            f"    <title>Links for {project.name}</title>\n  </head>\n  <body>\n    <h1>Links for {project.name}</h1>\n"
            f"{anchors}  </body>\n</html>\n<!--SERIAL {project.serial}-->\n"
        ).encode()

    def anchor(self, file: File) -> str:
        """One link of an HTML page."""
        metadata = self.metadata_hashes(file)
        attributes = {
            "data-requires-python": file.requires_python,
            "data-yanked": file.yanked,
            "data-dist-info-metadata": f"sha256={metadata['sha256']}" if metadata else None,
            "data-core-metadata": f"sha256={metadata['sha256']}" if metadata else None,
        }
        given = "".join(f' {name}="{html.escape(text)}"' for name, text in attributes.items() if text is not None)
        return f'<a href="{self.link(file)}#sha256={file.sha256}"{given}>{file.name}</a>'

    def metadata_hashes(self, file: File) -> dict[str, str] | None:
        """What the page says of `.metadata`."""
        if file.metadata is None or not self.announce_metadata:
            return None
        return {"sha256": hashlib.sha256(file.metadata).hexdigest()}

    def link(self, file: File) -> str:
        """The URL as the page gives it."""
        return f"../..{file.path}" if self.relative_links else f"{self.files_url}{file.path}"

    def listing(self, request: Request) -> Response:
        """The project list in the form that was asked for."""
        serial = sum(project.serial for project in self.projects.values())
        if self.html_only or JSON_TYPE not in request.headers.get("accept", ""):
            anchors = "".join(f'    <a href="/simple/{name}/">{name}</a>\n' for name in sorted(self.projects))
            body = f"<!DOCTYPE html>\n<html><head><title>Simple index</title></head><body>\n{anchors}</body></html>\n"
            return page_response(body.encode(), HTML_TYPE, serial)
        names = [{"name": name, "_last-serial": self.projects[name].serial} for name in sorted(self.projects)]
        document = {"meta": {"api-version": "1.4", "_last-serial": serial}, "projects": names}
        return page_response(document_bytes(document), JSON_TYPE, serial)

    def api(self, project: Project, version: str | None) -> Response:
        """The JSON API, as far as clients read it."""
        files = [file for file in project.files if version is None or f"-{version}" in file.name]
        urls = [{"filename": f.name, "url": self.link(f), "digests": {"sha256": f.sha256}} for f in files]
        document = {"info": {"name": project.name}, "last_serial": project.serial, "urls": urls}
        return page_response(document_bytes(document), "application/json", project.serial)

    def file(self, request: Request) -> Response:
        """A file or its `.metadata`, by path."""
        if (request.origin == "index") != self.relative_links:
            return missing()
        for file in (file for project in self.projects.values() for file in project.files):
            if request.path == file.path:
                return file_response(request, file.data)
            if request.path == file.path + ".metadata" and file.metadata is not None:
                return file_response(request, file.metadata)
        return missing()


def document_bytes(document: dict[str, Any]) -> bytes:
    """JSON as it goes over the wire."""
    return json.dumps(document).encode()


def missing() -> Response:
    """404."""
    return Response(404, {"Content-Type": "text/plain"}, b"404 Not Found", "Not Found")


def page_response(body: bytes, content_type: str, serial: int) -> Response:
    """A 200 with a page's headers."""
    headers = {
        "Content-Type": content_type,
        "ETag": f'"{hashlib.md5(body).hexdigest()}"',
        "Cache-Control": "max-age=600, public",
        "Vary": "Accept, Accept-Encoding",
        "X-PyPI-Last-Serial": str(serial),
    }
    return Response(200, headers, body, "OK")


def compressed(request: Request, response: Response) -> Response:
    """The same, as gzip where that is accepted."""
    if response.status != 200 or "gzip" not in request.headers.get("accept-encoding", ""):
        return response
    headers = {**response.headers, "Content-Encoding": "gzip"}
    return evolve(response, headers=headers, body=gzip.compress(response.body, mtime=0))


def file_response(request: Request, data: bytes) -> Response:
    """A file: 200, 206 or 416 (RFC 9110, 14)."""
    etag = f'"{hashlib.md5(data).hexdigest()}"'
    headers = {
        "Content-Type": "application/octet-stream",
        "ETag": etag,
        "Last-Modified": PUBLISHED,
        "Cache-Control": "max-age=365000000, immutable, public",
        "Accept-Ranges": "bytes",
    }
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not wanted or not any(wanted.groups()) or request.headers.get("if-range", etag) not in (etag, PUBLISHED):
        return Response(200, headers, data, "OK")
    first, last = int(wanted[1] or max(0, len(data) - int(wanted[2]))), len(data) - 1
    if all(wanted.groups()):
        last = min(last, int(wanted[2]))
    if first > last:
        unsatisfied = {**headers, "Content-Range": f"bytes */{len(data)}"}
        return Response(416, unsatisfied, reason="Range Not Satisfiable")
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(206, headers, data[first : last + 1], "Partial Content")


def conditional(request: Request, response: Response) -> Response:
    """304 where the client has it already."""
    etag = response.headers.get("ETag")
    if response.status == 200 and etag and request.headers.get("if-none-match") == etag:
        kept = {name: value for name, value in response.headers.items() if not name.startswith("Content-")}
        return Response(304, kept, reason="Not Modified")
    return response
