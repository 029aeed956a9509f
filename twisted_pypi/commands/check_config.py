"""`pypicache check-config`: the configuration that a daemon would have, and where each value comes from."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from twisted_pypi import units
from twisted_pypi.config import load
from twisted_pypi.errors import ConfigError
from twisted_pypi.options import FILE_OPTIONS, OPTIONS, Option
from twisted_pypi.preflight import check_log, check_shareable, check_tls, check_upstream
from twisted_pypi.settings import Credential, Index, Loaded, Remote, Settings
from twisted_pypi.sources import Found
from twisted_pypi.urls import origin_of, without_secrets

DESCRIPTION = """\
Takes the options, variables and file of the daemon, and prints what it would run with: each option with where its value
comes from, then the indexes in the order in which they are asked. Nothing is contacted, bound or made; certificates and
directories are looked at. Secrets are not shown.
"""
STATUS = "Exit status: 0 the daemon would start with this, 1 it would not, and the one line on stderr says why."
MASK = "***"


def add_to(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser(
        "check-config",
        help="show and check the configuration",
        description=DESCRIPTION,
        epilog=STATUS,
        allow_abbrev=False,
    )
    for option in OPTIONS:
        if option.flag:
            parser.add_argument(f"--{option.name}", action="store_true", default=None, help=option.help)
        else:
            action = "append" if option.repeatable else "store"
            parser.add_argument(
                f"--{option.name}", metavar=option.metavar, action=action, help=option.help.replace("%", "%%")
            )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show and check; the exit status."""
    given = {option.name: getattr(arguments, option.attribute) for option in OPTIONS}
    try:
        loaded = load(given, os.environ)
        check(loaded.settings)
    except ConfigError as error:
        print(f"pypicache: {error}", file=sys.stderr)
        return 1
    for line in (*option_lines(loaded), *index_lines(loaded), *npm_lines(loaded)):
        print(line)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def check(settings: Settings) -> None:
    """What can be told without binding, making or contacting anything. Raises `ConfigError`."""
    check_upstream(settings)
    if settings.access_log not in (None, "-"):
        check_log(settings.access_log)
    for description in settings.listen:
        check_shareable(description, settings.workers)
    check_tls(settings)
    if os.path.lexists(settings.cache_dir) and not os.path.isdir(settings.cache_dir):
        raise ConfigError("--cache-dir", f"{settings.cache_dir} is not a directory")


def option_lines(loaded: Loaded) -> Iterator[str]:
    """A line for each option: name, value, source."""
    for option in FILE_OPTIONS:
        found = loaded.found.get(option.name)
        yield f"{option.name} = {_value(option, found, loaded.settings)}  # {_label(found)}"


def _label(found: Found | None) -> str:
    return found.label if found is not None else "default"


def _value(option: Option, found: Found | None, settings: Settings) -> str:
    if option.name == "cache-dir":
        return settings.cache_dir
    if found is None:
        return option.default or option.absent or "none"
    if option.parse is units.secret:
        return MASK
    return " ".join(without_secrets(text) if "://" in text else text for text in found.texts)


def index_lines(loaded: Loaded) -> Iterator[str]:
    """A line for each index, in asking order."""
    settings = loaded.settings
    for number, index in enumerate(settings.indexes, 1):
        name = "" if index.name == index.url else f" {index.name}"
        last = index is settings.indexes[-1]
        source = _source(index, loaded.found, last)
        yield f"index {number}{name}: {', '.join(_facts(index, settings))}  # {source}"


def npm_lines(loaded: Loaded) -> Iterator[str]:
    """A line for each npm registry."""
    settings = loaded.settings
    for registry in settings.npm:
        index = registry.upstream
        facts = (f"ttl {index.ttl:g} s, not-found-ttl {index.not_found_ttl:g} s", *_contacts(index, settings))
        yield f"npm {registry.path}: {', '.join((index.url, *facts))}"


def _source(index: Index, found: Mapping[str, Found | None], last: bool) -> str:
    if index.name != index.url:
        return f"[[index]] {index.name}"
    return _label(found["index-url" if last else "extra-index-url"])


def _facts(index: Index, settings: Settings) -> Iterator[str]:
    yield index.path or index.url
    yield f"only {' '.join(index.routes)}" if index.routes else "any name that no other claims"
    yield f"ttl {index.ttl:g} s, not-found-ttl {index.not_found_ttl:g} s"
    if not index.path:
        yield f"files {'only ' if index.bound else ''}from {index.files_url}"
        yield from _contacts(index, settings)
    if not index.metadata:
        yield "no metadata made"


def _contacts(index: Index, settings: Settings) -> Iterator[str]:
    if index.file_hosts:
        yield f"file-hosts {' '.join(sorted(index.file_hosts))}"
    yield f"absent {' '.join(map(str, sorted(index.absent_status)))}"
    if index.credential is not None:
        yield _masked(index.credential)
    if index.mirrors:
        yield f"mirrors {' '.join(map(_remote, index.mirrors))}"
    if index.proxy is not None:
        yield f"proxy {_remote(index.proxy) if index.proxy.url else 'none'}"
    elif (proxy := settings.proxies.proxy_for(origin_of(index.url))) is not None:
        yield f"proxy {proxy} (environment)"
    yield from _tls(index)


def _tls(index: Index) -> Iterator[str]:
    tls = index.tls
    named = (("ca-file", tls.ca_file), ("client-certificate", tls.certificate), ("client-key", tls.key))
    yield from (f"{key} {path}" for key, path in named if path)
    if tls.insecure:
        yield "insecure"


def _masked(credential: Credential) -> str:
    return f"token {MASK}" if credential.token else f"username and password {MASK}"


def _remote(remote: Remote) -> str:
    return f"{remote.url} ({_masked(remote.credential)})" if remote.credential else remote.url
