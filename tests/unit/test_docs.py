"""The tests that tables in `docs/` name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
