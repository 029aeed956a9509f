"""What is tried before the daemon leaves its terminal, so that the one line that explains a failure is still seen.

Every function raises `ConfigError` that names the option.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

from twisted.internet.endpoints import serverFromString

from twisted_pypi.access import TLS_KINDS, is_wrapped
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.settings import Index, Settings

_SHAREABLE = ("tcp", "tcp6", "systemd")


def preflight(settings: Settings, uid: int | None = None, gid: int | None = None) -> None:
    """Try directory, files and port. `uid` and `gid` are what the daemon will run as, when that is another."""
    prepare_directory(settings.cache_dir, uid, gid)
    check_upstream(settings)
    if settings.access_log not in (None, "-"):
        check_log(settings.access_log)
    for description in settings.listen:
        check_endpoint(description)
        check_shareable(description, settings.workers)
    check_tls(settings)
    if not settings.listen:
        check_port(settings.interface, settings.port)


def check_upstream(settings: Settings) -> None:
    """What connections are made with, and local directories, must be there and usable."""
    if settings.ca_file is not None:
        check_authorities("--ca-file", settings.ca_file)
    for index in settings.indexes:
        check_index(index)
    for registry in settings.npm:
        check_index(registry.upstream, f"[[npm]] {registry.path}")


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


def check_authorities(option: str, path: str) -> None:
    """The file must hold certificates that OpenSSL can read."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ConfigError(option, f"{path} holds no PEM certificates") from None
    except OSError as error:
        raise ConfigError(option, f"{path} can't be read: {error.strerror}") from None


def check_index(index: Index, where: str = "") -> None:
    """Its directory must be there, and what its connections are made with be usable. `where` is its table."""
    where = where or f"[[index]] {index.name}"
    if index.path and not os.path.isdir(index.path):
        raise ConfigError(f"{where}: path", f"{index.path} is not a directory")
    if index.path and not os.access(index.path, os.R_OK | os.X_OK):
        raise ConfigError(f"{where}: path", f"{index.path} can't be read")
    if index.tls.ca_file:
        check_authorities(f"{where}: ca-file", index.tls.ca_file)
    if index.tls.certificate:
        check_identity(where, index.tls)


def check_identity(where: str, tls: TlsIdentity) -> None:
    """Certificate and key must be readable, need no passphrase and belong together."""
    for key, path in (("client-certificate", tls.certificate), ("client-key", tls.key)):
        if path and not os.access(path, os.R_OK):
            raise ConfigError(f"{where}: {key}", f"{path} can't be read")
    try:
        # With a passphrase at hand, though it be none, OpenSSL doesn't ask on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tls.certificate, tls.key or None, "")
    except (ssl.SSLError, OSError, ValueError):
        with_key = tls.key or "the same file"
        problem = f"{tls.certificate} and its key in {with_key} are no PEM pair without a passphrase"
        raise ConfigError(f"{where}: client-certificate", problem) from None


def check_log(path: str) -> None:
    """The access log's directory must be there; the log itself need not."""
    if os.path.isdir(path):
        raise ConfigError("--access-log", f"{path} is a directory")
    if not os.path.isdir(os.path.dirname(path)):
        raise ConfigError("--access-log", f"there is no directory {os.path.dirname(path)}")


def check_port(interface: str, port: int) -> None:
    """Address and port must be free to bind (they are bound and let go again); port 0 tries the address alone."""
    problem, error = _bind_problem(interface, port)
    if error == errno.EADDRINUSE:
        raise ConfigError("--port", f"{problem}; --port 0 picks a free one")
    if problem:
        raise ConfigError("--port" if error in (errno.EACCES, errno.EPERM) else "--interface", problem)


def check_endpoint(description: str) -> None:
    """A Twisted endpoint string must parse, and what it binds be free, as far as Twisted's own kinds tell."""
    from twisted.internet import reactor

    try:
        serverFromString(reactor, description)  # type: ignore[no-untyped-call]
    except Exception as error:  # a parser may be anybody's plugin
        missing = isinstance(error, LookupError) and description.startswith("systemd:")
        problem = "the service manager handed over no such socket" if missing else str(error)
        raise ConfigError("--listen", f"{description}: {problem}") from None
    kind, *fields = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", description))
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    first = next((field for field in fields if "=" not in field), "")
    problem = ""
    if kind in ("tcp", "tcp6", "ssl"):
        interface = named.get("interface", "::" if kind == "tcp6" else "")
        problem, _ = _bind_problem(interface, int(first or named["port"]))
    elif kind == "unix":
        folder = os.path.dirname(os.path.abspath(first or named["address"]))
        problem = "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is no directory that can be written to"
    if problem:
        raise ConfigError("--listen", f"{description}: {problem}")


def check_shareable(description: str, workers: int) -> None:
    """Several processes can't have any kind of endpoint between them."""
    if workers > 1 and description.partition(":")[0] not in _SHAREABLE:
        raise ConfigError("--workers", f"more than one can't share --listen {description}, only tcp: and systemd:")


def check_tls(settings: Settings) -> None:
    """TLS needs something to hold for, and a process that keeps its connections."""
    if settings.tls_certificate is None:
        return
    if settings.workers > 1:
        raise ConfigError("--workers", "more than one can't share --tls-certificate: TLS ends at a proxy before them")
    if settings.listen and not any(is_wrapped(description, settings) for description in settings.listen):
        kinds = ", ".join(f"{kind}:" for kind in TLS_KINDS)
        raise ConfigError("--tls-certificate", f"none of --listen takes it, only {kinds} do")


def _bind_problem(interface: str, port: int) -> tuple[str, int | None]:
    """What keeps one from binding there, and its errno; "" for nothing."""
    family = socket.AF_INET6 if ":" in interface else socket.AF_INET
    place = f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the daemon will: connections of the last one that wait to end are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"{place} is already in use", error.errno
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"{place} can't be bound: {error.strerror}", error.errno
        return f"{interface} can't be bound: {error.strerror}", error.errno
    except UnicodeError:
        return f"{interface} is no address", None
    except OverflowError:
        return f"{port} is no port: they are 0 to 65535", None
    return "", None
