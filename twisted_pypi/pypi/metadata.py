"""A wheel's own metadata: what upstream should serve as `.metadata` (PEP 658), taken from the wheel itself."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from typing import BinaryIO

MAX_METADATA = 16 << 20
"""Bytes that a METADATA file may have, decompressed."""

# Whatever is compressed in some way tells in its own way that it is damaged; bzip2 does it with an OSError.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError),
    *(NotImplementedError, RuntimeError, EOFError, OverflowError),
)


def metadata_of_wheel(wheel: BinaryIO) -> bytes:
    """The bytes of `NAME.dist-info/METADATA` (binary distribution format, PEP 427), at most `MAX_METADATA`.

    Raises `ValueError` when it isn't a wheel with exactly one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = [info for info in archive.infolist() if _is_metadata(info.filename)]
            if len(found) != 1:
                raise ValueError(f"{len(found)} METADATA files in the wheel")
            with archive.open(found[0]) as member:
                body = member.read(MAX_METADATA + 1)
    except _UNREADABLE as error:
        raise ValueError(f"not a readable wheel: {error}") from error
    if len(body) > MAX_METADATA:
        raise ValueError("its METADATA is too large")
    return body


def _is_metadata(name: str) -> bool:
    directory, _, leaf = name.partition("/")
    return leaf == "METADATA" and directory.endswith(".dist-info")
