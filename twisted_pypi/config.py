"""All sources of configuration as one value. The only module that knows the address of the public index.

Laws: a flag beats a variable, which beats the file, which beats the default; a higher source replaces a list. The
default index is the last of the settings' `indexes`. No secret shows in an error, a warning or a repr.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import zip_longest
from typing import Any

import platformdirs
from attrs import field, fields_dict, frozen

from twisted_pypi.access import Files, access_warnings, read_accounts, read_certificate, read_token
from twisted_pypi.credentials import ReadNetrc, Vault, load_netrc, names_credentials, read_netrc, refuse_second
from twisted_pypi.environment import proxies_of
from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.proxies import NO_PROXIES
from twisted_pypi.indexes import IndexMaker, index_tables
from twisted_pypi.options import (
    CREDENTIAL_KEYS,
    FILE_OPTIONS,
    INDEX_KEYS,
    INDEX_OPTIONS,
    OPTIONS,
    Option,
)
from twisted_pypi.registries import npm_tables, registries
from twisted_pypi.server_tls import utc_now
from twisted_pypi.settings import Credential, Index, Loaded, Settings
from twisted_pypi.sources import (
    FileText,
    Found,
    ReadFile,
    Table,
    from_environ,
    from_flag,
    read_file,
    read_named,
    read_table,
    value_of,
)
from twisted_pypi.units import Address

__all__ = [
    "PUBLIC_FILES",
    "PUBLIC_INDEX",
    "Credential",
    "Index",
    "Loaded",
    "Settings",
    "default_cache_dir",
    "load",
    "load_some",
    "load_token",
    "longest_ttl",
]

PUBLIC_INDEX = "https://pypi.org/simple/"
PUBLIC_FILES = "https://files.pythonhosted.org/"

_BY_NAME = {option.name: option for option in OPTIONS}
_TTL = next(option for option in INDEX_OPTIONS if option.name == "ttl")


@frozen
class _Root:
    """The file as a whole: its top-level table, its `[[index]]` and its `[[npm]]` tables."""

    table: Table = field(factory=Table)
    indexes: tuple[Table, ...] = ()
    npm: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()


def load(
    given: Mapping[str, object],
    environ: Mapping[str, str],
    read_file: ReadFile = read_file,
    read_netrc: ReadNetrc = read_netrc,
) -> Loaded:
    """Merge all sources.

    `given` is what the command line said, by option name: None for what it didn't, lists for repeatable options.
    Raises `ConfigError` that names the flag, variable or key at fault.
    """
    root = _read_root(given, environ, read_file)
    found = {option.name: _find(option, given, environ, root.table) for option in FILE_OPTIONS}
    found["extra-index-ttl"] = _find_ttls(given, environ, root.table)
    values: dict[str, Any] = {option.attribute: value_of(option, found[option.name]) for option in FILE_OPTIONS}
    values["not_found_ttl"] = min(values["not_found_ttl"], values["index_ttl"])
    values["cache_dir"] = values["cache_dir"] or default_cache_dir(environ)
    values["insecure_host"] = frozenset(values["insecure_host"])
    logins, netrc_warnings = load_netrc(environ, read_netrc)
    vault = _vault(root, environ, read_file)
    maker = IndexMaker(
        public_index=PUBLIC_INDEX,
        public_files=PUBLIC_FILES,
        file_hosts=frozenset(values["file_host"]),
        ttl=values["index_ttl"],
        not_found_ttl=values["not_found_ttl"],
        vault=vault,
        logins=logins,
    )
    _refuse_surplus(found["extra-index-ttl"], values)
    files = Files(vault, root.table, found)
    values["admin_token"], token_warnings = read_token(values["admin_token"], files)
    credential, own_warnings = _own_credential(root.table, found["index-url"], vault)
    values["indexes"] = _indexes(maker, root, values, credential)
    values["npm"] = registries(maker, root.npm, found["npm-url"], values["indexes"])
    upstreams = (*values["indexes"], *(registry.upstream for registry in values["npm"]))
    asks = any(index.proxy is None and not index.path for index in upstreams)
    values["proxies"] = proxies_of(environ) if asks else NO_PROXIES
    values["htpasswd"], values["tls_certificate"] = read_accounts(files), read_certificate(files)
    settings = Settings(**{name: values[name] for name in fields_dict(Settings)})
    warnings = (*root.warnings, *netrc_warnings, *own_warnings, *token_warnings)
    warnings = (*warnings, *access_warnings(settings, files, utc_now()))
    return Loaded(settings, warnings, found)


def load_some(
    names: Iterable[str], given: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile = read_file
) -> dict[str, Any]:
    """The values of these options alone, by name, as `load` finds them: for commands that need no index.

    Raises `ConfigError` as `load` does.
    """
    table = _read_root(given, environ, read_file).table
    values = {name: value_of(_BY_NAME[name], _find(_BY_NAME[name], given, environ, table)) for name in names}
    if "cache-dir" in values:
        values["cache-dir"] = values["cache-dir"] or default_cache_dir(environ)
    return values


def load_token(given: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile = read_file) -> str | None:
    """The admin token alone, as `load` finds it. Raises `ConfigError`."""
    root = _read_root(given, environ, read_file)
    found = {name: _find(_BY_NAME[name], given, environ, root.table) for name in ("admin-token", "admin-token-file")}
    plain = value_of(_BY_NAME["admin-token"], found["admin-token"])
    return read_token(plain, Files(_vault(root, environ, read_file), root.table, found))[0]


def longest_ttl(given: Mapping[str, object], environ: Mapping[str, str], read_file: ReadFile = read_file) -> float:
    """For how many seconds pages of any index are fresh at most. Raises `ConfigError`."""
    root = _read_root(given, environ, read_file)
    option = _BY_NAME["index-ttl"]
    values: list[float] = [value_of(option, _find(option, given, environ, root.table))]
    values += [value_of(_TTL, found) for table in root.indexes if (found := table.find(_TTL)) is not None]
    values += value_of(_BY_NAME["extra-index-ttl"], _find_ttls(given, environ, root.table))
    return max(values)


def _vault(root: _Root, environ: Mapping[str, str], reader: ReadFile) -> Vault:
    return Vault(environ, reader, os.path.dirname(os.path.abspath(root.table.label)))


def _find(option: Option, given: Mapping[str, object], environ: Mapping[str, str], table: Table) -> Found | None:
    return from_flag(option, given) or from_environ(option, environ) or table.find(option)


def _find_ttls(given: Mapping[str, object], environ: Mapping[str, str], table: Table) -> Found | None:
    """The `--extra-index-ttl` that belong to the addresses in force.

    They go by position: beside addresses of a higher source, those of a lower one are about other indexes.
    """
    addresses, ttls = _BY_NAME["extra-index-url"], _BY_NAME["extra-index-ttl"]
    for find in (partial(from_flag, given=given), partial(from_environ, environ=environ)):
        if (found := find(ttls)) is not None or find(addresses) is not None:
            return found
    return table.find(ttls)


def _read_root(given: Mapping[str, object], environ: Mapping[str, str], reader: ReadFile) -> _Root:
    found = _find(_BY_NAME["config"], given, environ, Table())
    if found is None:
        return _Root()
    value_of(_BY_NAME["config"], found)
    path = os.path.expanduser(found.texts[-1])
    content = read_named(found.label, [path], reader)
    table = read_table(path, content.text)
    known = ["index", "npm", *(option.name for option in FILE_OPTIONS), *CREDENTIAL_KEYS]
    table.refuse_unknown(known, INDEX_KEYS, "an [[index]] table")
    indexes, npm = index_tables(table), npm_tables(table)
    return _Root(table, indexes, npm, _exposed(path, content, (table, *indexes, *npm)))


def _exposed(path: str, content: FileText, tables: tuple[Table, ...]) -> tuple[str, ...]:
    """The warning about a file that holds secrets and that others can read."""
    if not content.mode & 0o044 or not any(_holds_secret(table) for table in tables):
        return ()
    return (f"{path} holds secrets and others can read it: chmod 600 {path}",)


def _holds_secret(table: Table) -> bool:
    if any(key in table.keys for key in ("password", "token", "admin-token")):
        return True
    if "username" in table.keys and not {"password-env", "password-file"} & table.keys.keys():
        return True  # some servers take a token in its place
    urls = (table.keys.get(key) for key in ("url", "mirrors", "proxy", "index-url", "extra-index-url", "npm-url"))
    return any(re.search(r"://[^/]*@", str(url)) for url in urls)


def _own_credential(table: Table, found: Found | None, vault: Vault) -> tuple[Credential | None, tuple[str, ...]]:
    """The credential at the top level of the file, which is for the index that the file means, and a warning.

    When a flag or variable puts another index in the place of the file's, that one must not get it.
    """
    if not names_credentials(table):
        return None, ()
    option = _BY_NAME["index-url"]
    if found is None:
        raise ConfigError(table.label, "credentials without an index-url: the public index takes none")
    credential = vault.credential(table)
    meant = value_of(option, table.find(option))
    if meant is not None:
        refuse_second(table, option.name, meant)
    if meant is None or meant.url == value_of(option, found).url:
        return credential, ()
    return None, (f"{table.label}: its credentials are not used: {found.label} names another index",)


def _refuse_surplus(found: Found | None, values: Mapping[str, Any]) -> None:
    """Raises `ConfigError` if there are more `--extra-index-ttl` than indexes that they could belong to."""
    given, wanted = len(values["extra_index_ttl"]), len(values["extra_index_url"])
    if found is not None and given > wanted:
        raise ConfigError(found.label, f"{given} values, but only {wanted} of --extra-index-url")


def _indexes(
    maker: IndexMaker, root: _Root, values: Mapping[str, Any], credential: Credential | None
) -> tuple[Index, ...]:
    """All indexes in asking order: extra ones, tables, the default; one that is named twice goes last."""
    address: Address = values["index_url"] or Address(PUBLIC_INDEX)
    default = maker.plain(address, values["files_url"], credential)
    extra = _extra(maker, address, values)
    described: dict[str, Index] = {}
    for table in root.indexes:
        index = maker.described(table)
        if index.url in described:
            raise ConfigError(f"{table.label} {index.name}: url", f"{described[index.url].name} has the same")
        if index.url == address.url:
            default = index = maker.described(table, values["files_url"], default.credential)
        elif index.url in extra:
            index = maker.described(table, None, extra.pop(index.url).credential)
        described[index.url] = index
    described.pop(address.url, None)
    return (*extra.values(), *described.values(), default)


def _extra(maker: IndexMaker, default: Address, values: Mapping[str, Any]) -> dict[str, Index]:
    """The indexes of `--extra-index-url` by URL, with the freshness that `--extra-index-ttl` has at their places."""
    addresses, ttls = values["extra_index_url"], values["extra_index_ttl"]
    pairs = zip_longest(addresses, ttls[: len(addresses)])
    return {address.url: maker.extra(address, ttl) for address, ttl in pairs if address.url != default.url}


def default_cache_dir(environ: Mapping[str, str]) -> str:
    """systemd's `$CACHE_DIRECTORY` (the first, if there are several), else `pypicache` in the user's caches."""
    systemd = environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if systemd:
        return os.path.abspath(systemd)
    home = environ.get("XDG_CACHE_HOME", "")
    # The XDG Base Directory Specification has relative values ignored.
    return os.path.join(home, "pypicache") if os.path.isabs(home) else platformdirs.user_cache_dir("pypicache")
