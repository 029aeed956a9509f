"""The indexes that options and `[[index]]` tables describe."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve, field, frozen

from twisted_pypi.credentials import Logins, Vault, from_address, from_logins
from twisted_pypi.errors import ConfigError
from twisted_pypi.options import CREDENTIAL_KEYS, INDEX_OPTIONS
from twisted_pypi.settings import Credential, Index
from twisted_pypi.sources import Table, value_of
from twisted_pypi.units import HEALTH_CHECKS, Address
from twisted_pypi.urls import origin_of

OWN_PATHS = HEALTH_CHECKS | {"simple", "index", "packages", "files", "pypi", "integrity", "cache", "metrics"}
"""First segments of our own paths: no index can have such a name."""

ABSENT_STATUS = frozenset({404, 410})


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
            credential=from_address(address) or credential or from_logins(address.url, self.logins),
            public=address.url == self.public_index and (files_url or default) == self.public_files,
        )

    def described(self, table: Table, files_url: str | None = None, credential: Credential | None = None) -> Index:
        """The index of an `[[index]]` table, whose keys rule over the arguments. Raises `ConfigError`."""
        table = evolve(table, label=f"{table.label} {index_name(table)}")
        table.refuse_unknown(["name", *(option.name for option in INDEX_OPTIONS), *CREDENTIAL_KEYS])
        table.text("url")
        values: dict[str, Any] = {option.attribute: value_of(option, table.find(option)) for option in INDEX_OPTIONS}
        plain = self.plain(values["url"], values["files_url"] or files_url, self.vault.credential(table) or credential)
        ttl = _first(values["ttl"], self.ttl)
        return evolve(
            plain,
            name=index_name(table),
            file_hosts=self.file_hosts | set(values["file_hosts"]),
            ttl=ttl,
            not_found_ttl=min(ttl, _first(values["not_found_ttl"], self.not_found_ttl)),
            absent_status=frozenset(values["absent_status"]) or ABSENT_STATUS,
        )


def _first(value: float | None, default: float) -> float:
    return default if value is None else value


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
    return found
