"""What a packument says of a tarball's bytes: Subresource Integrity, or the older `shasum`."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator

_LENGTHS = {"sha512": 64, "sha384": 48, "sha256": 32, "sha1": 20}
"""Bytes of the digests that `integrity` may hold, the strongest first: that one decides (SRI, 3.3.4)."""

_SHASUM = re.compile(r"[0-9a-fA-F]{40}")


def hashes_of(dist: dict[str, object]) -> dict[str, str]:
    """The digest by which the tarball is checked, algorithm to lower-case hex; {} if none can be.

    As npm does: the strongest of `integrity`, else `shasum`. Where `integrity` gives a choice of several digests of one
    kind, any of which may be the file's, none of them is the digest.
    """
    integrity, shasum = dist.get("integrity"), dist.get("shasum")
    found: dict[str, set[str]] = {}
    for algorithm, digest in _digests(integrity if isinstance(integrity, str) else ""):
        found.setdefault(algorithm, set()).add(digest)
    for algorithm in _LENGTHS:
        if len(digests := found.get(algorithm, set())) == 1:
            return {algorithm: digests.pop()}
    return {"sha1": shasum.lower()} if isinstance(shasum, str) and _SHASUM.fullmatch(shasum) else {}


def _digests(integrity: str) -> Iterator[tuple[str, str]]:
    """Algorithm and hex of each part that can be read (SRI, 3.5: `ALGORITHM-BASE64?OPTIONS`, blanks between them)."""
    for part in integrity.split():
        algorithm, _, value = part.partition("?")[0].partition("-")
        try:
            digest = b64decode(value, validate=True)
        except (Error, ValueError):
            continue
        if len(digest) == _LENGTHS.get(algorithm.lower()):
            yield algorithm.lower(), digest.hex()
