"""The indexes that options and `[[index]]` tables describe."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve, field, frozen

from twisted_pypi.credentials import Logins, Vault, from_address, from_logins, refuse_second
from twisted_pypi.directories.addresses import origin_of_directory
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.options import FILE_OPTIONS, INDEX_KEYS, INDEX_OPTIONS
from twisted_pypi.settings import DIRECT, Credential, Index, Remote
from twisted_pypi.sources import Table, value_of
from twisted_pypi.units import HEALTH_CHECKS, Address
from twisted_pypi.urls import origin_of

OWN_PATHS = HEALTH_CHECKS | {"simple", "index", "packages", "files", "pypi", "integrity", "cache", "metrics"}
"""First segments of our own paths: no index can have such a name."""

ABSENT_STATUS = frozenset({404, 410})

DIRECTORY_TTL = 2.0
"""Seconds for which a local directory's pages are fresh, unless its table says otherwise."""

OF_DIRECTORIES = ("name", "path", "routes", "ttl", "not-found-ttl", "metadata")
"""The keys of an index that is a local directory: nothing is contacted for it."""


@frozen
class IndexMaker:
    """Makes indexes out of what was configured.

    `public_index` and `public_files` are the URLs of the public index and its file host. `file_hosts`, `ttl` and
    `not_found_ttl` hold for every index; a table adds to the first and replaces the others.
    """

    public_index: str
    public_files: str
    file_hosts: frozenset[str]
    ttl: float
    not_found_ttl: float
    vault: Vault
    logins: Logins = field(repr=False)

    def plain(self, address: Address, files_url: str | None = None, credential: Credential | None = None) -> Index:
        """An index that is only an address. Its user info rules over `credential`, that over netrc."""
        default = self.public_files if address.url == self.public_index else f"{origin_of(address.url)}/"
        return Index(
            name=address.url,
            url=address.url,
            files_url=files_url or default,
            bound=files_url is not None or address.url == self.public_index,
            file_hosts=self.file_hosts,
            ttl=self.ttl,
            not_found_ttl=self.not_found_ttl,
            absent_status=ABSENT_STATUS,
            credential=self._credential(address, credential),
            public=address.url == self.public_index and (files_url or default) == self.public_files,
        )

    def extra(self, address: Address, ttl: float | None) -> Index:
        """An index that is only an address, with a freshness of its own."""
        return self._fresh(self.plain(address), ttl, None)

    def described(self, table: Table, files_url: str | None = None, credential: Credential | None = None) -> Index:
        """The index of an `[[index]]` table, whose keys rule over the arguments. Raises `ConfigError`."""
        table = evolve(table, label=f"{table.label} {index_name(table)}")
        table.refuse_unknown(INDEX_KEYS, (option.name for option in FILE_OPTIONS), "the top of the file")
        values: dict[str, Any] = {option.attribute: value_of(option, table.find(option)) for option in INDEX_OPTIONS}
        if not values["absent_status"] and "absent-status" in table.keys:
            raise ConfigError(table.label_of("absent-status"), "is empty; without this key it is 404 and 410")
        if values["path"] is not None:
            index = self._directory(table, values["path"])
        else:
            table.text("url")
            refuse_second(table, "url", values["url"])
            secret = self.vault.credential(table) or credential
            index = self.plain(values["url"], values["files_url"] or files_url, secret)
        index = evolve(
            index,
            name=index_name(table),
            file_hosts=index.file_hosts | set(values["file_hosts"]),
            absent_status=frozenset(values["absent_status"]) or ABSENT_STATUS,
            routes=values["routes"],
            mirrors=self._mirrors(table, index, values["mirrors"]),
            proxy=_proxy(values["proxy"]),
            tls=self._tls(table, values),
            metadata=values["metadata"],
        )
        return self._fresh(index, values["ttl"], values["not_found_ttl"])

    def registry(self, table: Table, values: dict[str, Any]) -> Index:
        """What an `[[npm]]` table says of its registry. Raises `ConfigError`."""
        index = evolve(
            self.plain(values["url"], credential=self.vault.credential(table)),
            file_hosts=frozenset(),
            bound=False,
            absent_status=frozenset(values["absent_status"]) or ABSENT_STATUS,
            proxy=_proxy(values["proxy"]),
            tls=self._tls(table, values),
        )
        return self._fresh(index, values["ttl"], values["not_found_ttl"])

    def _fresh(self, index: Index, ttl: float | None, not_found_ttl: float | None) -> Index:
        ttl = index.ttl if ttl is None else ttl
        not_found_ttl = index.not_found_ttl if not_found_ttl is None else not_found_ttl
        if not index.path:  # a directory tells when something comes
            not_found_ttl = min(ttl, not_found_ttl)
        return evolve(index, ttl=ttl, not_found_ttl=not_found_ttl)

    def _credential(self, address: Address, credential: Credential | None = None) -> Credential | None:
        return from_address(address) or credential or from_logins(address.url, self.logins)

    def _directory(self, table: Table, name: str) -> Index:
        """The index that is a local directory. It costs nothing to ask, so its pages are fresh for a moment only."""
        for key in table.keys:
            if key not in OF_DIRECTORIES:
                raise ConfigError(table.label_of(key), "has no meaning for a local directory (path)")
        path = self.vault.beside(name)
        origin = origin_of_directory(index_name(table))
        return Index(
            name=origin,
            url=f"{origin}simple/",
            files_url=origin,
            bound=True,
            file_hosts=frozenset(),
            ttl=min(self.ttl, DIRECTORY_TTL),
            not_found_ttl=self.not_found_ttl,
            absent_status=ABSENT_STATUS,
            credential=None,
            public=False,
            path=path,
        )

    def _mirrors(self, table: Table, index: Index, addresses: tuple[Address, ...]) -> tuple[Remote, ...]:
        """The mirrors. Credentials of the index itself are not for them."""
        urls = [index.url, *(address.url for address in addresses)]
        if len(set(urls)) < len(urls):
            raise ConfigError(table.label_of("mirrors"), "names the url itself, or one mirror twice")
        return tuple(
            Remote(
                address.url,
                self._credential(address),
                self.public_files if address.url == self.public_index else "",
            )
            for address in addresses
        )

    def _tls(self, table: Table, values: dict[str, Any]) -> TlsIdentity:
        if values["insecure"] and values["ca_file"]:
            raise ConfigError(table.label_of("insecure"), "ca-file is given as well: which is it?")
        if values["client_key"] and not values["client_certificate"]:
            raise ConfigError(table.label_of("client-key"), "there is no client-certificate that it belongs to")
        keys = ("ca_file", "client_certificate", "client_key")
        ca_file, certificate, key = (self.vault.beside(values[key]) if values[key] else "" for key in keys)
        return TlsIdentity(ca_file, certificate, key, values["insecure"])


