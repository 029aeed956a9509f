"""A project "data" with one file of any size: what tests of transfers are about."""

from __future__ import annotations

from contextlib import ExitStack

from e2e.clients import Download, links
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


def check_twenty_share_one_transfer(upstream: Upstream, daemon: Daemon) -> None:
    """Twenty clients have the beginning while upstream still holds back the rest; it is asked once."""
    file = publish(upstream, 3 * MB)
    path, gate = path_at(daemon), upstream.gate("/packages/", after=MB)
    with ExitStack() as stack:
        clients = [stack.enter_context(Download(daemon, path)) for _ in range(20)]
        beginnings = [client.read(MB // 2) for client in clients]
        gate.release()
        assert all(begin + client.read() == file.data for begin, client in zip(beginnings, clients, strict=True))
    assert upstream.count(file.path, "GET") == 1
