"""Reading a file once: its digest, and what its metadata says. Called in worker threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import BinaryIO

from attrs import frozen

from twisted_pypi.directories.listing import Stamp
from twisted_pypi.pypi.distribution import core_metadata, requires_python
from twisted_pypi.pypi.names import is_wheel

_PIECE = 1 << 20


class Stopped(Exception):
    """The daemon ends, or the directory is watched no more."""


@frozen
class Reading:
    """What was found in a file. `metadata` is the SHA-256 of what is served as its `.metadata`, "" if nothing is."""

    sha256: str
    requires_python: str = ""
    metadata: str = ""


def open_same(path: str, stamp: Stamp) -> BinaryIO:
    """The file at `path`, if it is still the one with this stamp. Raises `OSError`; `LookupError` for another one."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")  # a pipe would wait
    try:
        check_same(file, stamp)
    except BaseException:
        file.close()
        raise
    return file


def check_same(file: BinaryIO, stamp: Stamp) -> None:
    """Raises `LookupError` when the open file isn't, or is no more, as this stamp says."""
    if Stamp.of(os.fstat(file.fileno())) != stamp:
        raise LookupError("it changed")


def read(path: str, stamp: Stamp, stopped: Callable[[], bool]) -> Reading:
    """What is in the file. Raises as `open_same`; `ValueError` when it isn't what its name says; `Stopped`."""
    with open_same(path, stamp) as file:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
            if stopped():
                raise Stopped
        metadata = metadata_in(file, path)
        check_same(file, stamp)
    kept = hashlib.sha256(metadata).hexdigest() if is_wheel(path) else ""
    return Reading(digest.hexdigest(), requires_python(metadata), kept)


def metadata_in(file: BinaryIO, path: str) -> bytes:
    """The core metadata in an open wheel or sdist. Raises `ValueError`."""
    file.seek(0)
    return core_metadata(file, os.path.basename(path))
