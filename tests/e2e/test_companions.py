"""`.metadata` that a page announces (PEP 658): from upstream, else from the stored wheel, else no longer announced."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from e2e.clients import Installer, ask, resolve
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon
from e2e.faults import Fault, corrupt, reply
from e2e.packages import File, wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

WITHOUT = pytest.mark.parametrize(
    "fault", [reply(404), reply(403), reply(500), corrupt()], ids=["missing", "forbidden", "error", "wrong"]
)


def entry(daemon: Daemon, project: str = "lib") -> dict[str, Any]:
    """What the page says of the project's only file."""
    page = ask(daemon, f"/simple/{project}/", Accept=JSON_TYPE).json()
    (file,) = page["files"]
    return file  # type: ignore[no-any-return]


def publish(upstream: Upstream, fault: Fault) -> File:
    """A project "lib" with one wheel, whose `.metadata` is announced and not to be had."""
    file = wheel("lib", size=1000)
    upstream.project("lib", [file])
    upstream.fault(f"{file.path}.metadata", fault)
    return file


@WITHOUT
def test_it_is_taken_from_the_stored_wheel(fault: Fault, upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, fault)
    path = resolve(entry(daemon)["url"])
    assert ask(daemon, path).body == file.data
    wait_for("the wheel is stored", lambda: daemon.stored(file.name))
    assert ask(daemon, f"{path}.metadata").body == file.metadata
    assert "core-metadata" in entry(daemon)


def test_it_is_taken_from_the_stored_wheel_offline(upstream: Upstream, daemon: Daemon) -> None:
    file = publish(upstream, reply(404))
    path = resolve(entry(daemon)["url"])
    assert ask(daemon, path).body == file.data
    wait_for("the wheel is stored", lambda: daemon.stored(file.name))
    daemon.restart("--offline")
    assert "core-metadata" in entry(daemon)
    assert ask(daemon, f"{path}.metadata").body == file.metadata


@WITHOUT
def test_otherwise_the_page_stops_announcing_it(
    fault: Fault, upstream: Upstream, daemon: Daemon, installer: Installer
) -> None:
    file = publish(upstream, fault)
    path = resolve(entry(daemon)["url"])
    for _ in range(2):
        assert ask(daemon, f"{path}.metadata").status == 503
    wait_for("the page announces it no more", lambda: "core-metadata" not in entry(daemon))
    assert b"metadata" not in ask(daemon, "/simple/lib/", Accept="text/html").body
    daemon.restart("--index-ttl", "0")
    assert "core-metadata" not in entry(daemon)
    upstream.project("lib", [file])
    assert "core-metadata" not in entry(daemon)
    installer.pip(daemon, "target", "lib")
    upstream.heal()
    daemon.expire("lib")
    assert "core-metadata" in entry(daemon)
    assert ask(daemon, f"{path}.metadata").body == file.metadata


def test_an_upstream_that_is_down_says_nothing_about_it(upstream: Upstream, daemon: Daemon) -> None:
    file = wheel("lib", size=1000)
    upstream.project("lib", [file])
    path = resolve(entry(daemon)["url"])
    with upstream.down():
        assert ask(daemon, f"{path}.metadata").status == 503
    assert "core-metadata" in entry(daemon)
    assert ask(daemon, f"{path}.metadata").body == file.metadata


def test_without_an_announced_digest_the_wheels_own_serves(upstream: Upstream, daemon: Daemon) -> None:
    file = wheel("lib", size=1000)
    upstream.project("lib", [evolve(file, metadata=None)]).extra["files"] = [
        {**upstream.catalogue.file_json(file), "core-metadata": True}
    ]
    path = resolve(entry(daemon)["url"])
    ask(daemon, path)
    wait_for("the wheel is stored", lambda: daemon.stored(file.name))
    assert ask(daemon, f"{path}.metadata").body == file.metadata
