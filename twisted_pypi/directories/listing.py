"""What lies in a directory. Looking is one `stat` a file; called in worker threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from twisted_pypi.pypi.distribution import is_published

MAX_FILES = 200_000
"""Files of a directory that are served."""

MAX_DEPTH = 16
"""Levels of sub-directories that are looked into."""

_SIGNED = (1 << 63) - 1  # what SQLite can keep


@frozen
class Stamp:
    """What tells one content of a file from the next, without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """The stamp in what `stat` says."""
        return cls(status.st_dev & _SIGNED, status.st_ino & _SIGNED, status.st_size, status.st_mtime_ns)


@frozen
class Listing:
    """The files of a directory: stamps by path relative to it, in sorted order, and what can't be served, with why.

    `touched` is when each last changed in any way, in seconds: copying tools set a time of the past at the end.
    `identity` tells the directory itself from another one at its path.
    """

    identity: tuple[int, int]
    stamps: Mapping[str, Stamp]
    touched: Mapping[str, float] = field(factory=dict, eq=False)
    problems: Mapping[str, str] = field(factory=dict)


def look(root: str, before: Listing | None = None) -> Listing:
    """The wheels and sdists in `root` and its sub-directories: regular files that are inside it, symlinks resolved.

    Hidden names (half of a copy, for many tools) and symlinked directories are passed over. Raises `OSError` when
    `root` can't be read, or became another, empty directory: nothing is mounted there any more.
    """
    real = os.path.realpath(root, strict=True)
    status = os.stat(real)
    identity = (status.st_dev, status.st_ino)
    problems: dict[str, str] = {}
    found: dict[str, os.stat_result] = {}
    for path, status in _files(real, "", 0, problems):
        if len(found) >= MAX_FILES:
            problems[""] = f"more than {MAX_FILES} files: the others are left out"
            break
        found[path] = status
    if before is not None and before.stamps and not found and before.identity != identity:
        raise OSError("it is another directory than it was, and empty: is something not mounted?")
    ordered = sorted(found)
    return Listing(
        identity,
        {path: Stamp.of(found[path]) for path in ordered},
        {path: max(found[path].st_mtime, found[path].st_ctime) for path in ordered},
        problems,
    )


def _files(root: str, below: str, depth: int, problems: dict[str, str]) -> Iterator[tuple[str, os.stat_result]]:
    """The files in the folder `below` `root`. Raises `OSError` for `root` itself alone."""
    folders = []
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif is_published(entry.name) and (status := _status(root, entry, path, problems)):
                yield path, status
    for folder in sorted(folders):
        if depth >= MAX_DEPTH:
            problems[folder] = f"deeper than {MAX_DEPTH} directories"
            continue
        try:
            yield from _files(root, folder, depth + 1, problems)
        except OSError as error:
            problems[folder] = f"can't be read: {error.strerror}"


def _status(root: str, entry: os.DirEntry[str], path: str, problems: dict[str, str]) -> os.stat_result | None:
    try:
        if entry.is_symlink() and not os.path.realpath(entry.path).startswith(os.path.join(root, "")):
            problems[path] = "is a link that leads out of the directory"
            return None
        status = entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        problems[path] = f"can't be read: {error.strerror}"
        return None
    if not stat.S_ISREG(status.st_mode):
        problems[path] = "is no regular file"
        return None
    return status
