"""pip and uv install through the daemon: cold, warm, with the upstream gone, and from every kind of index."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.clients import Installer
from e2e.daemon import Daemon, Start
from e2e.packages import sdist, wheel
from e2e.upstream import Upstream

Install = Callable[..., str]
EXPECTED = {"app": "1.0", "lib": "2.0"}


@pytest.fixture(params=["pip", "uv"])
def install(request: pytest.FixtureRequest, installer: Installer) -> Install:
    return getattr(installer, request.param)


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    early, late = "2024-01-01T00:00:00.000000Z", "2025-01-01T00:00:00.000000Z"
    upstream.project("app", [wheel("app", "1.0", ("lib>=1",))])
    upstream.project("lib", [wheel("lib", "1.0", upload_time=early), wheel("lib", "2.0", upload_time=late)])
    upstream.project("source-only", [sdist("source-only", "3.0")])


def test_cold_warm_and_with_the_upstream_gone(
    install: Install, installer: Installer, upstream: Upstream, start: Start
) -> None:
    daemon = start("--index-ttl", "0")
    install(daemon, "cold", "app")
    assert installer.installed("cold") == EXPECTED
    asked = upstream.count("/packages/")
    assert asked > 0
    install(daemon, "warm", "app")
    assert installer.installed("warm") == EXPECTED
    assert upstream.count("/packages/") == asked, "a warm install asks upstream for no file"
    upstream.refuse()
    daemon.restart()
    install(daemon, "gone", "app")
    assert installer.installed("gone") == EXPECTED


def test_a_source_distribution_is_built(install: Install, installer: Installer, daemon: Daemon) -> None:
    install(daemon, "target", "source-only")
    assert installer.installed("target") == {"source_only": "3.0"}


def test_a_file_that_appears_is_installed_at_once_after_a_purge(
    install: Install, installer: Installer, upstream: Upstream, daemon: Daemon
) -> None:
    install(daemon, "before", "lib")
    upstream.release("lib", wheel("lib", "3.0"))
    install(daemon, "fresh", "lib")
    assert installer.installed("fresh") == {"lib": "2.0"}, "the page is fresh for five minutes"
    daemon.expire("lib")
    install(daemon, "after", "lib")
    assert installer.installed("after") == {"lib": "3.0"}


def test_pip_with_required_hashes(installer: Installer, upstream: Upstream, daemon: Daemon) -> None:
    digests = {file.name: file.sha256 for name in EXPECTED for file in upstream.catalogue.projects[name].files}
    (installer.directory / "requirements.txt").write_text(
        f"app==1.0 --hash=sha256:{digests['app-1.0-py3-none-any.whl']}\n"
        f"lib==2.0 --hash=sha256:{digests['lib-2.0-py3-none-any.whl']}\n"
    )
    installer.pip(daemon, "target", "--require-hashes", "-r", "requirements.txt")
    assert installer.installed("target") == EXPECTED


def test_uv_excludes_what_is_newer(installer: Installer, daemon: Daemon) -> None:
    assert "lib==2.0" in installer.uv_compile(daemon, "app")
    assert "lib==1.0" in installer.uv_compile(daemon, "app", "--exclude-newer", "2024-06-01T00:00:00Z")


def test_an_index_without_json(install: Install, installer: Installer, upstream: Upstream, daemon: Daemon) -> None:
    upstream.catalogue.html_only = True
    install(daemon, "target", "app")
    assert installer.installed("target") == EXPECTED


def test_an_index_with_relative_links(install: Install, installer: Installer, upstream: Upstream, start: Start) -> None:
    upstream.catalogue.html_only = upstream.catalogue.relative_links = True
    daemon = start("--files-url", upstream.index_url.removesuffix("simple/"))
    install(daemon, "target", "app")
    assert installer.installed("target") == EXPECTED
    assert upstream.count("/packages/") > 0


def test_an_index_that_publishes_no_metadata(
    install: Install, installer: Installer, upstream: Upstream, daemon: Daemon
) -> None:
    upstream.catalogue.announce_metadata = False
    install(daemon, "target", "app")
    assert installer.installed("target") == EXPECTED


def test_metadata_that_is_announced_but_missing(
    install: Install, installer: Installer, upstream: Upstream, daemon: Daemon
) -> None:
    install(daemon, "before", "app")
    for path in daemon.stored("*.metadata"):
        path.unlink()
    with upstream.down():
        daemon.restart()
        install(daemon, "after", "app")
    assert installer.installed("after") == EXPECTED


def test_below_a_prefix(install: Install, installer: Installer, start: Start) -> None:
    daemon = start("--prefix", "/python/mirror")
    install(daemon.at("/python/mirror"), "target", "app")
    assert installer.installed("target") == EXPECTED
