"""One daemon for one cache directory."""

from __future__ import annotations

import fcntl
import os
import time

from attrs import define

from twisted_pypi.errors import ConfigError
from twisted_pypi.storage.layout import LOCK

OPTION = "--cache-dir"

_BETWEEN = 0.05  # seconds between two tries


@define
class DirectoryLock:
    """A lock that ends with `release`, or with the process."""

    _descriptor: int

    def is_of(self, path: str) -> bool:
        """Whether this is the lock of what is at `path` now."""
        try:
            return os.path.samestat(os.stat(os.path.join(path, LOCK)), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        """Let others have the directory. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_directory(path: str, patience: float = 0.0) -> DirectoryLock:
    """Lock the cache directory, which is made (0700) if it is missing; wait `patience` seconds for who has it.

    Raises `ConfigError` when it can't be made or written to, or another daemon has it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(path, LOCK), flags, 0o600)
    except OSError as error:
        raise ConfigError(OPTION, f"{path}: {error.strerror}") from error
    try:
        _lock(descriptor, patience)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except BlockingIOError as error:
        pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise ConfigError(OPTION, f"{path} is in use by another pypicache (pid {pid})") from error
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(OPTION, f"{path}: {error.strerror}") from error
    return DirectoryLock(descriptor)


def _lock(descriptor: int, patience: float) -> None:
    """Raises `BlockingIOError` when it can't be had within `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(_BETWEEN)
