"""Imports go down the floors only: read from the source, so that a lazy import counts too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import twisted_pypi

ROOT = Path(twisted_pypi.__file__).parent
PACKAGE = "twisted_pypi"
FLOORS = {
    **dict.fromkeys(
        ("model", "records", "answers", "digests", "errors", "events", "interfaces", "urls", "http", "lru"), 0
    ),
    **dict.fromkeys(("hops", "hosted", "htpasswd", "mirrors"), 0),
    **dict.fromkeys(("storage", "fetching", "pypi", "npm", "workers"), 1),
    **dict.fromkeys(("caching", "directories"), 2),
    "web": 3,
    "status": 3,
}
TOP = 4
PURE = {"model", "records", "answers", "digests", "errors", "events", "interfaces", "urls", "http", "lru", "pypi"} | {
    *("mirrors", "hosted", "htpasswd", "npm"),
}
IMPURE_MODULES = {"asyncio", "os", "socket", "sqlite3", "subprocess", "threading", "time", "twisted"}
KNOWS_PACKAGING = {"packaging", "pypi"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *(part for part in parts if part != "__init__")))


def imported(source: str, module: str, is_package: bool) -> Iterator[str]:
    """The absolute names of all modules and members that `source`, as `module`, imports anywhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join((*parents, *([node.module] if node.module else ())))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str:
    """The room of a dotted name inside the package: its second component ("" for the package itself)."""
    return name.partition(".")[2].partition(".")[0]


def climbs(importer: str, target: str) -> bool:
    """Whether an import of `target` (a dotted name in our package) by `importer` goes up, or sideways below floor 3."""
    here, there = room_of(importer), room_of(target)
    if here == there or there in ("", "__version__"):
        return False
    ours, theirs = FLOORS.get(here, TOP), FLOORS.get(there, TOP)
    sideways = ours == theirs in (1, 2) and not (there == "workers" and here not in ("pypi", "npm"))
    return theirs > ours or sideways


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What `source` imports and may not."""
    room, found = room_of(module), []
    for target in imported(source, module, is_package):
        first = target.split(".")[0]
        if first == PACKAGE and climbs(module, target):
            found.append(f"{target} is not below {module}")
        if room in PURE and first in IMPURE_MODULES:
            found.append(f"{target}: {module} is pure")
        if FLOORS.get(room, TOP) in (1, 2, 3) and room not in ("pypi", "directories") and first in KNOWS_PACKAGING:
            found.append(f"{target}: {module} must not know Python packaging")
        if first == "twisted" and any(part.startswith("_") for part in target.split(".")):
            found.append(f"{target} is private to Twisted")
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down(path: Path) -> None:
    assert violations(path.read_text(), name_of(path), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twisted_pypi.storage.disk", "from twisted_pypi.caching import files"),
        ("twisted_pypi.npm.mount", "from twisted_pypi.pypi import names"),
        ("twisted_pypi.npm.mount", "import packaging.version"),
        ("twisted_pypi.storage.disk", "def f():\n    import twisted_pypi.web.resource"),
        ("twisted_pypi.fetching.upstream", "from ..storage import disk"),
        ("twisted_pypi.fetching.upstream", "from twisted_pypi.pypi import names"),
        ("twisted_pypi.fetching.upstream", "import packaging.version"),
        ("twisted_pypi.pypi.names", "from twisted_pypi import workers"),
        ("twisted_pypi.pypi.names", "from twisted.internet import defer"),
        ("twisted_pypi.model", "from twisted_pypi.storage import disk"),
        ("twisted_pypi.http.ranges", "import time"),
        ("twisted_pypi.caching.files", "from twisted_pypi.directories import serving"),
        ("twisted_pypi.web.site", "from twisted_pypi.service import make_service"),
        ("twisted_pypi.web.site", "from twisted.web._http2 import H2Connection"),
    ],
)
def test_forbidden_imports_are_found(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("twisted_pypi.service", "from twisted_pypi.web import site\nfrom twisted_pypi.config import Settings"),
        ("twisted_pypi.storage.disk", "from twisted_pypi.workers import ThreadWorkers\nfrom .layout import path_of"),
        ("twisted_pypi.caching.files", "from twisted_pypi import errors, events\nfrom ..storage import disk"),
        (
            "twisted_pypi.pypi.names",
            "from packaging.utils import canonicalize_name\nfrom twisted_pypi.urls import key_of",
        ),
        ("twisted_pypi.web.admin", "from twisted_pypi import __version__"),
    ],
)
def test_allowed_imports_pass(module: str, source: str) -> None:
    assert violations(source, module) == []
