"""A folder of wheels and sdists as an index: pip and uv install from it, and its pages follow what happens there."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from e2e.clients import Download, Installer, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.packages import File, sdist, wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

MB = 1 << 20
LONG_AGO = 1_700_000_000
TABLE = '[[index]]\nname = "folder"\npath = "{}"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "wheels"
    path.mkdir()
    return path


@pytest.fixture
def config(tmp_path: Path, folder: Path) -> Path:
    path = tmp_path / "pypicache.toml"
    path.write_text(TABLE.format(folder))
    return path


@pytest.fixture
def daemon(start: Start, config: Path, folder: Path) -> Daemon:
    """A daemon that asks the folder first, in which "lib" lies."""
    put(folder, wheel("lib", "1.0", requires_python=">=3.8"))
    daemon = start("--config", str(config))
    wait_for("the folder to be read", lambda: versions(daemon, "lib"))
    return daemon


def put(folder: Path, file: File) -> Path:
    """Put a file there as a careful tool does: whole at once, with a time of the past."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{file.name}"
    partial.write_bytes(file.data)
    os.utime(partial, (LONG_AGO, LONG_AGO))
    return partial.rename(folder / file.name)


def versions(daemon: Daemon, name: str) -> list[str]:
    """The versions on the project's page; nothing when there is no page."""
    reply = ask(daemon, f"/simple/{name}/", Accept=JSON_TYPE)
    return reply.json()["versions"] if reply.status == 200 else []


def test_pip_and_uv_install_from_the_folder_and_beyond(
    installer: Installer, daemon: Daemon, folder: Path, upstream: Upstream
) -> None:
    put(folder / "deep" / "er", sdist("source", "2.0"))
    put(folder, wheel("app", requires=("lib", "public")))
    upstream.project("public", [wheel("public", "3.0")])
    upstream.project("lib", [wheel("lib", "9.9")])
    everything = {"app": "1.0", "lib": "1.0", "public": "3.0"}
    wait_for("the folder to be read", lambda: versions(daemon, "app") and versions(daemon, "source"))
    installer.pip(daemon, "by_pip", "app")
    assert installer.installed("by_pip") == everything
    installer.uv(daemon, "by_uv", "app", "source")
    assert installer.installed("by_uv") == {**everything, "source": "2.0"}
    assert upstream.count("/simple/lib/") == upstream.count("/simple/source/") == 0


def test_the_page_has_all_fields(daemon: Daemon) -> None:
    file = wheel("lib", "1.0", requires_python=">=3.8")
    (entry,) = ask(daemon, "/simple/lib/", Accept=JSON_TYPE).json()["files"]
    assert file.metadata is not None
    metadata = ask(daemon, f"/simple/lib/{entry['url']}.metadata".replace("/simple/lib/../../", "/"))
    assert metadata.body == file.metadata
    assert entry.pop("url") == "../../files/folder.directory.invalid/packages/lib-1.0-py3-none-any.whl"
    assert entry.pop("core-metadata").keys() == {"sha256"}
    assert entry == {
        "filename": "lib-1.0-py3-none-any.whl",
        "hashes": {"sha256": file.sha256},
        "size": len(file.data),
        "requires-python": ">=3.8",
        "upload-time": "2023-11-14T22:13:20Z",
    }
    html = ask(daemon, "/folder/simple/lib/").body.decode()
    assert 'data-requires-python="&gt;=3.8"' in html
    assert "data-core-metadata=" in html
    assert ask(daemon, "/folder/simple/", Accept=JSON_TYPE).json()["projects"] == [{"name": "lib"}]


def test_files_that_were_just_built_are_there_for_the_first_request(start: Start, config: Path, folder: Path) -> None:
    put(folder, wheel("lib", "1.0"))
    (folder / wheel("lib", "1.1").name).write_bytes(wheel("lib", "1.1").data)
    daemon = start("--config", str(config))
    assert versions(daemon, "lib") == ["1.0", "1.1"]


def test_files_are_served_where_they_lie(daemon: Daemon) -> None:
    file = wheel("lib", "1.0", requires_python=">=3.8")
    (path,) = links(daemon, "lib").values()
    for same in (path, f"/folder{path}", f"/folder/packages/{file.name}"):
        assert ask(daemon, same).body == file.data
    assert ask(daemon, path, Range="bytes=3-7").body == file.data[3:8]
    assert ask(daemon, path, "HEAD").headers["content-length"] == str(len(file.data))
    assert ask(daemon, path).headers["etag"] == f'"sha256:{file.sha256}"'
    assert daemon.stored(file.name) == []


def test_the_page_follows_the_folder(daemon: Daemon, folder: Path) -> None:
    assert versions(daemon, "lib") == ["1.0"]
    assert versions(daemon, "later") == []
    newer = put(folder, wheel("lib", "2.0"))
    put(folder, wheel("later"))
    wait_for(
        "both new files", lambda: (versions(daemon, "lib"), versions(daemon, "later")) == (["1.0", "2.0"], ["1.0"])
    )
    newer.unlink()
    wait_for("it to be gone again", lambda: versions(daemon, "lib") == ["1.0"])


