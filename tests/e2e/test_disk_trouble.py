"""What happens to the cache directory under the daemon's feet, and between its runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.clients import ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.packages import File
from e2e.single import MB, path_at, publish
from e2e.upstream import Upstream
from e2e.waiting import wait_for

SOON = 20.0
PAGE = "/simple/data/"


def warm(upstream: Upstream, daemon: Daemon) -> tuple[File, str]:
    """A file at rest in the cache, and its path."""
    file = publish(upstream, MB)
    path = path_at(daemon)
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name))
    return file, path


def works(upstream: Upstream, daemon: Daemon, file: File, path: str) -> None:
    """Everything is as it should be: page and file are right, and are stored again."""
    assert list(links(daemon, "data")) == [file.name]
    assert ask(daemon, path).body == file.data
    wait_for("the file is stored", lambda: daemon.stored(file.name), SOON)
    wait_for("it is a hit", lambda: ask(daemon, path).state == "HIT", SOON)
    daemon.expire("data")
    assert list(links(daemon, "data")) == [file.name]
    with upstream.down():
        daemon.restart()
        answer = wait_for("the file is found", lambda: (got := ask(daemon, path)).status == 200 and got, SOON)
        assert answer.body == file.data
        assert ask(daemon, PAGE, Accept=JSON_TYPE).status == 200


def wipe(cache: Path) -> None:
    """`rm -rf CACHE`."""
    shutil.rmtree(cache)


def empty(cache: Path) -> None:
    """`rm -rf CACHE/*`."""
    for path in cache.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_tmp(cache: Path) -> None:
    """Somebody tidied up."""
    shutil.rmtree(cache / "tmp")


def without_bodies(cache: Path) -> None:
    """Somebody wanted the space."""
    shutil.rmtree(cache / "files")
    shutil.rmtree(cache / "pages")


def without_catalogue(cache: Path) -> None:
    """No SQLite any more."""
    for path in cache.glob("catalogue*"):
        path.unlink()


def garbage_catalogue(cache: Path) -> None:
    """What a bad disk leaves."""
    (cache / "catalogue.sqlite").write_bytes(os.urandom(8192))


def garbage_page(cache: Path) -> None:
    """One byte in the middle."""
    for page in (cache / "pages").rglob("*.page"):
        data = bytearray(page.read_bytes())
        data[len(data) // 3] ^= 0xFF
        page.write_bytes(data)


def cut_page(cache: Path) -> None:
    """A page that ends early."""
    for page in (cache / "pages").rglob("*.page"):
        os.truncate(page, page.stat().st_size // 2)


def cut_body(cache: Path) -> None:
    """A body that ends early."""
    for body in (cache / "files").rglob("data-*"):
        os.truncate(body, 1000)


def swapped_body(cache: Path) -> None:
    """Another file of the same size."""
    for body in (cache / "files").rglob("data-*"):
        other = body.with_name("other")
        other.write_bytes(bytes(body.stat().st_size))
        other.replace(body)


def body_is_folder(cache: Path) -> None:
    """A folder where the body was."""
    for body in list((cache / "files").rglob("data-*")):
        body.unlink()
        body.mkdir()


DAMAGES = [wipe, empty, without_tmp, without_bodies, garbage_page, cut_page, cut_body, swapped_body, without_catalogue]
CATALOGUE_DAMAGES = [garbage_catalogue]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_under_the_running_daemon(damage: Callable[[Path], None], upstream: Upstream, daemon: Daemon) -> None:
    file, path = warm(upstream, daemon)
    damage(daemon.cache)
    works(upstream, daemon, file, path)


@pytest.mark.parametrize("damage", [*DAMAGES, *CATALOGUE_DAMAGES], ids=lambda damage: damage.__name__)
def test_between_its_runs(damage: Callable[[Path], None], upstream: Upstream, daemon: Daemon) -> None:
    file, path = warm(upstream, daemon)
    assert daemon.stop() == 0
    damage(daemon.cache)
    daemon.start()
    works(upstream, daemon, file, path)


@pytest.mark.parametrize("folder", ["tmp", "files", "pages"])
def test_a_folder_that_cant_be_written(folder: str, upstream: Upstream, start: Start) -> None:
    daemon = start()
    file = publish(upstream, MB)
    place = daemon.cache / folder
    if place.is_dir():
        shutil.rmtree(place)
    place.write_bytes(b"in the way")
    path = path_at(daemon)
    for _ in range(2):
        assert ask(daemon, path).body == file.data
        assert path_at(daemon) == path
    place.unlink()
    works(upstream, daemon, file, path)


def test_a_catalogue_and_bodies_alone(upstream: Upstream, daemon: Daemon) -> None:
    file, path = warm(upstream, daemon)
    assert daemon.stop() == 0
    without_catalogue(daemon.cache)
    with upstream.down():
        daemon.start()
        answer = wait_for("the file is adopted", lambda: (got := ask(daemon, path)).status == 200 and got)
        assert answer.body == file.data
    assert upstream.count(file.path, "GET") == 1
