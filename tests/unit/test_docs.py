"""docs/ tells of tests that exist, and of every row of the table of faults."""

from __future__ import annotations

import re
from pathlib import Path

from e2e.page_faults import FAULTS

TESTS = Path(__file__).parents[1]
FAULTS_TEXT = (TESTS.parent / "docs" / "faults.md").read_text()
PAGES = FAULTS_TEXT.partition("\n## Files\n")[0]
NAMED = re.findall(r"\b((?:e2e|unit)/\w+\.py)::(\w+)", FAULTS_TEXT)


def test_each_test_that_the_faults_name_exists() -> None:
    assert NAMED
    for path, name in NAMED:
        assert re.search(rf"^ *def {name}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{name}"


def test_the_faults_of_pages_are_the_rows_of_their_table() -> None:
    named = re.findall(r"`\[([\w-]+)\]`", PAGES.partition("## Pages")[2])
    assert sorted(named) == sorted(FAULTS)
