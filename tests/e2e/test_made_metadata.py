"""`.metadata` for an index that has none: made from the wheel, announced when it works, at little cost."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from e2e.clients import Installer, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

MB = 1 << 20
SMALL = wheel("small", requires=("big",))
BIG = wheel("big", size=12 * MB)


@pytest.fixture(autouse=True)
def plain(upstream: Upstream) -> None:
    """Two projects of an index that knows nothing of PEP 658."""
    upstream.catalogue.announce_metadata = False
    for file in (SMALL, BIG):
        upstream.project(file.name.partition("-")[0], [file])


def announced(daemon: Daemon, name: str) -> Any:
    """What the page says of the metadata of its one file."""
    (entry,) = ask(daemon, f"/simple/{name}/", Accept=JSON_TYPE).json()["files"]
    return entry.get("core-metadata") or None


def digest(data: bytes | None) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data or b"").hexdigest()}


def test_uv_reads_pieces_once(installer: Installer, upstream: Upstream, daemon: Daemon) -> None:
    installer.uv_compile(daemon, "big")
    wait_for("the page to announce it", lambda: announced(daemon, "big") == digest(BIG.metadata))
    assert ask(daemon, f"{links(daemon, 'big')[BIG.name]}.metadata").body == BIG.metadata
    before = upstream.count("/packages/")
    assert "big==1.0" in installer.uv_compile(daemon, "big")
    assert upstream.count("/packages/") == before
    read = upstream.seen("/packages/")
    assert all(request.method == "HEAD" or "range" in request.headers for request in read)
    assert daemon.stored(BIG.name) == []


def test_a_wheel_that_was_installed_has_it(installer: Installer, upstream: Upstream, daemon: Daemon) -> None:
    installer.pip(daemon, "first", "--no-deps", "small")
    wait_for("the page to announce it", lambda: announced(daemon, "small") == digest(SMALL.metadata))
    daemon.restart()
    assert announced(daemon, "small") == digest(SMALL.metadata)
    assert ask(daemon, f"{links(daemon, 'small')[SMALL.name]}.metadata").body == SMALL.metadata
    installer.pip(daemon, "second", "--no-deps", "small")
    assert upstream.count(SMALL.path + ".metadata") == 0


def test_a_page_that_is_asked_for_reads_no_wheel(upstream: Upstream, daemon: Daemon) -> None:
    assert announced(daemon, "big") is None
    assert upstream.count("/packages/") == 0


def test_what_was_evicted_is_made_again(installer: Installer, upstream: Upstream, daemon: Daemon) -> None:
    installer.uv_compile(daemon, "big")
    wait_for("the page to announce it", lambda: announced(daemon, "big") == digest(BIG.metadata))
    daemon.expire("big", "?files=1")
    assert announced(daemon, "big") == digest(BIG.metadata)
    assert ask(daemon, f"{links(daemon, 'big')[BIG.name]}.metadata").body == BIG.metadata
    assert all("range" in request.headers for request in upstream.seen("/packages/", "GET"))


def test_not_where_it_is_not_wanted(start: Start, tmp_path: Path, installer: Installer, upstream: Upstream) -> None:
    config = tmp_path / "pypicache.toml"
    config.write_text(f'[[index]]\nname = "plain"\nurl = "{upstream.index_url}"\nmetadata = false\n')
    daemon = start("--config", str(config))
    installer.uv_compile(daemon, "big")
    installer.pip(daemon, "target", "--no-deps", "small")
    daemon.expire("big")
    daemon.expire("small")
    assert announced(daemon, "big") is announced(daemon, "small") is None
