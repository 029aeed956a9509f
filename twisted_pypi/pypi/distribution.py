"""What a wheel or an sdist says of itself: by its name, and by the metadata in it. Pure."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from functools import lru_cache
from typing import BinaryIO

from attrs import frozen
from packaging.utils import parse_sdist_filename, parse_wheel_filename

from twisted_pypi.pypi.metadata import MAX_METADATA, metadata_of_wheel
from twisted_pypi.pypi.names import LONGEST_NAME, is_wheel, normalized

_PUBLISHED = (".whl", ".tar.gz", ".zip")


@frozen
class Identity:
    """Whose file it is: the normalised name of the project (PEP 503), and a version (PEP 440)."""

    project: str
    version: str


def is_published(filename: str) -> bool:
    """Whether a file of this name is meant to be installed: wheels (PEP 427) and sdists (PEP 625, and zip)."""
    return filename.lower().endswith(_PUBLISHED)


@lru_cache(maxsize=1 << 16)
def identity_of(filename: str) -> Identity | None:
    """Project and version in the name of a wheel or sdist, None where it has none."""
    if not filename.isprintable() or len(filename) > LONGEST_NAME:
        return None
    try:
        name, version = (parse_wheel_filename if is_wheel(filename) else parse_sdist_filename)(filename)[:2]
    except ValueError:
        return None
    project = normalized(name)
    return Identity(project, str(version)) if project else None


def core_metadata(file: BinaryIO, filename: str) -> bytes:
    """The METADATA of a wheel, the PKG-INFO of an sdist (b"" if it has none). Raises `ValueError` for broken files."""
    if is_wheel(filename):
        return metadata_of_wheel(file)
    try:
        return _of_zip(file) if filename.lower().endswith(".zip") else _of_tar(file)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"not a readable sdist: {error}") from error
    except (EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a readable sdist: {error}") from error


def requires_python(metadata: bytes) -> str:
    """`Requires-Python` (PEP 345) in core metadata, "" if there is none."""
    from packaging.metadata import parse_email  # here, for it takes 2 MB, and only local directories need it

    raw, _ = parse_email(metadata)
    return raw.get("requires_python", "")


def _of_zip(file: BinaryIO) -> bytes:
    with zipfile.ZipFile(file) as archive:
        name = next((name for name in archive.namelist() if _is_info(name)), None)
        if name is None:
            return b""
        with archive.open(name) as member:
            return member.read(MAX_METADATA)


def _of_tar(file: BinaryIO) -> bytes:
    with tarfile.open(fileobj=file, mode="r:gz") as archive:
        for member in archive:
            if member.isfile() and _is_info(member.name) and (content := archive.extractfile(member)):
                return content.read(MAX_METADATA)
    return b""


def _is_info(name: str) -> bool:
    """Whether this is the PKG-INFO of the sdist itself: in its one folder, not in an `.egg-info` below."""
    parts = name.removeprefix("./").split("/")
    return len(parts) == 2 and parts[1] == "PKG-INFO"
