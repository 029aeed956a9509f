"""Which project a stored page or file is of, told by its key. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from twisted_pypi import urls
from twisted_pypi.pypi.mirroring import below, root_of
from twisted_pypi.pypi.names import normalized, projects_of
from twisted_pypi.pypi.specs import IndexSpec

PROJECT_LIST = "list"
"""The name of the list of all projects."""

_APIS = ("pypi/", "integrity/")


def name_of(indexes: Iterable[IndexSpec], index: str, key: str) -> str:
    """The normalised name of the project of a page or file; `PROJECT_LIST` for a project list.

    "" for an index that is none of `indexes`, and where nothing tells it. `index` "": not known of which it is.
    """
    specs = [spec for spec in indexes if index in ("", spec.name)]
    if not specs:
        return ""
    named = (_page_name(spec, key) for spec in specs)
    return next(filter(None, named), "") or _file_name(key)


def _page_name(spec: IndexSpec, key: str) -> str:
    simple = urls.key_of(below(spec.url))
    if key == simple:
        return PROJECT_LIST
    for start in (simple, *(urls.key_of(root_of(spec.url) + api) for api in _APIS)):
        if key.startswith(start) and (start != simple or key.endswith("/")):
            return normalized(unquote(key[len(start) :].partition("/")[0])) or ""
    return ""


def _file_name(key: str) -> str:
    return next(iter(projects_of(unquote(key.rpartition("/")[2]))), "")
