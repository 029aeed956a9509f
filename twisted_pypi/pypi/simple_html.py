"""Simple pages as HTML (PEP 503, 592, 629, 658, 708, 714, 740, 792), from and to the page values of `simple_json`.

HTML is also given `data-size` and `data-upload-time`, which no PEP names, so that nothing gets lost on the way from
one of these caches to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import unquote

from twisted_pypi.model import PageBody
from twisted_pypi.pypi.charsets import check_whole
from twisted_pypi.pypi.digests import hashes_in, natural, one_hash
from twisted_pypi.pypi.names import is_distribution, normalized, projects_of
from twisted_pypi.pypi.scanning import Anchor, Scan, scan_page
from twisted_pypi.pypi.simple_json import HTML_VERSION, MAX_FILES, check_version, serial_of

_BATCH = 512
_TEXTS = (("data-requires-python", "requires-python"), ("data-provenance", "provenance"))


def parse(body: PageBody, name: str) -> tuple[dict[str, Any], str]:
    """The page value of an upstream HTML page of the project `name`, and its `<base href>` ("" for none).

    Raises `ValueError` if it isn't an index page (a login page may well come with status 200), of a major version that
    we don't know, or perhaps truncated.
    """
    check_whole(body)
    files: list[dict[str, Any]] = []

    def take(anchors: list[Anchor]) -> None:
        files.extend(file for anchor in anchors if (file := _file(anchor)))

    scan = scan_page(body, MAX_FILES, take)
    for version in scan.meta("pypi:repository-version"):
        check_version(version)
    if not _is_index(scan, files, name):
        raise ValueError("not an index page: it links no distribution and does not call itself an index")
    return {"meta": _meta(scan), "name": name, **_project(scan), "files": files}, scan.base


def _is_index(scan: Scan, files: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether this is an index page of the project, rather than one for people.

    It is if it links a file of this project; or, asking nobody for anything, any distribution (names of old files obey
    no rule). An index page without files has to call itself one, be titled with the project's bare name, or be blank.
    """
    if any(name in projects_of(file["filename"]) for file in files):
        return True
    if scan.asks:
        return False
    named = not scan.live and not scan.text and any(normalized(title.strip()) == name for title in scan.titles)
    return bool(files) or scan.titled or named or scan.blank


def _meta(scan: Scan) -> dict[str, Any]:
    meta: dict[str, Any] = {"api-version": HTML_VERSION}
    if scan.serial is not None:
        meta["_last-serial"] = scan.serial
    if tracks := scan.meta("pypi:tracks"):
        meta["tracks"] = tracks
    return meta


def _project(scan: Scan) -> dict[str, Any]:
    """The keys beside "files" that HTML can carry (PEP 708, 792)."""
    found: dict[str, Any] = {}
    if locations := scan.meta("pypi:alternate-locations"):
        found["alternate-locations"] = locations
    if status := scan.meta("pypi:project-status"):
        found["project-status"] = {"status": status[0]}
        if reason := scan.meta("pypi:project-status-reason"):
            found["project-status"]["reason"] = reason[0]
    return found


def _file(anchor: Anchor) -> dict[str, Any] | None:
    """The entry for one anchor; None if it is no distribution. PEP 503: text and last path component are its name."""
    url, _, fragment = anchor.href.partition("#")
    basename = unquote(url.partition("?")[0].rpartition("/")[2])
    filename = anchor.text if is_distribution(anchor.text) else basename
    if not is_distribution(filename):
        return None
    file: dict[str, Any] = {"filename": filename, "url": url, "hashes": hashes_in(fragment)}
    attributes = anchor.attributes
    file.update({key: attributes[name] for name, key in _TEXTS if attributes.get(name)})
    metadata = attributes.get("data-core-metadata", attributes.get("data-dist-info-metadata"))
    if metadata is not None and metadata.strip().lower() != "false":
        file["core-metadata"] = hashes_in(metadata) or True
    if "data-yanked" in attributes:
        file["yanked"] = attributes["data-yanked"] or True
    if (signed := attributes.get("data-gpg-sig", "").strip().lower()) in ("true", "false"):
        file["gpg-sig"] = signed == "true"
    if (size := attributes.get("data-size", "")).isascii() and size.isdecimal() and len(size) < 19:
        file["size"] = int(size)
    if uploaded := attributes.get("data-upload-time"):
        file["upload-time"] = uploaded
    return file


def render(page: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> Iterator[bytes]:
    """The chunks of a page, of which `files` replaces the files."""
    title = escape(f"Links for {page['name']}")
    yield f"{head(page, title)}<h1>{title}</h1>\n".encode()
    for first in range(0, len(files), _BATCH):
        yield "".join(map(_anchor, files[first : first + _BATCH])).encode("utf-8", "replace")
    yield tail(page["meta"])


def head(page: Mapping[str, Any], title: str) -> str:
    """Everything up to the body's content; `title` is escaped."""
    return (
        '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        + "".join(f'<meta name="{name}" content="{escape(content)}">\n' for name, content in _metas(page))
        + f"<title>{title}</title>\n</head>\n<body>\n"
    )


def tail(meta: dict[str, Any]) -> bytes:
    """Everything after the body's content."""
    serial = serial_of(meta)
    return b"</body>\n</html>\n" + (b"" if serial is None else b"<!--SERIAL %d-->\n" % serial)


def _metas(page: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "pypi:repository-version", str(page["meta"]["api-version"])
    status = page.get("project-status")
    if isinstance(status, dict):
        for name, key in (("pypi:project-status", "status"), ("pypi:project-status-reason", "reason")):
            if isinstance(status.get(key), str):
                yield name, status[key]
    for name, values in (
        ("pypi:tracks", page["meta"].get("tracks")),
        ("pypi:alternate-locations", page.get("alternate-locations")),
    ):
        for value in values if isinstance(values, list) else ():
            if isinstance(value, str):
                yield name, value


def _anchor(file: Mapping[str, Any]) -> str:
    digest = one_hash(file.get("hashes"))
    href = f"{file['url']}#{digest}" if digest else file["url"]
    attributes = "".join([f' {name}="{value}"' for name, value in _attributes(file)])
    return f'<a href="{escape(href)}"{attributes}>{escape(file["filename"])}</a><br>\n'


def _attributes(file: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and escaped values."""
    for name, key in (*_TEXTS, ("data-upload-time", "upload-time")):
        if isinstance(value := file.get(key), str) and value:
            yield name, escape(value)
    if announced := file.get("core-metadata"):
        value = one_hash(announced) or "true"
        # PEP 714: clients know one or the other.
        yield "data-dist-info-metadata", value
        yield "data-core-metadata", value
    if yanked := file.get("yanked"):
        yield "data-yanked", escape(yanked) if isinstance(yanked, str) else ""
    if isinstance(signed := file.get("gpg-sig"), bool):
        yield "data-gpg-sig", "true" if signed else "false"
    if (size := natural(file.get("size"))) is not None:
        yield "data-size", str(size)
