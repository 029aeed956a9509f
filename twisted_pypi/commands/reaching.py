"""Where a command finds the cache: at a daemon, or in a directory that none uses.

`--url` names a daemon. Else the daemon's own variables and file tell the directory, and where the daemon listens. While
a daemon has the directory locked it is asked there; if the directory holds no cache, as for a user who can't look into
the daemon's, likewise. Otherwise the directory itself is read.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from attrs import evolve

from twisted_pypi import units
from twisted_pypi.commands.problems import CommandError
from twisted_pypi.commands.running import Running
from twisted_pypi.commands.stopped import Stopped
from twisted_pypi.config import load_some, load_token, longest_ttl
from twisted_pypi.errors import ConfigError
from twisted_pypi.storage.layout import CATALOGUE, FILES, LOCK, PAGES

ADDRESS = ("port", "interface", "listen", "prefix", "tls-certificate")
DIRECTORY = ("cache-dir", "cache-size", "inactive")

HELP_DIRECTORY = "the daemon's (default: $PYPICACHE_CACHE_DIR, the file's, $CACHE_DIRECTORY, $XDG_CACHE_HOME/pypicache)"


def add_directory(parser: argparse.ArgumentParser) -> None:
    """The options by which a directory is found."""
    parser.add_argument("--cache-dir", metavar="DIR", help=HELP_DIRECTORY)
    parser.add_argument("--config", metavar="FILE", help="the daemon's TOML file")


def add_place(parser: argparse.ArgumentParser) -> None:
    """The options by which a daemon or a directory is found."""
    parser.add_argument("--url", metavar="URL", help="ask the daemon at this address, as in http://cache.example:8080")
    add_directory(parser)
    parser.add_argument(
        "--admin-token", metavar="TOKEN", help="the daemon's; better $PYPICACHE_ADMIN_TOKEN, or in a file"
    )
    parser.add_argument("--admin-token-file", metavar="FILE", help="holds the admin token")


def given_by(arguments: argparse.Namespace) -> dict[str, object]:
    """What the command line says of the daemon's options."""
    options = ("cache-dir", "config", "admin-token", "admin-token-file")
    named = {name: getattr(arguments, name.replace("-", "_"), None) for name in options}
    return {name: text for name, text in named.items() if text is not None}


def reach(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> Running | Stopped:
    """The daemon or the directory. Raises `CommandError` and `ConfigError`."""
    given = given_by(arguments)
    values = load_some([*ADDRESS, *DIRECTORY], given, environ)
    token, untold = _token(given, environ)
    if arguments.url:
        return Running(_url(arguments.url), token, untold=untold)
    directory = values["cache-dir"]
    if not holds_cache(directory):
        return evolve(running_at(values, token), untold=untold, hint=f"there is no cache in {directory}, and ")
    if not in_use(directory):
        return Stopped(directory, values["cache-size"], longest_ttl(given, environ))
    hint = f"a daemon uses {directory} (say with --url where it listens), but "
    return evolve(running_at(values, token), untold=untold, hint=hint)


def _token(given: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str, str]:
    """The admin token ("": none), or why its file can't be read: not everything that is asked needs it."""
    try:
        return load_token(given, environ) or "", ""
    except ConfigError as error:
        return "", str(error)


def reach_directory(arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> str:
    """The directory, which holds a cache. Raises `ConfigError`."""
    directory = str(load_some(["cache-dir"], given_by(arguments), environ)["cache-dir"])
    expect_cache(directory)
    return directory


def expect_cache(directory: str) -> None:
    """Raises `ConfigError` for a directory that never was a cache: it would be made one."""
    if not holds_cache(directory):
        raise ConfigError("--cache-dir", f"{directory} holds no cache")


def holds_cache(directory: str) -> bool:
    """Whether there is a cache in the directory, as far as may be seen."""
    return any(os.path.exists(os.path.join(directory, name)) for name in (CATALOGUE, FILES, PAGES))


def in_use(directory: str) -> bool:
    """Whether a daemon has the directory locked. Nothing is changed there."""
    try:
        descriptor = os.open(os.path.join(directory, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError("--cache-dir", f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def running_at(values: Mapping[str, Any], token: str = "") -> Running:
    """The daemon with these options (by name). Raises `CommandError` where they tell no address."""
    prefix = values["prefix"]
    plain = "https" if values["tls-certificate"] else "http"
    if not values["listen"]:
        return Running(_http(plain, values["interface"], values["port"]) + prefix, token, trusted=True)
    for description in values["listen"]:
        kind, first, named = _fields(description)
        if kind == "unix":
            return Running(f"http://localhost{prefix}", token, os.path.abspath(first or named["address"]))
        port = first or named.get("port", "")
        if kind in ("tcp", "tcp6", "ssl") and port.isdigit():
            interface = named.get("interface", "::1" if kind == "tcp6" else "")
            scheme = "https" if kind == "ssl" else plain
            return Running(_http(scheme, interface, int(port)) + prefix, token, trusted=True)
    raise CommandError("say with --url where the daemon is: its --listen tells no address")


def _fields(description: str) -> tuple[str, str, Mapping[str, str]]:
    """The kind of an endpoint, its first argument and those with names, as Twisted reads a description."""
    kind, *fields = (re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", description))
    named = dict(field.split("=", 1) for field in fields if "=" in field)
    return kind, next((field for field in fields if "=" not in field), ""), named


def _http(scheme: str, interface: str, port: int) -> str:
    if not port:
        raise CommandError("say with --url where the daemon is: with port 0 it picks one, and logs it")
    host = interface or "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return f"{scheme}://{host}:{port}"
    if address.is_unspecified:
        host = "::1" if address.version == 6 else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _url(text: str) -> str:
    try:
        return units.base_url(text)
    except ValueError as error:
        raise ConfigError("--url", str(error)) from None
