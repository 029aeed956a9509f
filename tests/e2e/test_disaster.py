"""The daemon is gone, its directory is there: what docs/operations.md tells to do then, done."""

from __future__ import annotations

import re
import shlex
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from e2e import servers
from e2e.clients import Installer, links, succeeded
from e2e.daemon import Daemon
from e2e.packages import wheel
from e2e.upstream import Upstream

PAGE = Path(__file__).parents[2] / "docs/operations.md"


@pytest.fixture
def held(upstream: Upstream, daemon: Daemon, installer: Installer) -> Daemon:
    """A daemon that was used, and is gone, as its upstream is."""
    upstream.project("app", [wheel("app", "1.0", ("lib>=1",))])
    upstream.project("lib", [wheel("lib", "2.0")])
    installer.pip(daemon, "before", "app")
    return daemon


def test_a_folder_of_links_is_an_index_to_installers(held: Daemon, installer: Installer) -> None:
    held.stop()
    (linking,) = re.findall(r"^find .*$", PAGE.read_text(), re.MULTILINE)
    wheels = installer.directory / "wheels"
    wheels.mkdir()
    told = linking.replace("/var/cache/pypicache", str(held.cache)).replace("/srv/wheels", str(wheels))
    succeeded(installer.run(*shlex.split(told.replace("\\(", "(").replace("\\)", ")"))))
    succeeded(installer.run("pip", "install", "--no-index", "--find-links", str(wheels), "--target", "after", "app"))
    assert installer.installed("after") == {"app": "1.0", "lib": "2.0"}


def test_any_web_server_has_the_files_at_the_paths_of_lock_files(held: Daemon, tmp_path: Path) -> None:
    (path,) = links(held, "app").values()
    held.stop()
    (root,) = (each.parent for each in (held.cache / "files").glob("*/packages"))
    place = tmp_path / "nginx"
    place.mkdir()
    with servers.nginx(place, root) as url, urllib.request.urlopen(url + urlsplit(path).path[1:]) as answer:
        assert answer.read() == wheel("app", "1.0", ("lib>=1",)).data
