"""Project names and file names: what may be asked for, and which project a file belongs to. Pure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from packaging.version import InvalidVersion, Version

from twisted_pypi.errors import Absent

_SEPARATORS = re.compile(r"[-_.]+")
# PEP 508 on the name as written allows just what PEP 503 normalises to this.
_NORMAL = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_ALL_NORMAL = re.compile(rf"(?:{_NORMAL.pattern}\n)*+")
_PATTERN = re.compile(r"[a-z0-9*]+(?:-[a-z0-9*]+)*")

_SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.z", ".tar.lzma", ".tar.lz", ".tbz", ".txz", ".tar")
_BINARIES = (".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg")
_SUFFIXES = (".whl", *_SDISTS, *_BINARIES)
LONGEST_NAME = 255
"""Bytes of a file name, on most file systems. Each dash may be the one before the version: reading one is quadratic."""

_COMPANIONS = (".metadata", ".asc", ".sig", ".provenance")

# What bdist_dumb, bdist_wininst, bdist_rpm and setuptools' eggs append to name and version.
_PLATFORM = re.compile(
    r"(?:\.(?:linux-\w+|macosx-[\d.]+-\w+|win32|win-amd64|win-arm64))?(?:-py\d(?:\.\d+)?)?$|-\d+\.noarch$"
)
_EGG_PLATFORM = re.compile(r"-py\d(?:\.\d+)?(?:-.+)?$")


def normalized(name: str) -> str | None:
    """The normalised form of a project name (PEP 503), None if it is no such name (PEP 508)."""
    # Case folding outside ASCII could make a valid name of another one (the Kelvin sign becomes "k").
    if not name.isascii():
        return None
    folded = _SEPARATORS.sub("-", name).lower()
    return folded if _NORMAL.fullmatch(folded) else None


def all_normalized(names: list[str]) -> list[str | None]:
    """`normalized` of each, at a fifth of the cost where all are names."""
    text = "".join([f"{name}\n" for name in names])
    folded = _SEPARATORS.sub("-", text).lower()
    if text.isascii() and text.count("\n") == len(names) and _ALL_NORMAL.fullmatch(folded):
        return list(folded.split("\n")[:-1])
    return [normalized(name) for name in names]


def project_name(text: str) -> str:
    """The normalised project name that a client means by `text`. Raises `Absent` if it can't be one."""
    name = normalized(text)
    if name is None:
        raise Absent(
            f"{text[:80]!a} is not a project name: those are made of ASCII letters, digits, '.', '_' and '-', "
            "and begin and end with a letter or digit (PEP 508)"
        )
    return name


def route_pattern(text: str) -> str:
    """A pattern of project names, normalised as names are; `*` stands for any characters.

    Raises `ValueError` for what no name can match.
    """
    folded = _SEPARATORS.sub("-", text).lower()
    if not _PATTERN.fullmatch(folded):
        raise ValueError("a pattern is a project name that may hold *, as in acme-*")
    return folded


def matches(pattern: str, name: str) -> bool:
    """Whether a normalised name is among those that a `route_pattern` means."""
    return fnmatchcase(name, pattern)


def stem_of(filename: str) -> str | None:
    """A distribution's file name without its suffix (`.whl`, `.tar.gz` …); None if it has no such suffix."""
    lower = filename.lower()
    suffix = next((suffix for suffix in _SUFFIXES if lower.endswith(suffix)), "")
    stem = filename[: -len(suffix)] if suffix else ""
    return stem or None


def is_file_name(text: str) -> bool:
    """Whether a client can give a file this name: one path segment on any system, printable, of at most 255 bytes."""
    if not text.isprintable() or "/" in text or "\\" in text or not text.strip(" ."):
        return False
    return (len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) <= LONGEST_NAME


def is_distribution(filename: str) -> bool:
    """Whether this could be the name of a file to install: a known suffix on what `is_file_name`."""
    return stem_of(filename) is not None and is_file_name(filename)


def is_wheel(filename: str) -> bool:
    """Whether the file name ends as a wheel's does (PEP 427)."""
    return filename.lower().endswith(".whl")


def projects_of(filename: str) -> tuple[str, ...]:
    """The normalised names of the projects that the file may belong to, the most plausible first.

    Knows wheels (PEP 427), sdists (PEP 625 and all the spellings before it), eggs and installers, each also with
    `.metadata` (PEP 658) or a signature's suffix. A legacy sdist's name can be read in several ways
    (`foo-2-1.tar.gz`). Empty for anything else, and above `LONGEST_NAME`.
    """
    filename = _without_companion(filename)
    stem = stem_of(filename)
    if stem is None or len(filename) > LONGEST_NAME:
        return ()
    parts = _name_and_version(filename.lower(), stem).split("-")
    readings = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(len(parts) - 1, 0, -1)]
    # The sort is stable: of equally plausible readings the longest name comes first.
    readings.sort(key=lambda reading: _implausibility(reading[1]))
    names = (normalized(name) for name, _ in readings)
    return tuple(dict.fromkeys(name for name in names if name))


def _without_companion(filename: str) -> str:
    lower = filename.lower()
    suffix = next((suffix for suffix in _COMPANIONS if lower.endswith(suffix)), "")
    return filename[: -len(suffix)] if suffix else filename


def _name_and_version(lower: str, stem: str) -> str:
    """The stem without what says where it runs."""
    if lower.endswith(".egg"):
        return _EGG_PLATFORM.sub("", stem)
    if not lower.endswith(".whl"):
        return _PLATFORM.sub("", stem, count=1)
    parts = stem.split("-")
    # name-version[-build]-python-abi-platform (PEP 427); a build begins with a digit. Some names are ill-formed.
    has_build = len(parts) == 6 and parts[2][:1].isdigit() and parts[1][:1].isdigit()
    return "-".join(parts[:2] if has_build else parts[:-3])


def _implausibility(version: str) -> int:
    """How odd it is to read this as a version: the lower the better."""
    try:
        Version(version)
    except InvalidVersion:
        return 2 if version[:1].isdigit() else 3
    # "foo-1.0-1" is a post release of foo (PEP 440) rather than version 1 of "foo-1.0".
    return 1 if version.isdigit() else 0
