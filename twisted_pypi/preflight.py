"""What is tried before the daemon leaves its terminal, so that the one line that explains a failure is still seen.

Every function raises `ConfigError` that names the option.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from twisted_pypi.errors import ConfigError
from twisted_pypi.settings import Settings


def preflight(settings: Settings, uid: int | None = None, gid: int | None = None) -> None:
    """Try directory, files and port. `uid` and `gid` are what the daemon will run as, when that is another."""
    prepare_directory(settings.cache_dir, uid, gid)
    if settings.ca_file is not None:
        check_authorities(settings.ca_file)
    if settings.access_log not in (None, "-"):
        check_log(settings.access_log)
    if not settings.listen:
        check_port(settings.interface, settings.port)


def prepare_directory(path: str, uid: int | None = None, gid: int | None = None) -> None:
    """Make the cache directory if it is missing, for its owner alone; else it must be a writable directory."""
    try:
        if not os.path.lexists(path):
            os.makedirs(path, 0o700)
            if uid is not None or gid is not None:
                os.chown(path, -1 if uid is None else uid, -1 if gid is None else gid)
    except OSError as error:
        raise ConfigError("--cache-dir", f"{path} can't be made: {error.strerror}") from None
    if not os.path.isdir(path):
        raise ConfigError("--cache-dir", f"{path} is not a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError("--cache-dir", f"{path} is not writable")


def check_authorities(path: str) -> None:
    """The file must hold certificates that OpenSSL can read."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError("--ca-file", f"{path} holds no PEM certificates") from None
    except OSError as error:
        raise ConfigError("--ca-file", f"{path} can't be read: {error.strerror}") from None


def check_log(path: str) -> None:
    """The access log's directory must be there; the log itself need not."""
    if os.path.isdir(path):
        raise ConfigError("--access-log", f"{path} is a directory")
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigError("--access-log", f"there is no directory {os.path.dirname(path)}")


def check_port(interface: str, port: int) -> None:
    """Address and port must be free to bind (they are bound and let go again); port 0 tries the address alone."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    place = f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the daemon will: connections of the last one that wait to end are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError("--port", f"{place} is already in use; --port 0 picks a free one") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ConfigError("--port", f"{place} can't be bound: {error.strerror}") from None
        raise ConfigError("--interface", f"{interface} can't be bound: {error.strerror}") from None
    except UnicodeError:
        raise ConfigError("--interface", f"{interface} is no address") from None
