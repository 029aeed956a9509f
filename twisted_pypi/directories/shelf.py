"""What a directory has to offer, as a value. Pure.

Laws: a name of which a file lies there is the directory's, though that file can't be read or is being read still: it is
not to be looked for elsewhere meanwhile. Of two files with one name, the first in the order of their paths is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from posixpath import basename
from typing import Any
from urllib.parse import quote

import orjson
from attrs import field, frozen
from packaging.version import Version

from twisted_pypi.directories.ledger import Readings
from twisted_pypi.directories.listing import Listing, Stamp
from twisted_pypi.directories.reading import Reading
from twisted_pypi.pypi.distribution import identity_of

_META = {"api-version": "1.1"}
_LAST_SECOND = 253402300799  # of the year 9999: RFC 3339 has no later one


Unreadable = Mapping[str, tuple[Stamp, str]]
"""By path: why it can't be read, and of which content."""


@frozen
class Item:
    """One file that is served. `path` is relative to the directory."""

    path: str
    version: str
    stamp: Stamp
    reading: Reading


@frozen
class Shelf:
    """`items` by file name; `projects`: the file names of each; `waiting`: those not read yet; `problems` by path."""

    items: Mapping[str, Item] = field(factory=dict)
    projects: Mapping[str, tuple[str, ...]] = field(factory=dict)
    waiting: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(factory=dict)

    def page(self, project: str, metadata: bool) -> bytes | None:
        """The project's page (PEP 691, 700), with or without `.metadata`; None while all of its files wait.

        Raises `KeyError` for a project that isn't there.
        """
        filenames = self.projects[project]
        items = [(name, self.items[name]) for name in filenames if name in self.items]
        if not items and not self.waiting.isdisjoint(filenames):
            return None
        items.sort(key=lambda pair: (Version(pair[1].version), pair[0]))
        versions = list(dict.fromkeys(item.version for _, item in items))
        files = [_entry(name, item, metadata) for name, item in items]
        return orjson.dumps({"meta": _META, "name": project, "versions": versions, "files": files})

    def listing(self) -> bytes:
        """The page of all projects."""
        return orjson.dumps({"meta": _META, "projects": [{"name": name} for name in sorted(self.projects)]})


def arranged(listing: Listing, readings: Readings, unreadable: Unreadable) -> Shelf:
    """The shelf of a directory. Files neither read nor known as unreadable with their present stamps wait."""
    items: dict[str, Item] = {}
    projects: dict[str, list[str]] = {}
    waiting: set[str] = set()
    problems = dict(listing.problems)
    places: dict[str, str] = {}
    for path, stamp in listing.stamps.items():
        filename = basename(path)
        identity = identity_of(filename)
        if identity is None:
            problems[path] = "its name tells no project and version"
            continue
        if places.setdefault(filename, path) != path:
            problems[path] = f"{places[filename]} has the same name, and is served"
            continue
        projects.setdefault(identity.project, []).append(filename)
        read, failed = readings.get(path), unreadable.get(path)
        if read is not None and read[0] == stamp:
            items[filename] = Item(path, identity.version, stamp, read[1])
        elif failed is not None and failed[0] == stamp:
            problems[path] = failed[1]
        else:
            waiting.add(filename)
    return Shelf(items, {name: tuple(files) for name, files in projects.items()}, frozenset(waiting), problems)


def _entry(filename: str, item: Item, metadata: bool) -> dict[str, Any]:
    uploaded = datetime.fromtimestamp(min(max(0, item.stamp.mtime_ns // 10**9), _LAST_SECOND), UTC)
    entry: dict[str, Any] = {
        "filename": filename,
        "url": f"../../packages/{quote(filename, safe='+!~')}",
        "hashes": {"sha256": item.reading.sha256},
        "size": item.stamp.size,
        "upload-time": f"{uploaded:%Y-%m-%dT%H:%M:%SZ}",
    }
    if item.reading.requires_python:
        entry["requires-python"] = item.reading.requires_python
    if metadata and item.reading.metadata:
        entry["core-metadata"] = {"sha256": item.reading.metadata}
    return entry
