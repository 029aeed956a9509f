"""A small file beside the catalogue, replaced as a whole."""

from __future__ import annotations

import os

from attrs import frozen

LARGEST = 4 << 20
"""Bytes that are read: what is larger is nothing that we wrote."""

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class KeptFile:
    """The file `name` in `directory`. Both methods block, and raise `OSError`."""

    directory: str
    name: str

    @property
    def _path(self) -> str:
        return os.path.join(self.directory, self.name)

    def read(self) -> bytes | None:
        """What was written last; None if nothing was. Raises `ValueError` for more than `LARGEST` bytes."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | _SAFE)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError("it is too large")
        return data

    def write(self, data: bytes) -> None:
        """Replace it: after a crash at any point it is the old one or the new one, whole."""
        new = f"{self._path}.new"
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _SAFE, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
