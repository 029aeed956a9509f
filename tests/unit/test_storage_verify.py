"""Checking the whole store, on a directory that no daemon uses."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twisted_pypi.errors import ConfigError, Unavailable
from twisted_pypi.model import FileLink
from twisted_pypi.storage import verify as module
from twisted_pypi.storage.verify import DAMAGED, FOREIGN, MISSING, UNREADABLE, Finding, verify
from unit.storage_doubles import KEY, PAGE, Disk, Page, body_of, content, meta, now, put_file

FILE = "files/files.example/packages/aa/bb/cc/flask-3.0-py3-none-any.whl"
PAGE_FILE = "pages/index.example/simple/flask.page"
LATER = 1_700_100_000.0
WHEEL = hashlib.sha256(b"wheel").hexdigest()


@define
class Watcher:
    """Remembers what it was told."""

    findings: list[Finding] = field(factory=list)
    sizes: list[int] = field(factory=list)

    def total(self, size: int) -> None:
        self.sizes.append(size)

    def checked(self, size: int) -> None:
        self.sizes.append(size)

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)

    @property
    def what(self) -> list[tuple[str, str]]:
        return [(finding.what, finding.path) for finding in self.findings]


@pytest.fixture
def disk(tmp_path):
    """A stopped store with one file, that a page names, and that page."""
    disk = Disk(str(tmp_path / "cache"))
    put_file(disk.start())
    now(disk.store.pages.put(meta(), Page(named=[FileLink(KEY, {"sha256": WHEEL})]), ("json", "html")))
    now(disk.store.stop())
    return disk


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def check(disk, expected=()):
    """Verify; what was found must be `expected`, and a second look must find nothing wrong."""
    watcher = Watcher()
    tally = verify(disk.path, watcher, lambda: LATER)
    assert watcher.what == list(expected)
    assert tally.right == (not {what for what, _ in expected} & {DAMAGED, MISSING, UNREADABLE})
    assert verify(disk.path, Watcher(), lambda: LATER).right
    return tally


def test_all_is_right(disk):
    watcher = Watcher()
    tally = verify(disk.path, watcher, lambda: LATER)
    assert (tally.files, tally.pages, tally.right, tally.findings) == (1, 1, True, {})
    assert watcher.sizes[0] == sum(watcher.sizes[1:]) == tally.size


def test_an_empty_store_is_right(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    now(disk.start().stop())
    assert check(disk).size == 0


@pytest.mark.parametrize("data", [b"wheeX", b"whee", b"wheels", b""])
def test_a_damaged_file_is_dropped_and_fetched_again(disk, cache, data):
    (cache / FILE).write_bytes(data)
    tally = check(disk, [(DAMAGED, FILE)])
    assert (tally.files, tally.pages) == (0, 1)
    assert not (cache / FILE).exists()
    store = disk.start()
    assert now(store.files.get(KEY)) is None
    assert [each.link.hashes for each in now(store.facts.links(KEY))] == [{"sha256": WHEEL}], "the page's word stays"
    now(store.stop())


@pytest.mark.parametrize("place", [0, 5, 100, -1, -30, -100])
def test_a_damaged_page_is_dropped(disk, cache, place):
    raw = bytearray((cache / PAGE_FILE).read_bytes())
    raw[place] ^= 1
    (cache / PAGE_FILE).write_bytes(raw)
    check(disk, [(DAMAGED, PAGE_FILE)])
    assert not (cache / PAGE_FILE).exists()
    assert now(disk.start().pages.get(PAGE)) is None
    now(disk.store.stop())


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_anywhere_in_a_page_or_file_is_found(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cache")
    disk = Disk(str(path))
    put_file(disk.start())
    now(disk.store.pages.put(meta(), Page(named=[FileLink(KEY, {"md5": "0"})]), ("json",)))
    now(disk.store.stop())
    victim = path / data.draw(st.sampled_from([FILE, PAGE_FILE]))
    raw = bytearray(victim.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    victim.write_bytes(raw)
    check(disk, [(DAMAGED, str(victim.relative_to(path)))])


def test_what_is_missing_is_forgotten(disk, cache):
    (cache / FILE).unlink()
    (cache / PAGE_FILE).unlink()
    check(disk, [(MISSING, FILE), (MISSING, PAGE_FILE)])
    assert disk.start().usage() == (0, 0)
    now(disk.store.stop())


def test_a_link_in_the_place_of_a_file_is_missing(disk, cache, tmp_path):
    (cache / FILE).rename(tmp_path / "away")
    (cache / FILE).symlink_to(tmp_path / "away")
    check(disk, [(MISSING, FILE)])
    assert (tmp_path / "away").read_bytes() == b"wheel"


def test_what_cannot_be_read_is_kept(disk, cache, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    watcher = Watcher()
    with monkeypatch.context() as broken:
        broken.setattr("twisted_pypi.storage.faults.digests_of", fail)
        tally = verify(disk.path, watcher, lambda: LATER)
    assert (UNREADABLE, FILE) in watcher.what
    assert not tally.right
    assert (cache / FILE).exists()
    check(disk)


def test_a_copy_of_the_directory_is_right_and_checked(disk, cache):
    """Inodes and times differ: the digests tell, once and not at the first request of each file."""
    data = (cache / FILE).read_bytes()
    (cache / FILE).unlink()
    (cache / FILE).write_bytes(data)
    check(disk)
    disk.clock.advance(LATER - disk.clock.seconds() + 86400)
    store = disk.start()
    file = now(store.files.get(KEY))
    source = now(store.files.open(file))
    assert type(source).__name__ == "FileSource", "not to be checked beside its serving"
    source.close()
    now(store.stop())


def test_foreign_files_are_named_and_left_alone(disk, cache):
    names = ["files/README", "files/files.example/x", "pages/index.example/README", "notes"]
    for name in names:
        (cache / name).write_bytes(b"hands off")
    os.mkfifo(cache / "pipe")
    check(
        disk,
        [(FOREIGN, "pages/index.example/README"), *((FOREIGN, name) for name in sorted(names[:2])), (FOREIGN, "notes")],
    )
    assert all((cache / name).read_bytes() == b"hands off" for name in names)


def test_partial_files_stay(disk, cache):
    (cache / "tmp" / "1-1-abc").write_bytes(b"x")
    assert check(disk).partial == 1
    assert (cache / "tmp" / "1-1-abc").exists()


# The catalogue


def spoil(cache, how):
    path = cache / "catalogue.sqlite"
    if how == "missing":
        path.unlink()
    elif how == "garbage":
        path.write_bytes(b"garbage " * 5000)
    else:
        with sqlite3.connect(path) as db:
            db.execute(how)
        db.close()


SPOILT = [
    "missing",
    "garbage",
    "PRAGMA user_version = 99",
    "DROP TABLE owners",
    "UPDATE entries SET hashes = '{'",
    "UPDATE entries SET hashes = '[]'",
    "UPDATE entries SET size = 'much' WHERE kind = 'page'",
    "UPDATE entries SET path = CAST(x'ff' AS TEXT)",
    "UPDATE links SET hashes = 'x'",
    "UPDATE links SET url = x'00'",
]


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoiled_catalogue_is_made_again_and_the_files_taken_up(disk, cache, how):
    spoil(cache, how)
    tally = check(disk, [(DAMAGED, "catalogue.sqlite")])
    assert (tally.files, tally.pages, tally.adopted, tally.unconfirmed) == (1, 1, 2, 1)
    store = disk.start()
    assert body_of(store, now(store.pages.get(PAGE)))
    adopted = now(store.files.get(KEY))
    assert adopted.sha256 == "", "served only after a digest confirmed it"
    assert content(store, now(store.files.confirm(adopted, {"sha256": WHEEL}))) == b"wheel"
    now(store.stop())


def test_an_adopted_file_must_be_what_pages_say(disk, cache):
    spoil(cache, "missing")
    (cache / FILE).write_bytes(b"wheeX")
    check(disk, [(DAMAGED, "catalogue.sqlite"), (DAMAGED, FILE)])
    assert not (cache / FILE).exists()


def test_an_adopted_file_of_which_no_page_speaks_waits_for_one(disk, cache):
    spoil(cache, "missing")
    (cache / PAGE_FILE).unlink()
    (cache / FILE).write_bytes(b"anything")
    assert check(disk, [(DAMAGED, "catalogue.sqlite")]).unconfirmed == 1


def test_a_file_whose_key_is_lost_goes(disk, cache):
    put_file(disk.start(), b"strange", "https://files.example/%FF/x.whl")
    now(disk.store.stop())
    assert check(disk).files == 2
    spoil(cache, "missing")
    assert check(disk, [(DAMAGED, "catalogue.sqlite")]).files == 1
    assert [path.name for path in (cache / "files").rglob("*") if path.is_file()] == [FILE.rpartition("/")[2]]


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_that_change_in_the_catalogue_never_make_a_wrong_answer(tmp_path_factory, data):
    """Nor a daemon that doesn't start, nor one that trips."""
    path = tmp_path_factory.mktemp("cache")
    disk = Disk(str(path))
    put_file(disk.start())
    now(disk.store.pages.put(meta(), Page(named=[FileLink(KEY, {"sha256": WHEEL})]), ("json",)))
    now(disk.store.facts.set_owner("flask", "main"))
    right = body_of(disk.store, now(disk.store.pages.get(PAGE)))
    now(disk.store.stop())
    raw = bytearray((path / "catalogue.sqlite").read_bytes())
    used = [place for place, byte in enumerate(raw) if byte]
    for _ in range(data.draw(st.integers(1, 3))):
        raw[used[data.draw(st.integers(0, 10**6)) % len(used)]] = data.draw(st.integers(0, 255))
    (path / "catalogue.sqlite").write_bytes(raw)
    store = disk.start()
    page = now(store.pages.get(PAGE))
    assert page is None or body_of(store, page) == right
    try:
        file = now(store.files.get(KEY))
        assert file is None or content(store, file) == b"wheel"
    except LookupError:
        pass
    try:
        now(store.facts.links(KEY))
        now(store.facts.owner("flask"))
    except Unavailable:
        pass
    now(store.stop())
    verify(disk.path, Watcher(), lambda: LATER)
    assert verify(disk.path, Watcher(), lambda: LATER).right


