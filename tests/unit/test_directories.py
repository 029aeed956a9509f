"""Local directories: what is looked at, what is read, what is offered. Real files, a clock in the test's hand."""

from __future__ import annotations

import gzip
import io
import os
import sqlite3
import tarfile
import time
import zipfile
from collections.abc import Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twisted_pypi.answers import Asker
from twisted_pypi.directories import listing, watching
from twisted_pypi.directories.addresses import file_in, host_in, origin_of_directory, project_in
from twisted_pypi.directories.ledger import Ledger
from twisted_pypi.directories.listing import Stamp, look
from twisted_pypi.directories.reading import Reading, Stopped, open_same, read
from twisted_pypi.directories.serving import Directories, DirectoryFiles, DirectoryUpstream
from twisted_pypi.directories.shelf import arranged
from twisted_pypi.directories.watching import INTERVAL, REST, Watch
from twisted_pypi.errors import Absent, Unavailable, UpstreamFailed
from twisted_pypi.events import DirectoryTaken, DirectoryTrouble, StoreTrouble
from twisted_pypi.interfaces import Fetched, FetchedBody, Files, Upstream
from twisted_pypi.model import FetchRequest, FileRoute
from twisted_pypi.pypi.distribution import core_metadata, identity_of, requires_python
from unit.doubles import FakeUpstream, InlineWorkers
from unit.storage_doubles import now

WHEEL = "lib-1.0-py3-none-any.whl"
ORIGIN = "https://folder.directory.invalid/"
PAGE = f"{ORIGIN}simple/lib/"
FILE = f"{ORIGIN}packages/{WHEEL}"


def wheel(version: str = "1.0", more: str = "Requires-Python: >=3.8\n") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"lib-{version}.dist-info/METADATA", f"Name: lib\nVersion: {version}\n{more}")
    return buffer.getvalue()


def sdist(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@frozen
class Spec:
    name: str = "folder"
    path: str = ""
    metadata: bool = True


@define
class Folder:
    """A watched directory, whose files came to rest before the first look."""

    root: Path
    clock: Clock = field(factory=Clock)
    events: list = field(factory=list)
    changes: list = field(factory=list)
    watch: Watch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.clock.advance(time.time() + 1000)
        self.watch = self.watching("folder", str(self.root))

    def watching(self, name: str, path: str) -> Watch:
        ledger = Ledger(str(self.root.parent / "readings.sqlite"))
        told = self.events.append
        return Watch(name, path, InlineWorkers(), ledger, told, self.clock, lambda: self.changes.append(1))

    def put(self, name: str, data: bytes) -> Path:
        place = self.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def look(self) -> None:
        self.clock.advance(INTERVAL)

    def of_kind(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def shelf(self):
        return now(self.watch.shelf())


@pytest.fixture
def folder(tmp_path: Path):
    made = Folder(tmp_path / "wheels")
    yield made
    made.watch.stop()


# -- names and metadata ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My_Lib-1.0.post1-py3-none-any.whl", ("my-lib", "1.0.post1")),
        ("my-lib-1.0.tar.gz", ("my-lib", "1.0")),
        ("lib-1!2.0.zip", ("lib", "1!2.0")),
        ("lib-nonsense.tar.gz", None),
        ("lib-1.0.whl", None),
        ("-1.0.tar.gz", None),
        ("lib\udcff-1.0.tar.gz", None),
        ("l" * 300 + "-1.0.tar.gz", None),
    ],
)
def test_identity(name: str, expected: tuple[str, str] | None) -> None:
    got = identity_of(name)
    assert (got and (got.project, got.version)) == expected


