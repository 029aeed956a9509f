"""The npm registries that `--npm-url` and `[[npm]]` tables describe."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from twisted_pypi.errors import ConfigError
from twisted_pypi.indexes import OWN_PATHS, IndexMaker
from twisted_pypi.options import FILE_OPTIONS, NPM_KEYS, NPM_OPTIONS
from twisted_pypi.settings import Index, Registry
from twisted_pypi.sources import Found, Table, value_of


def npm_tables(root: Table) -> tuple[Table, ...]:
    """The `[[npm]]` tables of the file. Raises `ConfigError`."""
    tables = root.keys.get("npm", [])
    if not isinstance(tables, list) or not all(isinstance(keys, dict) for keys in tables):
        raise ConfigError(root.label_of("npm"), "must be [[npm]] tables")
    return tuple(Table(root.label_of("[[npm]]"), keys) for keys in tables)


def registries(
    maker: IndexMaker, tables: tuple[Table, ...], found: Found | None, indexes: tuple[Index, ...]
) -> tuple[Registry, ...]:
    """Those of the tables, then the one of `--npm-url` (`found`), unless a table describes that. Raises `ConfigError`.

    No two have a path or a URL in common, nor has one with an index: what is stored under a URL has one owner.
    """
    made: dict[str, Registry] = {}
    labels = {index.url: index.name for index in indexes}
    sources = list(tables)
    if found is not None and all(_values(table)["url"].url != _address(found).url for table in tables):
        sources.append(Table(found.label, {"url": found.texts[-1]}))
    for table in sources:
        values = _values(table)
        path = f"{values['path']}/"
        _check_path(table.label_of("path"), path, [*made], indexes)
        upstream = maker.registry(evolve(table, label=f"{table.label} {path}"), values)
        if upstream.url in labels:
            raise ConfigError(table.label_of("url"), f"{labels[upstream.url]} has the same")
        labels[upstream.url] = path
        made[path] = Registry(path, upstream)
    return tuple(made.values())


def _address(found: Found) -> Any:
    return value_of(next(option for option in FILE_OPTIONS if option.name == "npm-url"), found)


def _values(table: Table) -> dict[str, Any]:
    table.refuse_unknown(NPM_KEYS, (option.name for option in FILE_OPTIONS), "the top of the file")
    table.text("url")
    return {option.attribute: value_of(option, table.find(option)) for option in NPM_OPTIONS}


def _check_path(label: str, path: str, taken: list[str], indexes: tuple[Index, ...]) -> None:
    first = path.split("/")[1]
    if not first:
        raise ConfigError(label, "must be a path, as in /npm/")
    if first.lower() in OWN_PATHS:
        raise ConfigError(label, f"/{first}/ is a path of our own")
    if any(first == index.name for index in indexes):
        raise ConfigError(label, f"/{first}/ is an index")
    for other in taken:
        if path.startswith(other) or other.startswith(path):
            raise ConfigError(label, f"{path} and {other} overlap")