# The directory


def test_a_running_daemon_is_a_clear_error(disk):
    disk.start()
    with pytest.raises(ConfigError, match=r"in use by another pypicache \(pid \d+\)"):
        verify(disk.path, Watcher(), lambda: LATER)
    now(disk.store.stop())
    check(disk)


def test_a_check_that_is_broken_off_leaves_the_next_daemon_its_own(disk, monkeypatch):
    store = disk.start()  # killed: the catalogue stays unclean
    catalogue, store._engine.catalogue = store._engine.catalogue, disk
    catalogue._db.close()
    store._unlock()
    monkeypatch.setattr(module, "fault_of", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        verify(disk.path, Watcher(), lambda: LATER)
    monkeypatch.undo()
    for expected in (True, False):  # a check to the end is as good as a clean stop
        catalogue.open()
        assert catalogue.unclean is expected
        catalogue.close(clean=not expected)
        check(disk)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_root_leaves_everything_to_the_owner(disk, cache):
    for path in [cache, *cache.rglob("*")]:
        os.chown(path, 12345, 12345)
    (cache / "catalogue.sqlite").unlink()
    check(disk, [(DAMAGED, "catalogue.sqlite")])
    assert {path.stat().st_uid for path in [cache, *cache.rglob("*")]} == {12345}