def test_metadata_of_an_sdist_is_that_at_its_top() -> None:
    info = b"Name: lib\nRequires-Python: >=3.9\n"
    data = sdist({"lib-1.0/lib.egg-info/PKG-INFO": b"Name: other\n", "lib-1.0/PKG-INFO": info})
    assert core_metadata(io.BytesIO(data), "lib-1.0.tar.gz") == info
    assert requires_python(info) == ">=3.9"
    assert core_metadata(io.BytesIO(sdist({"lib-1.0/setup.py": b""})), "lib-1.0.tar.gz") == b""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lib-1.0/PKG-INFO", info)
    assert core_metadata(buffer, "lib-1.0.zip") == info


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"no tar" * 200), wheel()[:-30]])
@pytest.mark.parametrize("name", ["lib-1.0.tar.gz", "lib-1.0.zip", WHEEL])
def test_broken_files_are_value_errors(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a readable|METADATA"):
        core_metadata(io.BytesIO(data), name)


def test_a_truncated_sdist_is_a_value_error() -> None:
    data = sdist({"lib-1.0/big": os.urandom(100_000), "lib-1.0/PKG-INFO": b"Name: lib\n"})
    with pytest.raises(ValueError, match="not a readable sdist"):
        core_metadata(io.BytesIO(data[:50_000]), "lib-1.0.tar.gz")


# -- addresses ---------------------------------------------------------------------------------------------------


def test_addresses_lead_back() -> None:
    assert origin_of_directory("Folder") == ORIGIN
    assert host_in(PAGE) == "folder.directory.invalid"
    assert host_in("https://index.example/simple/") == host_in("https://directory.invalid/") == ""
    assert (file_in(FILE), file_in(f"{ORIGIN}packages/a/{WHEEL}"), file_in(f"{ORIGIN}{WHEEL}")) == (WHEEL, "", "")
    assert file_in(f"{ORIGIN}packages/a%2Fb.whl") == ""
    assert [project_in(ORIGIN + path) for path in ("simple/lib/", "simple/", "pypi/lib/json")] == ["lib", "", None]


# -- looking -----------------------------------------------------------------------------------------------------


def test_hidden_names_and_other_files_are_passed_over(folder: Folder) -> None:
    for name in (".lib-1.0.tar.gz", ".git/lib-1.0.tar.gz", "README", "lib-1.0.tar.gz.asc"):
        folder.put(name, b"")
    (folder.root / "loop").symlink_to(folder.root)
    found = look(str(folder.root))
    assert (found.stamps, found.problems) == ({}, {})


def test_bounds(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_FILES", 1)
    monkeypatch.setattr(listing, "MAX_DEPTH", 1)
    for name in ("a-1.0.zip", "b-1.0.zip", "d/e/c-1.0.zip"):
        folder.put(name, b"")
    assert len(look(str(folder.root)).stamps) == 1
    monkeypatch.setattr(listing, "MAX_FILES", 9)
    found = look(str(folder.root))
    assert (list(found.stamps), found.problems) == (["a-1.0.zip", "b-1.0.zip"], {"d/e": "deeper than 1 directories"})


def test_an_empty_place_of_a_mount_is_an_error(folder: Folder) -> None:
    folder.put(WHEEL, wheel())
    before = look(str(folder.root))
    folder.root.rename(folder.root.parent / "away")
    folder.root.mkdir()
    with pytest.raises(OSError, match="not mounted"):
        look(str(folder.root), before)


def test_an_emptied_directory_is_empty(folder: Folder) -> None:
    place = folder.put(WHEEL, wheel())
    before = look(str(folder.root))
    place.unlink()
    assert look(str(folder.root), before).stamps == {}


# -- reading -----------------------------------------------------------------------------------------------------


def test_another_file_in_its_place_is_not_read(folder: Folder) -> None:
    place = folder.put(WHEEL, wheel())
    stamp = Stamp.of(place.stat())
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(LookupError):
        open_same(str(place), stamp)


def test_reading_can_be_stopped(folder: Folder) -> None:
    place = folder.put(WHEEL, wheel())
    with pytest.raises(Stopped):
        read(str(place), Stamp.of(place.stat()), lambda: True)


# -- keeping -----------------------------------------------------------------------------------------------------


def test_a_ledger_keeps_by_directory_and_survives_damage(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path / "readings.sqlite"))
    stamp, reading = Stamp(1, 2**63 - 1, 3, 4), Reading("ab", ">=3", "cd")
    ledger.save("one", {"a": (stamp, reading), "b": (stamp, reading)})
    ledger.save("one", {}, ["b"])
    assert ledger.load("one") == {"a": (stamp, reading)}
    assert ledger.load("two") == {}
    Path(ledger.path).write_bytes(b"no database, but long enough to be taken for one" * 100)
    assert ledger.load("one") == {}
    ledger.save("one", {"a": (stamp, reading)})
    assert list(ledger.load("one")) == ["a"]


def test_stamps_fit_into_the_ledger() -> None:
    huge = os.stat_result((0o100644, 2**64 - 1, 2**64 - 2, 1, 0, 0, 5, 0, 0, 0))
    stamp = Stamp.of(huge)
    assert max(stamp.inode, stamp.device) < 2**63


# -- offering ----------------------------------------------------------------------------------------------------


def test_versions_are_in_order_and_times_are_sane(folder: Folder) -> None:
    for version in ("1.10", "1.9", "1.9rc1"):
        folder.put(f"lib-{version}-py3-none-any.whl", wheel(version))
    found = look(str(folder.root))
    late = {path: evolve(stamp, mtime_ns=10**21) for path, stamp in found.stamps.items()}
    found = evolve(found, stamps=late)
    readings = {path: (stamp, Reading("ab")) for path, stamp in found.stamps.items()}
    page = orjson.loads(arranged(found, readings, {}).page("lib", metadata=True))
    assert page["versions"] == ["1.9rc1", "1.9", "1.10"]
    assert {file["upload-time"] for file in page["files"]} == {"9999-12-31T23:59:59Z"}


def test_a_name_belongs_to_the_directory_though_its_file_waits_or_is_broken(folder: Folder) -> None:
    folder.put(WHEEL, wheel())
    found = look(str(folder.root))
    assert arranged(found, {}, {}).page("lib", metadata=True) is None
    failed = arranged(found, {}, {WHEEL: (found.stamps[WHEEL], "broken")})
    assert orjson.loads(failed.page("lib", metadata=True))["files"] == []
    assert failed.problems == {WHEEL: "broken"}


# -- watching ----------------------------------------------------------------------------------------------------


def test_a_file_is_taken_up_at_the_first_look_if_it_rests(folder: Folder) -> None:
    data = wheel()
    folder.put(WHEEL, data)
    folder.watch.start()
    (item,) = folder.shelf.items.values()
    metadata = b"Name: lib\nVersion: 1.0\nRequires-Python: >=3.8\n"
    assert item.reading == Reading(sha256(data).hexdigest(), ">=3.8", sha256(metadata).hexdigest())
    assert folder.of_kind(DirectoryTaken)[-1] == DirectoryTaken("folder", 1, 1)


def test_a_file_that_grows_is_waited_for(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REST", 1e6)  # what was touched in the last days
    folder.watch.start()
    assert folder.shelf.items == {}
    data = wheel()
    place = folder.put(WHEEL, data[:50])
    folder.look()
    assert folder.shelf.waiting == {WHEEL}
    place.write_bytes(data)
    folder.look()
    assert folder.shelf.waiting == {WHEEL}
    folder.look()
    assert list(folder.shelf.items) == [WHEEL]
    assert folder.of_kind(DirectoryTrouble) == []


def test_a_file_of_the_future_rests_too(folder: Folder) -> None:
    folder.clock.rightNow = 1000.0
    folder.put(WHEEL, wheel())
    folder.watch.start()
    assert list(folder.shelf.items) == [WHEEL]
    assert REST > INTERVAL


def test_whoever_asks_before_the_first_look_waits_for_it(folder: Folder) -> None:
    asked, left = (Deferred.fromCoroutine(folder.watch.shelf()) for _ in range(2))
    left.addErrback(lambda _: None)
    left.cancel()
    assert not asked.called
    folder.watch.start()
    assert asked.called


def test_a_directory_that_does_not_answer_is_down_until_it_does(folder: Folder) -> None:
    asked = Deferred.fromCoroutine(folder.watch.shelf())
    folder.clock.advance(watching.PATIENCE)
    assert asked.result is None
    assert "does not answer" in folder.watch.failure
    folder.watch.start()
    assert folder.shelf is not None


def test_nobody_waits_for_a_watch_that_ended(folder: Folder) -> None:
    asked = Deferred.fromCoroutine(folder.watch.shelf())
    folder.watch.stop()
    assert asked.called


def test_a_change_is_told_once_and_a_look_that_finds_none_is_not(folder: Folder) -> None:
    folder.watch.start()
    before = len(folder.changes)
    folder.look()
    assert len(folder.changes) == before
    folder.put(WHEEL, wheel())
    folder.look()
    assert len(folder.changes) > before


def test_a_vanished_directory_is_told_once_and_found_again(folder: Folder) -> None:
    folder.put(WHEEL, wheel())
    folder.watch.start()
    away = folder.root.rename(folder.root.parent / "away")
    folder.look()
    folder.look()
    assert folder.shelf is None
    assert [event.path for event in folder.of_kind(DirectoryTrouble)] == [""]
    away.rename(folder.root)
    folder.look()
    assert list(folder.shelf.items) == [WHEEL]


def test_an_unreadable_file_is_told_once_and_read_when_it_can_be(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [PermissionError(13, "Permission denied")]

    def reading(*args):
        if refused:
            raise refused[0]
        return read(*args)

    monkeypatch.setattr(watching, "read", reading)
    place = folder.put(WHEEL, wheel())
    folder.watch.start()
    folder.look()
    assert [event.reason for event in folder.of_kind(DirectoryTrouble)] == ["can't be read: Permission denied"]
    refused.clear()
    folder.look()
    assert folder.shelf.items == {}
    was = place.stat().st_ctime_ns
    while place.stat().st_ctime_ns == was:  # the kernel's clock is coarse
        place.chmod(0o600)
    folder.look()
    assert list(folder.shelf.items) == [WHEEL]


def test_many_problems_are_few_lines(folder: Folder) -> None:
    for number in range(watching.MAX_TOLD + 5):
        folder.put(f"nonsense{number}.whl", b"")
    folder.watch.start()
    assert len(folder.of_kind(DirectoryTrouble)) == watching.MAX_TOLD + 1
    assert folder.of_kind(DirectoryTrouble)[-1].reason == "5 more are not served"


def test_a_slow_directory_is_looked_through_less_often(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def slow(*args):
        looks.append(folder.clock.seconds())
        folder.clock.rightNow += 0.5
        return look(*args)

    monkeypatch.setattr(watching, "look", slow)
    folder.watch.start()
    folder.clock.advance(24.9)
    assert len(looks) == 1
    folder.clock.advance(0.1)
    assert len(looks) == 2


def test_long_reading_does_not_put_the_next_look_off(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args):
        folder.clock.rightNow += 60
        return read(*args)

    folder.put(WHEEL, wheel())
    with monkeypatch.context() as patched:
        patched.setattr(watching, "read", slow)
        folder.watch.start()
    folder.put("new-1.0-py3-none-any.whl", wheel())
    folder.look()
    folder.look()
    assert len(folder.shelf.items) == 2


def test_between_the_turns_of_long_reading_it_is_looked_for_new_files(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def slow(path, *args):
        order.append(os.path.basename(path))
        folder.clock.rightNow += 60
        if len(order) == 1:
            folder.put("new-1.0-py3-none-any.whl", wheel())
        return read(path, *args)

    monkeypatch.setattr(watching, "BATCH", 0.0)
    monkeypatch.setattr(watching, "read", slow)
    for name in ("a-1.0-py3-none-any.whl", "b-1.0-py3-none-any.whl"):
        folder.put(name, wheel())
    folder.watch.start()
    folder.clock.advance(0)
    folder.look()
    assert order[1] == "new-1.0-py3-none-any.whl"
    assert len(order) == 3


def test_nothing_is_arranged_anew_while_nothing_changes(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put(WHEEL, wheel())
    folder.watch.start()
    folder.look()
    monkeypatch.setattr(watching, "arranged", None)
    folder.look()
    assert list(folder.shelf.items) == [WHEEL]
    assert folder.of_kind(DirectoryTrouble) == []


def test_what_was_read_is_not_read_again_after_a_restart(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put(WHEEL, wheel())
    folder.watch.start()
    folder.watch.stop()
    monkeypatch.setattr(watching, "read", None)
    folder.watch = folder.watching("folder", str(folder.root))
    folder.watch.start()
    assert list(folder.shelf.items) == [WHEEL]


def test_a_ledger_that_cant_be_written_costs_nothing_but_time(folder: Folder) -> None:
    folder.put(WHEEL, wheel())
    (folder.root.parent / "readings.sqlite").mkdir()
    folder.watch.start()
    assert list(folder.shelf.items) == [WHEEL]
    assert folder.of_kind(StoreTrouble)


# -- serving -----------------------------------------------------------------------------------------------------


@define
class NoFiles:
    """What is beyond: nothing."""

    asked: list = field(factory=list)

    async def answer(self, route, asker):
        self.asked.append(route.key)
        raise Absent("beyond")


@define
class Served:
    """The directory as an index."""

    folder: Folder
    beyond: FakeUpstream = field(factory=FakeUpstream)
    files_beyond: NoFiles = field(factory=NoFiles)
    directories: Directories = field(init=False)

    def __attrs_post_init__(self) -> None:
        def watch(name: str, path: str) -> Watch:
            self.folder.watch.stop()
            self.folder.watch = self.folder.watching(name, path)
            return self.folder.watch

        self.directories = Directories(watch, (Spec(path=str(self.folder.root)),))

    def fetch(self, url: str = PAGE, **headers: str) -> Fetched:
        return now(self.fetching(url, **headers))

    def fetching(self, url: str = PAGE, **headers: str) -> Coroutine[Any, Any, Fetched]:
        upstream: Upstream = DirectoryUpstream(self.beyond, self.directories)
        return upstream.fetch(FetchRequest(url, "folder", headers=headers))

    def file(self, key: str = FILE, indexes: tuple[str, ...] = ("folder",), **asker):
        return now(self.filing(key, indexes, **asker))

    def filing(self, key: str = FILE, indexes: tuple[str, ...] = ("folder",), **asker):
        files: Files = DirectoryFiles(self.files_beyond, self.directories, InlineWorkers())
        route = FileRoute(key, key, "name", None, indexes, open=True)
        return files.answer(route, Asker(**asker))


@pytest.fixture
def served(folder: Folder) -> Served:
    folder.put(WHEEL, wheel())
    made = Served(folder)
    made.directories.start()
    return made


def test_pages_are_answered_with_validators(served: Served) -> None:
    got = served.fetch()
    body: FetchedBody = got.body
    page = orjson.loads(now(body.read()))
    assert (got.status, page["name"], now(body.read())) == (200, "lib", b"")
    assert served.fetch(**{"If-None-Match": got.headers["etag"]}).status == 304
    assert served.fetch(f"{ORIGIN}simple/other/").status == served.fetch(f"{ORIGIN}pypi/lib/json").status == 404
    assert orjson.loads(now(served.fetch(f"{ORIGIN}simple/").body.read()))["projects"] == [{"name": "lib"}]


NEW = "new-1.0-py3-none-any.whl"
NEWEST = "new-1.1-py3-none-any.whl"


def come(asked: Deferred) -> Any:
    """What was asked for, which has come."""

    async def waiting() -> Any:
        return await asked

    return now(waiting())


def asked_for_new(served: Served) -> list[Deferred]:
    """Its page, the file and its metadata are asked for."""
    key = f"{ORIGIN}packages/{NEW}"
    asked = served.fetching(f"{ORIGIN}simple/new/"), served.filing(key), served.filing(f"{key}.metadata")
    return [Deferred.fromCoroutine(each) for each in asked]


def test_what_waits_to_be_read_is_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REST", 1e6)
    served.folder.look()
    served.folder.put(NEW, wheel())
    served.folder.look()
    asked = asked_for_new(served)
    assert not any(each.called for each in asked)
    served.folder.look()
    page, file, metadata = map(come, asked)
    assert page.status == 200
    file.source.close()
    assert metadata.length > 0


def test_what_waits_long_is_no_absence(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REST", 1e6)
    served.folder.put(NEW, wheel())
    served.folder.look()
    asked = asked_for_new(served)
    for byte in range(int(watching.PATIENCE / INTERVAL)):  # it grows all the time
        served.folder.put(NEW, wheel() + bytes([byte]))
        served.folder.look()
    with pytest.raises(UpstreamFailed, match="being read"):
        come(asked[0])
    for each in asked[1:]:
        with pytest.raises(Unavailable, match="being read"):
            come(each)


def test_who_leaves_while_files_are_read_disturbs_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REST", 1e6)
    served.folder.look()
    served.folder.put(NEW, wheel())
    served.folder.look()
    asked = asked_for_new(served)
    asked[0].cancel()
    with pytest.raises(CancelledError):
        come(asked[0])
    served.folder.look()
    come(asked[1]).source.close()


def project_of_two(folder: Folder) -> None:
    """An older file, which rests, and a newer one, which doesn't yet."""
    folder.put(NEW, wheel())
    os.utime(folder.put(NEWEST, wheel("1.1")), (folder.clock.seconds(), folder.clock.seconds()))


def listed(served: Served) -> Deferred:
    """The page of the project of two, and how many files it lists."""

    async def asking() -> int:
        got = await served.fetching(f"{ORIGIN}simple/new/")
        return len(orjson.loads(await got.body.read())["files"])

    return Deferred.fromCoroutine(asking())


def test_at_the_start_all_files_of_a_project_are_waited_for(folder: Folder) -> None:
    project_of_two(folder)
    served = Served(folder)
    served.directories.start()
    asked = listed(served)
    assert not asked.called
    folder.look()
    assert come(asked) == 2


def test_but_not_for_long(folder: Folder) -> None:
    project_of_two(folder)
    served = Served(folder)
    served.directories.start()
    asked = listed(served)
    for step in range(int(watching.PATIENCE / INTERVAL)):
        folder.put(NEWEST, bytes(step))
        os.utime(folder.root / NEWEST, (folder.clock.seconds() + INTERVAL,) * 2)
        folder.look()
    assert come(asked) == 1
    assert come(listed(served)) == 1


def test_later_what_is_there_is_listed_at_once(folder: Folder) -> None:
    folder.put(NEW, wheel())
    served = Served(folder)
    served.directories.start()
    folder.look()
    project_of_two(folder)
    folder.look()
    assert folder.shelf.waiting == {NEWEST}
    assert come(listed(served)) == 1


def test_what_is_of_no_directory_is_asked_beyond(served: Served) -> None:
    upstream = DirectoryUpstream(served.beyond, served.directories)
    Deferred.fromCoroutine(upstream.fetch(FetchRequest("https://index.example/simple/lib/", "main")))
    assert len(served.beyond.requests) == 1
    served.beyond.down.add("https://index.example/")
    assert upstream.is_down("https://index.example/")
    assert not upstream.is_down(PAGE)
    served.beyond.probe_due = True
    assert upstream.may_probe("https://index.example/")
    with pytest.raises(Absent, match="beyond"):
        served.file("https://files.example/packages/lib.whl")


def test_files_metadata_and_what_is_neither(served: Served) -> None:
    got = served.file()
    assert got.source is not None
    assert got.source.read(0, 1 << 20) == (served.folder.root / WHEEL).read_bytes()
    got.source.close()
    metadata = served.file(f"{FILE}.metadata")
    assert metadata.source is not None
    assert [answer.provenance.index for answer in (got, metadata)] == ["folder", "folder"]
    assert metadata.source.read(0, 100).startswith(b"Name: lib")
    assert (served.file(head=True).source, served.file(f"{FILE}.metadata", head=True).source) == (None, None)
    for key in (f"{ORIGIN}packages/other-1.0.zip", f"{ORIGIN}{WHEEL}", f"{FILE}.asc"):
        with pytest.raises(Absent, match="does not have it"):
            served.file(key)


def test_files_are_for_those_who_ask_their_index(served: Served) -> None:
    with pytest.raises(Absent, match="of this index"):
        served.file(indexes=("other",))
    with pytest.raises(Absent, match="of this index"):
        served.file("https://gone.directory.invalid/packages/lib-1.0.zip", indexes=("gone",))
    assert served.files_beyond.asked == []


def test_a_file_that_changed_or_went_since_the_last_look(served: Served) -> None:
    place = served.folder.put(WHEEL, wheel(more="Summary: other\n"))
    for key in (FILE, f"{FILE}.metadata"):
        with pytest.raises(Unavailable, match="it changed"):
            served.file(key)
    place.unlink()
    with pytest.raises(Absent, match="no more"):
        served.file()


def test_a_directory_that_is_down(served: Served) -> None:
    served.folder.root.rename(served.folder.root.parent / "away")
    served.folder.look()
    upstream = DirectoryUpstream(served.beyond, served.directories)
    assert (upstream.is_down(PAGE), upstream.may_probe(PAGE)) == (True, False)
    with pytest.raises(UpstreamFailed, match="can't be read") as caught:
        served.fetch()
    assert caught.value.unreachable
    with pytest.raises(Unavailable, match="can't be read"):
        served.file()


def test_without_metadata_none_is_announced_nor_served(served: Served) -> None:
    watch = served.folder.watch
    served.directories.use((Spec(path=str(served.folder.root), metadata=False),))
    assert served.folder.watch is watch  # nothing is looked through anew
    (entry,) = orjson.loads(now(served.fetch().body.read()))["files"]
    assert "core-metadata" not in entry
    with pytest.raises(Absent):
        served.file(f"{FILE}.metadata")


def test_other_directories_come_into_force(served: Served, tmp_path: Path) -> None:
    old = served.folder.watch
    (tmp_path / "other").mkdir()
    served.directories.use((Spec(path=str(tmp_path / "other")),))
    assert served.fetch().status == 404
    assert served.folder.watch is not old
    served.directories.use((Spec(),))
    with pytest.raises(UpstreamFailed, match="no directory"):
        served.fetch()


def test_a_database_error_is_what_the_ledger_raises(tmp_path: Path) -> None:
    (tmp_path / "readings.sqlite").mkdir()
    with pytest.raises(sqlite3.Error):
        Ledger(str(tmp_path / "readings.sqlite")).save("one", {})
