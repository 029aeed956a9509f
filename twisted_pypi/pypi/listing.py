"""The project list: some 40 MB and 700,000 names, so it is never in memory as a whole.

Every pass goes over the body in small pieces, between which other threads run. Names that can't be asked for are left
out; of the top-level keys, "meta" is kept.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import unquote

import ijson  # type: ignore[import-untyped]
from attrs import define, frozen

from twisted_pypi.model import FileLink, PageBody
from twisted_pypi.pypi import simple_html, simple_json, slices
from twisted_pypi.pypi.charsets import check_whole, chunks, is_json, utf8_chunks
from twisted_pypi.pypi.names import all_normalized, normalized
from twisted_pypi.pypi.scanning import Anchor, Scan, Scanner

_HEAD = 256 << 10
_TAIL = 4096
_DEEPEST = 50
_MOST_VALUES = 10_000  # of one project's entry, and of "meta"
_LONGEST_VALUE = 16  # pieces of the body
_STARTS, _ENDS = ("start_map", "start_array"), ("end_map", "end_array")
_SERIAL = re.compile(rb"<!--\s*SERIAL\s+(\d{1,18})\s*-->")


Batch = list[tuple[str, dict[str, Any]]]
"""Some projects: the normalised name, and the entry."""


@frozen
class ProjectList:
    """`model.Document` for the project list. Its body is read again for each rendering, one at a time.

    `read` reads it: the entries of a piece of the body at a time.
    """

    body: PageBody
    meta: dict[str, Any]
    read: Callable[[PageBody], Iterator[list[Any]]]

    @property
    def version(self) -> int | None:
        """The last serial."""
        return simple_json.serial_of(self.meta)

    def links(self) -> Iterable[FileLink]:
        """None: it names no files."""
        return ()

    def render(self, body: str) -> Iterable[bytes]:
        """The chunks of "json" or "html". Raises `ValueError` if the list turns out to be broken."""
        return _RENDERERS[body](self.meta, self.batches())

    def batches(self) -> Iterator[Batch]:
        """The projects with usable names, each after its normalised name, a piece of the body's worth at a time."""
        for entries in self.read(self.body):
            projects = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("name"), str)]
            names = all_normalized([project["name"] for project in projects])
            yield [(name, project) for name, project in zip(names, projects, strict=True) if name is not None]

    def size(self) -> int:
        """Bytes of the body."""
        return self.body.stream.seek(0, 2)


@frozen
class ListUnion:
    """`model.Document` for several project lists as one: each name once, as the shortest list that has it spells it.

    The names of all lists but the longest are in memory while it is rendered. `claims` tells of a list and a normalised
    name whether it is to be shown. It has no serial: each is of one index.
    """

    lists: Mapping[str, ProjectList]
    claims: Callable[[str, str], bool]
    version: None = None

    def links(self) -> Iterable[FileLink]:
        """None: it names no files."""
        return ()

    def render(self, body: str) -> Iterable[bytes]:
        """The chunks of "json" or "html"."""
        versions = (project_list.meta["api-version"] for project_list in self.lists.values())
        return _RENDERERS[body]({"api-version": min(versions, key=_minor)}, self._batches())

    def _batches(self) -> Iterator[Batch]:
        seen: set[str] = set()
        shown = sorted(self.lists, key=lambda index: self.lists[index].size())
        for index in shown:
            for batch in self.lists[index].batches():
                claimed = [(name, project) for name, project in batch if self.claims(index, name)]
                yield [(name, project) for name, project in claimed if name not in seen]
                if index != shown[-1]:
                    seen.update(name for name, _ in claimed)


def union(claims: Callable[[str, str], bool], stored: Mapping[str, BinaryIO]) -> ListUnion:
    """The union of lists, in bodies that `ProjectList.render("json")` made and that stay open as long as it is used."""
    return ListUnion({index: _stored(stream) for index, stream in stored.items()}, claims)


def _stored(stream: BinaryIO) -> ProjectList:
    """The list in a body that we made: its meta comes first, and the rest need not be checked."""
    body = PageBody(stream, "", "")
    try:
        meta: Any = slices.meta_of(stream)
        return ProjectList(body, meta, _from_slices)
    except slices.Uneven:
        return ProjectList(body, next(meta for found in _items(body, "meta") for meta in found), _from_json)


def _minor(version: object) -> int:
    """The second part of an api-version whose first is known."""
    digits = re.match(r"\d*\.(\d{1,9})", str(version))
    return int(digits[1]) if digits else 0


def interpret(body: PageBody) -> ProjectList:
    """The project list in a body, which must stay open as long as the list is used.

    Raises `ValueError` if it is no such list, of an unknown major version, or truncated.
    """
    if is_json(body):
        return _from_even(body) or ProjectList(body, _json_meta(body), _from_json)
    check_whole(body)
    scan = _scan_head(body)
    if not _is_list(scan):
        raise ValueError("not a project list: it does not call itself one, nor links names")
    return ProjectList(body, _html_meta(body, scan), _from_html)


def _from_even(body: PageBody) -> ProjectList | None:
    """The list, if it can be read in slices. Raises `ValueError` if its meta is not one that we know."""
    try:
        meta = slices.meta_of(body.stream)
    except slices.Uneven:
        return None
    return ProjectList(body, simple_json.checked_meta(meta), _from_slices)


