"""docs/limits.md names tests that exist and limits that are so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from twisted_pypi.fetching.limits import MOST_WAITING
from twisted_pypi.options import OPTIONS
from twisted_pypi.storage.kept_open import kept_files, kept_pages
from twisted_pypi.web.admission import FRESH, MOST_CONNECTIONS, OWN_DESCRIPTORS
from twisted_pypi.web.patience import REQUEST_TIMEOUT, UNREAD_TIMEOUT
from twisted_pypi.web.responding import ANSWER_TIMEOUT
from twisted_pypi.web.site import KEEP_ALIVE
from twisted_pypi.workers import BACKLOG

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "limits.md").read_text()
DEFAULTS = {option.name: option.default for option in OPTIONS}


@pytest.mark.parametrize(("file", "test"), sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", TEXT))))
def test_a_test_that_is_named_exists(file: str, test: str) -> None:
    (path,) = (ROOT / "tests").glob(f"*/{file}")
    assert f"def {test}(" in path.read_text()


@pytest.mark.parametrize(
    "cells",
    [
        f"(open files - {OWN_DESCRIPTORS} - kept open - share of upstream) / 2, at most {MOST_CONNECTIONS} |",
        f"kept open: {kept_files(1 << 20)} files and {kept_pages(1 << 20)} pages at most",
        f"| {DEFAULTS['max-client-connections']} | `--max-client-connections`",
        f"| {REQUEST_TIMEOUT:g} s | `REQUEST_TIMEOUT`",
        f"| {KEEP_ALIVE} s | `KEEP_ALIVE`",
        f"| {FRESH:g} s | `FRESH`",
        f"| {UNREAD_TIMEOUT:g} s | `UNREAD_TIMEOUT`",
        f"| {ANSWER_TIMEOUT:g} s (12 s where only upstream does) | `ANSWER_TIMEOUT`",
        f"| {DEFAULTS['max-fetches']} | `--max-fetches`",
        f"| {MOST_WAITING} | `MOST_WAITING`",
        f"thread: {BACKLOG} |",
    ],
)
def test_a_limit_is_what_it_is_said_to_be(cells: str) -> None:
    assert cells in TEXT
