"""A project "data" with one file of any size: what tests of transfers are about."""

from __future__ import annotations

from e2e.clients import links
from e2e.daemon import Daemon
from e2e.packages import File, blob
from e2e.upstream import Upstream

MB = 1 << 20


def publish(upstream: Upstream, size: int) -> File:
    """A project "data" with one file of that many bytes."""
    file = blob("data", size)
    upstream.project("data", [file])
    return file


def path_at(daemon: Daemon) -> str:
    """Where the daemon's page says that the file is."""
    (path,) = links(daemon, "data").values()
    return path