def _json_meta(body: PageBody) -> dict[str, Any]:
    # Going to the end for it tells too whether all of the body is JSON, and none of it more than memory has room for.
    shape = _Shape()
    for events in _pushed(body, ijson.basic_parse_coro):
        shape.follow(events)
    if not shape.has_projects:
        raise ValueError('not a project list: no "projects"')
    meta = None
    for found in _items(body, "meta"):
        meta = found[-1] if found else meta
    return simple_json.checked_meta(meta)


@define
class _Shape:
    """What is checked of a list before anything is made of it: the parser of items builds whatever it is told to."""

    has_projects: bool = False
    _key: str = ""
    _depth: int = 0
    _values: int = 0
    _silent: int = 0

    def follow(self, events: list[tuple[str, Any]]) -> None:
        """The events of one more piece. Raises `ValueError` for what is too large or too deep."""
        self._silent = 0 if events else self._silent + 1
        if self._silent > _LONGEST_VALUE:
            raise ValueError("a single value is too long")
        depth, values = self._depth, self._values
        for event, value in events:
            values += 1
            if event in _STARTS:
                self.has_projects |= depth == 1 and event == "start_array" and self._key == "projects"
                depth += 1
                if depth > _DEEPEST:
                    raise ValueError("nested too deeply")
            elif event in _ENDS:
                depth -= 1
                if depth == 2 and self._key != "meta":
                    values = 0
            elif depth == 1 and event == "map_key":
                self._key, values = value, 0
            if values > _MOST_VALUES and self._key in ("meta", "projects"):
                raise ValueError("a single entry is too large")
        self._depth, self._values = depth, values


def _items(body: PageBody, prefix: str) -> Iterator[list[Any]]:
    return _pushed(body, ijson.items_coro, prefix)


def _pushed(body: PageBody, make: Any, *arguments: str) -> Iterator[list[Any]]:
    """What ijson makes of each piece of the body. Raises `ValueError` for what isn't JSON, or is truncated."""
    found = ijson.sendable_list()
    parser = make(found, *arguments, use_float=True)
    try:
        for number, chunk in enumerate(chunks(body.stream)):
            parser.send(chunk if number else chunk.removeprefix(codecs.BOM_UTF8))
            yield found
            del found[:]
        parser.close()
    except ijson.JSONError as error:
        raise ValueError(f"not JSON: {error}") from error
    yield found


def _from_json(body: PageBody) -> Iterator[list[Any]]:
    return _items(body, "projects.item")


def _from_slices(body: PageBody) -> Iterator[list[Any]]:
    return slices.slices(body.stream)


def _scan_head(body: PageBody) -> Scan:
    """The scan of the first quarter megabyte: enough to know a list by."""
    scanner, size = Scanner(), 0
    for chunk in utf8_chunks(body):
        scanner.feed(chunk)
        size += len(chunk)
        if size >= _HEAD:
            break
    scanner.close()
    return scanner.scan


def _is_list(scan: Scan) -> bool:
    """Whether this is a project list: PEP 503 makes every link one whose last part is the project's name."""
    if scan.asks:
        return False
    if scan.titled or scan.blank:
        return True
    alike = sum(_last_part(anchor) == normalized(anchor.text) is not None for anchor in scan.anchors)
    return not scan.live and 2 * alike > len(scan.anchors)


def _last_part(anchor: Anchor) -> str | None:
    path = anchor.href.partition("#")[0].partition("?")[0]
    return normalized(unquote(path.rstrip("/").rpartition("/")[2]))


def _html_meta(body: PageBody, scan: Scan) -> dict[str, Any]:
    for version in scan.meta("pypi:repository-version"):
        simple_json.check_version(version)
    meta: dict[str, Any] = {"api-version": simple_json.HTML_VERSION}
    size = body.stream.seek(0, 2)
    body.stream.seek(max(0, size - _TAIL))
    serial = _SERIAL.search(body.stream.read(_TAIL))
    return {**meta, "_last-serial": int(serial[1])} if serial else meta


def _from_html(body: PageBody) -> Iterator[list[Any]]:
    scanner = Scanner()
    for chunk in utf8_chunks(body):
        scanner.feed(chunk)
        yield _named(scanner.scan.take())
    scanner.close()
    yield _named(scanner.scan.take())


def _named(anchors: list[Anchor]) -> list[dict[str, Any]]:
    """The projects that the anchors of a list link: those whose text, or else last part of the link, is a name."""
    named = (anchor.text if normalized(anchor.text) else _last_part(anchor) for anchor in anchors)
    return [{"name": name} for name in named if name]


def _render_json(meta: dict[str, Any], batches: Iterator[Batch]) -> Iterator[bytes]:
    yield b'{"meta":' + simple_json.dump(meta) + b',"projects":['
    separator = b""
    for batch in batches:
        if batch:
            yield separator + simple_json.dump([project for _, project in batch])[1:-1]
            separator = b","
    yield b"]}"


def _render_html(meta: dict[str, Any], batches: Iterator[Batch]) -> Iterator[bytes]:
    yield simple_html.head({"meta": meta}, "Simple index").encode()
    for batch in batches:  # what can be normalised holds nothing to escape
        yield "".join([f'<a href="{name}/">{project["name"]}</a><br>\n' for name, project in batch]).encode()
    yield simple_html.tail(meta)


_RENDERERS = {"json": _render_json, "html": _render_html}
