"""docs/faults-files.md names every row of the table of file faults, and only tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from e2e import file_faults

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "faults-files.md").read_text()
TABLES = (
    file_faults.BEFORE_HEADERS,
    file_faults.BETWEEN_HEADERS_AND_BODY,
    file_faults.IN_MID_BODY,
    file_faults.ON_A_RESUME,
)


def test_each_row_is_told_once() -> None:
    named = re.findall(r"`\[([\w -]+)\]`", TEXT.partition("\n| **No connection**")[2])
    assert sorted(named) == sorted(row.name for table in TABLES for row in table)


def test_each_test_that_is_named_exists() -> None:
    for path, name in re.findall(r"\b((?:e2e|unit)/\w+\.py)::(\w+)", TEXT):
        assert re.search(rf"^ *def {name}\(", (TESTS / path).read_text(), re.MULTILINE), f"{path}::{name}"
