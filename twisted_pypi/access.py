"""Who is let in, as the options say: the accounts of `--htpasswd`, and the certificate that clients see.

Both are read with the rest of the configuration, so that a SIGHUP takes them anew or leaves everything as it was.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from attrs import frozen

from twisted_pypi import units
from twisted_pypi.credentials import Vault
from twisted_pypi.errors import ConfigError
from twisted_pypi.htpasswd import Accounts, accounts_of
from twisted_pypi.server_tls import ServerCertificate
from twisted_pypi.settings import Settings
from twisted_pypi.sources import FileText, Found, Table, read_named

TLS_KINDS = ("tcp", "tcp6", "systemd")
"""Kinds of `--listen` endpoints that `--tls-certificate` holds for."""

_OTHERS = 0o004
_INTERFACE = re.compile(r":interface=((?:\\.|[^:\\])*)")


@frozen
class Files:
    """Where the options' files are. `found` is by option name; `table` is the TOML file's."""

    vault: Vault
    table: Table
    found: Mapping[str, Found | None]

    def read(self, option: str) -> FileText | None:
        """The file that the option names, if it does. Raises `ConfigError`."""
        found = self.found[option]
        if found is None:
            return None
        # Those of a flag or variable begin where the daemon was started, those of the TOML file beside it.
        vault = self.vault if option in self.table.keys and found.label == self.table.label_of(option) else self._here
        return read_named(found.label, vault.places(found.texts[-1]), self.vault.reader)

    @property
    def _here(self) -> Vault:
        return Vault(self.vault.environ, self.vault.reader, os.getcwd())

    def label(self, option: str) -> str:
        """What an error calls the option."""
        found = self.found[option]
        return found.label if found is not None else f"--{option}"


def read_token(given: str | None, files: Files) -> tuple[str | None, tuple[str, ...]]:
    """The admin token that is given, else that in `--admin-token-file`, and a warning where that is not used.

    Raises `ConfigError`.
    """
    plain, file = files.found["admin-token"], "admin-token-file"
    if plain is not None and files.found[file] is not None:
        return given, (f"{files.label(file)} is not used: {plain.label} is given",)
    read = files.read(file)
    if read is None:
        return given, ()
    try:
        return units.secret(read.text.strip()), ()
    except ValueError as error:
        raise ConfigError(files.label(file), f"what it says {error}") from None


def read_accounts(files: Files) -> Accounts | None:
    """The users of `--htpasswd`. Raises `ConfigError` that names the line."""
    file = files.read("htpasswd")
    if file is None:
        return None
    try:
        return accounts_of(file.text)
    except ValueError as error:
        raise ConfigError(files.label("htpasswd"), _named(files, "htpasswd", error)) from None


def read_certificate(files: Files) -> ServerCertificate | None:
    """The certificate and its key. Raises `ConfigError` if they can't be used."""
    chain, key = files.read("tls-certificate"), files.read("tls-key")
    if chain is None:
        if key is not None:
            raise ConfigError(files.label("tls-key"), "a key without --tls-certificate")
        return None
    certificate = ServerCertificate(chain.text.encode(), (key or chain).text.encode())
    holder = "tls-certificate"
    try:
        certificate.certificates()
        holder = "tls-certificate" if key is None else "tls-key"
        certificate.private_key()
        certificate.context()
    except ValueError as error:
        raise ConfigError(files.label(holder), _named(files, holder, error)) from None
    return certificate


def access_warnings(settings: Settings, files: Files, now: datetime) -> Iterator[str]:
    """What works, but is hardly meant so."""
    for option in ("htpasswd", "tls-key" if files.found["tls-key"] else "tls-certificate"):
        if settings.tls_certificate is None and option != "htpasswd":
            continue
        file = files.read(option)
        if file is not None and file.mode & _OTHERS:
            yield f"{files.label(option)}: anybody on this machine can read {_path(files, option)}"
    if settings.tls_certificate is not None and (problem := settings.tls_certificate.warning(now)):
        yield f"{files.label('tls-certificate')}: the certificate in {_path(files, 'tls-certificate')} {problem}"
    if settings.htpasswd is not None and _sends_passwords_in_the_clear(settings):
        yield (
            f"{files.label('htpasswd')}: passwords come over plain HTTP, readable for the network: "
            "give --tls-certificate, or --trusted-proxy for a proxy that has TLS"
        )


def _named(files: Files, option: str, error: ValueError) -> str:
    return f"{_path(files, option)}: {error}"


def _path(files: Files, option: str) -> str:
    found = files.found[option]
    return found.texts[-1] if found is not None else ""


def _sends_passwords_in_the_clear(settings: Settings) -> bool:
    if settings.trusted_proxy:
        return False
    if settings.listen:
        return any(is_open(description) and not is_secure(description, settings) for description in settings.listen)
    return settings.tls_certificate is None and not _is_loopback(settings.interface)


def is_secure(description: str, settings: Settings) -> bool:
    """Whether the endpoint speaks TLS: by itself, or as `--tls-certificate` says."""
    return description.startswith("ssl:") or is_wrapped(description, settings)


def is_wrapped(description: str, settings: Settings) -> bool:
    """Whether it does as `--tls-certificate` says."""
    return settings.tls_certificate is not None and description.partition(":")[0] in TLS_KINDS


def is_open(description: str) -> bool:
    """Whether other machines may connect to the endpoint, as far as can be told."""
    interface = _INTERFACE.search(description)
    address = re.sub(r"\\(.)", r"\1", interface[1]) if interface else ""
    return not description.startswith("unix:") and not _is_loopback(address)


def _is_loopback(interface: str) -> bool:
    try:
        return ipaddress.ip_address(interface.partition("%")[0]).is_loopback
    except ValueError:
        return interface == "localhost"
