"""Fixtures: an upstream, daemons in front of it, and fenced installers. Everything is gone at the end of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.clients import Installer
from e2e.daemon import Daemon, Start
from e2e.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A healthy index without projects."""
    with Upstream() as running:
        yield running


@pytest.fixture
def other_upstream() -> Iterator[Upstream]:
    """A second index, with origins of its own."""
    with Upstream() as running:
        yield running


@pytest.fixture
def third_upstream() -> Iterator[Upstream]:
    """A third one."""
    with Upstream() as running:
        yield running


@pytest.fixture
def workers() -> str:
    """How many processes take connections; modules and `PYPICACHE_TEST_WORKERS` may say otherwise."""
    return os.environ.get("PYPICACHE_TEST_WORKERS", "1")


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream, workers: str) -> Iterator[Start]:
    """Start a daemon in front of `upstream`: `start("--index-ttl", "0", name="second", PYPICACHE_GRACE="1")`."""
    with ExitStack() as stack:

        def begin(*arguments: str, name: str = "daemon", **environment: str) -> Daemon:
            where = ("--index-url", upstream.index_url, "--files-url", upstream.files_url, "--workers", workers)
            return stack.enter_context(Daemon(tmp_path / name, (*where, *arguments), environment))

        yield begin


@pytest.fixture
def daemon(start: Start) -> Daemon:
    """A daemon with default options."""
    return start()


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    """pip and uv."""
    directory = tmp_path / "client"
    directory.mkdir()
    return Installer(directory)
