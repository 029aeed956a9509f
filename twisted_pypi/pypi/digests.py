"""What index pages say of digests, sizes and metadata, made uniform."""

from __future__ import annotations

import hashlib
import re

from twisted_pypi.model import FileLink

# PEP 503: any hash function that hashlib guarantees. Those of variable length can't be computed without more knowledge.
_KNOWN = frozenset(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
_HEX = re.compile(r"[0-9a-fA-F]+")
_LOWER_HEX = re.compile(r"[0-9a-f]+")
_PREFERRED = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")


def known_hashes(hashes: object) -> dict[str, str]:
    """The digests that can be checked, algorithm to lower-case hex; {} for anything that is no mapping.

    The same object where all are such already: a page has thousands, and they are kept beside each other.
    """
    if not isinstance(hashes, dict):
        return {}
    for algorithm, value in hashes.items():
        if algorithm not in _KNOWN or not isinstance(value, str) or not _LOWER_HEX.fullmatch(value):
            break
    else:
        return hashes
    return {
        algorithm: value.lower()
        for algorithm, value in hashes.items()
        if algorithm in _KNOWN and isinstance(value, str) and _HEX.fullmatch(value)
    }


def one_hash(hashes: object) -> str:
    """`algorithm=hex` for where only one digest has room (HTML): the one that most clients check. "" for none."""
    known = known_hashes(hashes)
    algorithm = next((name for name in _PREFERRED if name in known), next(iter(known), ""))
    return f"{algorithm}={known[algorithm]}" if algorithm else ""


def hashes_in(text: str) -> dict[str, str]:
    """The digests in a fragment or attribute (`sha256=…`, also several joined by `&`)."""
    pairs = (part.partition("=") for part in text.lstrip("#").split("&"))
    return known_hashes({name.strip().lower(): value.strip() for name, _, value in pairs})


def metadata_of(announced: object) -> dict[str, str] | None:
    """`FileLink.metadata` for a value of `core-metadata` (PEP 714)."""
    if isinstance(announced, dict):
        return known_hashes(announced)
    return {} if announced is True else None


def natural(value: object) -> int | None:
    """A size in bytes or a serial: not negative, and such that any database can hold it. None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def link_of(url: str, file: dict[str, object]) -> FileLink:
    """What a file's entry in a page says, for verification."""
    return FileLink(
        url, known_hashes(file.get("hashes")), natural(file.get("size")), metadata_of(file.get("core-metadata"))
    )