def _proxy(address: Address | None) -> Remote | None:
    if address is None:
        return None
    return Remote(address.url, from_address(address)) if address.url else DIRECT


def index_name(table: Table) -> str:
    """The name of an `[[index]]` table. Raises `ConfigError` if it can't be a path of its own."""
    name = table.text("name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(table.label_of("name"), "must be letters, digits, dots and dashes")
    if name.lower() in OWN_PATHS:
        raise ConfigError(table.label_of("name"), f"/{name}/ is a path of our own")
    return name


def index_tables(root: Table) -> tuple[Table, ...]:
    """The `[[index]]` tables of the file. Raises `ConfigError`, also if two have one name."""
    tables = root.keys.get("index", [])
    if not isinstance(tables, list) or not all(isinstance(keys, dict) for keys in tables):
        raise ConfigError(root.label_of("index"), "must be [[index]] tables")
    found = tuple(Table(root.label_of("[[index]]"), keys) for keys in tables)
    names = [index_name(table) for table in found]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ConfigError(found[position].label_of("name"), f"{name} is there twice")
    directories = [index_name(table).lower() for table in found if "path" in table.keys]
    if len(set(directories)) < len(directories):
        raise ConfigError(root.label_of("[[index]]"), "the names of two local directories differ in case alone")
    return found
