"""Simple pages as JSON (PEP 691, 700, 708, 714, 740, 792).

A page *value* here is what `orjson` makes of such a page: a dict with "meta", "name", "files" and whatever else
upstream says. What we don't know passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson

from twisted_pypi.pypi.digests import natural
from twisted_pypi.pypi.json_pieces import load_pieces

HTML_VERSION = "1.0"
"""The api-version of what was HTML: later ones promise more than HTML says (PEP 700)."""

# PEP 714 renamed it; the last is what an index that misread PEP 658 writes.
_METADATA_KEYS = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_BATCH = 512

MAX_FILES = 100_000
"""Of one project's page. Those that exist have some ten thousand; each costs a kilobyte while the page is read."""


def dump(value: object) -> bytes:
    """As JSON. Raises `ValueError` for what is nested too deeply: orjson reads more levels than it writes."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"can't be JSON again: {error}") from error


def parse(data: bytes) -> dict[str, Any]:
    """The page value in an upstream body.

    Raises `ValueError` if it isn't a simple page, or one of a major version that we don't know.
    """
    files: list[Any] = []
    return {**parse_files(data, files.extend), "files": files}


def parse_files(data: bytes, take: Callable[[list[Any]], None]) -> dict[str, Any]:
    """As `parse`, without "files": `take` is given those in order, some at a time, also before the rest is found wrong.

    They are most of a large page, so whoever makes something of them has them all in memory but once.
    """
    count = 0

    def counted(files: list[Any]) -> None:
        nonlocal count
        count += len(files)
        if count > MAX_FILES:
            raise ValueError(f"more than {MAX_FILES} files")
        take(files)

    page = load_pieces(data, "files", counted)
    page["meta"] = checked_meta(page.get("meta"))
    if not isinstance(page.get("name"), str):
        raise ValueError('not a simple page: no "name"')
    if not isinstance(files := page.pop("files", None), list):
        raise ValueError('not a simple page: no "files"')
    counted(files)
    return page


def checked_meta(meta: object) -> dict[str, Any]:
    """A page's "meta", with an api-version, and without a serial that is none.

    Raises `ValueError` for a major version other than 1 (PEP 629, 691).
    """
    if meta is None:
        meta = {}
    if not isinstance(meta, dict):
        raise ValueError('"meta" is no object')
    check_version(meta.setdefault("api-version", HTML_VERSION))
    if serial_of(meta) is None:
        meta.pop("_last-serial", None)
    return meta


def check_version(version: object) -> None:
    """Raises `ValueError` for an api-version whose major part isn't 1."""
    if str(version).partition(".")[0].strip() != "1":
        raise ValueError(f"api-version {str(version)[:40]!r} is not supported")


def serial_of(meta: dict[str, Any]) -> int | None:
    """The page's last serial, None if it carries none."""
    return natural(meta.get("_last-serial"))


def tidy_file(file: dict[str, Any], url: str) -> dict[str, Any]:
    """A file's entry as we serve it: with `url`, the keys that clients disagree on made uniform, the rest as it was.

    `dist-info-metadata` as an object breaks pip 22.3, so `core-metadata` alone is written.
    """
    tidy = dict(file)
    for key, is_right in _RIGHT:
        if key in tidy and not is_right(tidy[key]):
            del tidy[key]
    tidy["url"] = url
    hashes = file.get("hashes")
    tidy["hashes"] = _texts(hashes) if isinstance(hashes, dict) else {}
    metadata = None
    for key in _METADATA_KEYS:
        said = tidy.pop(key, None)
        metadata = said if metadata is None else metadata
    if metadata is not None:
        tidy["core-metadata"] = _announcement(metadata)
    if "yanked" in file:
        tidy["yanked"] = _yanked(file["yanked"])
    return tidy


def _announcement(value: object) -> dict[str, str] | bool:
    """PEP 658, 714: true, or the digests of the metadata file."""
    return (_texts(value) or True) if isinstance(value, dict) else value is True


def _texts(mapping: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in mapping.items() if isinstance(value, str)}


def _is_size(value: object) -> bool:
    return natural(value) is not None


def _is_time(value: object) -> bool:
    """PEP 700: ISO 8601."""
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


# Keys that we know, and whether a value is of their type. One that isn't costs some clients the whole page.
_RIGHT = (("size", _is_size), ("upload-time", _is_time), ("requires-python", _is_text), ("provenance", _is_text))


def _yanked(value: object) -> str | bool:
    """PEP 592, 691: the reason if there is one, else whether."""
    return value if isinstance(value, str) and value else bool(value)


def render(page: dict[str, Any], files: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    """The chunks of a page, of which `files` replaces the files. In steps, for orjson holds the interpreter lock."""
    head = dump({key: value for key, value in page.items() if key != "files"})
    yield head[:-1] + b',"files":['
    for first in range(0, len(files), _BATCH):
        batch = dump(files[first : first + _BATCH])[1:-1]
        yield b"," + batch if first else batch
    yield b"]}"
