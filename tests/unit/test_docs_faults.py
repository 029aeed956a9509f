"""What docs/ says of faults names tests that exist, and every row of their table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2e.page_faults import FAULTS

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"


@pytest.mark.parametrize("document", sorted(DOCS.glob("faults*.md")), ids=lambda path: path.name)
def test_each_test_that_is_named_exists(document: Path) -> None:
    named = re.findall(r"\b((?:e2e|unit)/\w+\.py)::(\w+)", document.read_text())
    assert named
    for path, name in named:
        assert re.search(rf"^ *def {name}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_the_faults_of_pages_are_the_rows_of_their_table() -> None:
    pages = (DOCS / "faults.md").read_text().partition("\n## Pages\n")[2].partition("\n## Files\n")[0]
    assert sorted(re.findall(r"`\[([\w-]+)\]`", pages)) == sorted(FAULTS)