def test_a_file_that_is_replaced_is_served_as_announced_or_not_at_all(daemon: Daemon, folder: Path) -> None:
    other = File("lib-1.0-py3-none-any.whl", wheel("lib", "1.0", size=1000).data)
    (path,) = links(daemon, "lib").values()
    put(folder, other)
    first = ask(daemon, path)
    assert first.status == 503 or first.body == other.data
    wait_for("the other file", lambda: ask(daemon, path).body == other.data)
    wait_for(
        "its digest on the page",
        lambda: ask(daemon, "/simple/lib/", Accept=JSON_TYPE).json()["files"][0]["hashes"]["sha256"] == other.sha256,
    )


def test_a_download_of_a_removed_file_goes_on(daemon: Daemon, folder: Path) -> None:
    file = wheel("big", size=16 * MB)
    place = put(folder, file)
    wait_for("the file", lambda: versions(daemon, "big"))
    (path,) = links(daemon, "big").values()
    with Download(daemon, path) as download:
        begun = download.read(MB)
        place.unlink()
        wait_for("it to be absent", lambda: ask(daemon, path).status == 404)
        assert begun + download.read() == file.data


def test_a_folder_that_vanishes_is_down_not_empty(daemon: Daemon, folder: Path, upstream: Upstream) -> None:
    upstream.project("other", [wheel("other", "6.6")])
    away = folder.rename(folder.parent / "away")
    daemon.wait_for_log(r"directory folder: .*can't be read")
    assert ask(daemon, "/simple/other/").status == 503
    assert versions(daemon, "lib") == ["1.0"]
    assert upstream.count("/simple/other/") == 0
    away.rename(folder)
    wait_for("what the folder lacks to be had beyond", lambda: ask(daemon, "/simple/other/").status == 200)


def test_offline(start: Start, config: Path, folder: Path, installer: Installer, upstream: Upstream) -> None:
    put(folder, wheel("lib"))
    upstream.project("beyond", [wheel("beyond")])
    daemon = start("--config", str(config), "--offline")
    wait_for("the folder to be read", lambda: versions(daemon, "lib"))
    installer.pip(daemon, "target", "lib")
    reply = ask(daemon, "/simple/beyond/")
    assert (reply.status, reply.headers.get("retry-after")) == (503, None)
    assert upstream.count() == 0


def test_what_cant_be_served_is_left_out_and_told_once(start: Start, config: Path, folder: Path) -> None:
    secret = folder.parent / "secret-1.0.zip"
    secret.write_bytes(sdist("secret").data)
    (folder / secret.name).symlink_to(secret)
    (folder / "inside-1.0-py3-none-any.whl").symlink_to(put(folder / "pool", wheel("lib")))
    put(folder / "again", wheel("lib"))
    (folder / "nonsense.whl").write_bytes(b"")
    (folder / "broken-1.0-py3-none-any.whl").write_bytes(b"no zip")
    os.mkfifo(folder / "pipe-1.0.zip")
    daemon = start("--config", str(config))
    told = ("leads out", "same name", "tells no project", "not a readable wheel", "no regular file")
    for problem in told:
        daemon.wait_for_log(problem)
    put(folder, wheel("last"))
    wait_for("another look", lambda: versions(daemon, "last"))
    assert [daemon.log.count(problem) for problem in told] == [1] * len(told)
    assert list(links(daemon, "lib")) == ["lib-1.0-py3-none-any.whl"]
    assert list(links(daemon, "inside")) == ["inside-1.0-py3-none-any.whl"]
    assert (links(daemon, "broken"), ask(daemon, "/simple/secret/").status) == ({}, 404)


def test_nothing_is_read_twice(daemon: Daemon, folder: Path) -> None:
    assert versions(daemon, "lib") == ["1.0"]
    # Who read it again now would find that it is no wheel.
    place = folder / "lib-1.0-py3-none-any.whl"
    size, times = place.stat().st_size, place.stat()
    with place.open("r+b") as file:
        file.write(bytes(size))
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    daemon.restart()
    wait_for("the folder to be read", lambda: "1 files of 1 projects" in daemon.log.rpartition("directory folder")[2])
    assert versions(daemon, "lib") == ["1.0"]


def test_a_missing_folder_is_one_line(start: Start, config: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(AssertionError, match=r"ended with status 1:\npypicache: \[\[index\]\] folder: path: .*\n$"):
        start("--config", str(config))


def test_folders_come_and_go_at_sighup(daemon: Daemon, config: Path, folder: Path) -> None:
    assert versions(daemon, "lib") == ["1.0"]
    other = folder.parent / "other"
    put(other, wheel("lib", "5.0"))
    config.write_text(TABLE.format(other))
    daemon.signal(signal.SIGHUP)
    wait_for("the other folder's page", lambda: versions(daemon, "lib") == ["5.0"])
    config.write_text("")
    daemon.signal(signal.SIGHUP)
    wait_for("no folder", lambda: ask(daemon, "/folder/simple/lib/").status == 404)
