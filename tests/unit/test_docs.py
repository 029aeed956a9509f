"""The tests that tables in `docs/` name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twisted_pypi.options import OPTIONS

TESTS = Path(__file__).parents[1]
DOCS = sorted((TESTS.parent / "docs").glob("*.md"))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", path.read_text()))
    known = {
        (module.name, test)
        for module in TESTS.rglob("test_*.py")
        for test in re.findall(r"def (test_\w+)\(", module.read_text())
    }
    assert named - known == set()


def test_there_are_such_tables() -> None:
    assert DOCS


def test_whoever_comes_from_elsewhere_is_told_of_options_that_there_are() -> None:
    text = (TESTS.parent / "docs/coming-from.md").read_text()
    here = "\n".join(re.findall(r"^\|[^|]*\|(.*)\|$", text, re.MULTILINE))
    named = set(re.findall(r"`--([a-z-]+)", here)) | {
        name.lower().replace("_", "-") for name in re.findall(r"`PYPICACHE_([A-Z_]+)`", here)
    }
    assert {"cache-size", "extra-index-ttl", "insecure-host"} <= named
    assert named - {option.name for option in OPTIONS} == set()
