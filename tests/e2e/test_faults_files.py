"""Faults of the files' origin: what the clients get, what the operator sees, and that nothing wrong is kept.

Each row of `file_faults` goes through `ordeal.undergo`: three clients on a cold cache, the cure, a hit under the same
fault.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e.daemon import Daemon
from e2e.file_faults import BEFORE_HEADERS, BETWEEN_HEADERS_AND_BODY, IN_MID_BODY, ON_A_RESUME
from e2e.ordeal import Row, undergo
from e2e.upstream import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One for all rows: each has a project of its own."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def daemon(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for all rows."""
    where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url, "--access-log", "none")
    with Daemon(tmp_path_factory.mktemp("faults") / "daemon", (*where, "--read-timeout", "5")) as running:
        yield running


@pytest.fixture(autouse=True)
def healthy(upstream: Upstream) -> Iterator[None]:
    """Nothing of a row that failed is left to the next."""
    yield
    upstream.heal()


@pytest.mark.parametrize("row", BEFORE_HEADERS, ids=lambda row: row.name)
def test_before_headers(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    undergo(row, upstream, daemon)


@pytest.mark.parametrize("row", BETWEEN_HEADERS_AND_BODY, ids=lambda row: row.name)
def test_between_headers_and_body(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    undergo(row, upstream, daemon)


@pytest.mark.parametrize("row", IN_MID_BODY, ids=lambda row: row.name)
def test_in_mid_body(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    undergo(row, upstream, daemon)


@pytest.mark.parametrize("row", ON_A_RESUME, ids=lambda row: row.name)
def test_on_a_resume(row: Row, upstream: Upstream, daemon: Daemon) -> None:
    undergo(row, upstream, daemon)
