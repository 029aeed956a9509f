"""What the store on disk promises beyond the contract: damage, restarts, limits."""

import errno
import hashlib
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from twisted_pypi.commands.reaching import in_use
from twisted_pypi.errors import ConfigError, Unavailable
from twisted_pypi.events import Evicted, StoreTrouble
from twisted_pypi.model import FileLink
from twisted_pypi.storage import disk_pages
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.lock import lock_directory
from twisted_pypi.storage.pagefile import read_body
from twisted_pypi.storage.sources import CheckedSource
from twisted_pypi.storage.tree import Tree
from unit.storage_doubles import KEY, PAGE, Disk, Page, body_of, content, meta, now, put_file, record
from unit.whole import open_below

FILE = "files/files.example/packages/aa/bb/cc/flask-3.0-py3-none-any.whl"
OTHER_KEY = f"{KEY}.tar.gz"
PAGE_FILE = "pages/index.example/simple/flask.page"


@pytest.fixture
def disk(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    disk.start()
    yield disk
    now(disk.store.stop())


def troubles(disk):
    return [event.what for event in disk.events if isinstance(event, StoreTrouble)]


# The directory


def test_an_administrator_finds_files_and_pages(disk, tmp_path):
    put_file(disk.store, b"wheel")
    now(disk.store.pages.put(meta(), Page({"json": [b'{"name": "flask"}'], "html": [b"<html>"]}), ("json", "html")))
    assert (tmp_path / "cache" / FILE).read_bytes() == b"wheel"
    assert (tmp_path / "cache" / PAGE_FILE).read_bytes().startswith(b'{"name": "flask"}<html>')
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_nobody_else_may_read(disk, tmp_path):
    put_file(disk.store)
    now(disk.store.pages.put(meta(), Page(), ("json",)))
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_folders_left_empty_are_removed(disk, tmp_path):
    put_file(disk.store)
    now(disk.store.files.delete(KEY))
    assert list((tmp_path / "cache" / "files").iterdir()) == []


@pytest.mark.parametrize("link", ["files/files.example/packages", FILE])
def test_no_link_is_followed(disk, tmp_path, link):
    file = put_file(disk.store)
    place, away = tmp_path / "cache" / link, tmp_path / "away"
    place.rename(away)
    place.symlink_to(away)
    with pytest.raises(LookupError):
        now(disk.store.files.open(file))


def test_nothing_is_written_through_a_link(disk, tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "cache" / "files").symlink_to(tmp_path / "away")
    with pytest.raises(OSError, match=r"directory|links"):
        put_file(disk.store)
    assert list((tmp_path / "away").iterdir()) == []
    assert now(disk.store.files.get(KEY)) is None


def test_a_second_daemon_is_a_clear_error(disk):
    with pytest.raises(ConfigError, match=rf"--cache-dir: .* is in use by another pypicache \(pid {os.getpid()}\)"):
        lock_directory(disk.path)
    now(disk.store.stop())
    lock_directory(disk.path).release()
    disk.start()


def test_an_unusable_directory_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="--cache-dir"):
        Disk(str(tmp_path / "file" / "below")).start()


# Restarts


def test_everything_outlives_a_restart(disk):
    file = put_file(disk.store, etag='"1"', hashes={"md5": "00"})
    link = FileLink(KEY, {"sha256": "ab"}, 5)
    page = now(disk.store.pages.put(meta(etag='"2"', version=3), Page(named=[link]), ("json",)))
    now(disk.store.facts.set_owner("flask", "main"))
    used = disk.store.usage()
    store = disk.restart()
    assert store.files.hot(KEY) is None
    assert now(store.files.get(KEY)) == file
    assert content(store, file) == b"wheel"
    assert now(store.pages.get(PAGE)) == page
    assert body_of(store, page, "json", "gzip")
    assert [each.link for each in now(store.facts.links(KEY))] == [link]
    assert now(store.facts.owner("flask")) == "main"
    assert store.usage() == used
    assert disk.events == []


def test_validation_and_expiry_outlive_a_restart(disk):
    page = now(disk.store.pages.put(meta(), Page(), ("json",)))
    now(disk.store.pages.confirm(page, 1_700_000_100.25))
    assert now(disk.restart().pages.get(PAGE)).validated_at == 1_700_000_100.25
    now(disk.store.pages.expire(PAGE))
    assert now(disk.restart().pages.get(PAGE)).validated_at == 0.0


@pytest.mark.parametrize("spoil", ["garbage", "empty", "missing", "other version", "other tables"])
def test_a_spoiled_catalogue_is_made_again_from_the_files(disk, tmp_path, spoil):
    file = put_file(disk.store)
    link = FileLink(KEY, {"sha256": file.sha256})
    page = now(disk.store.pages.put(meta(), Page(named=[link]), ("json",)))
    used = disk.store.usage()
    now(disk.store.stop())
    path = tmp_path / "cache" / "catalogue.sqlite"
    if spoil in ("garbage", "empty"):
        path.write_bytes(b"garbage " * 5000 if spoil == "garbage" else b"")
    elif spoil == "missing":
        path.unlink()
    else:
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99" if spoil == "other version" else "DROP TABLE entries")
        db.close()
    store = disk.start()
    if spoil != "empty":  # an empty file is a valid, new database
        assert troubles(disk) == ["catalogue made again"]
    assert store.usage() == used
    assert now(store.pages.get(PAGE)) == page
    assert [each.link for each in now(store.facts.links(KEY))] == [link]
    adopted = now(store.files.get(KEY))
    assert (adopted.sha256, adopted.verified, adopted.size) == ("", False, 5)
    with pytest.raises(LookupError):
        now(store.files.open(adopted))
    confirmed = now(store.files.confirm(adopted, link.hashes))
    assert confirmed == evolve(adopted, sha256=file.sha256, verified=True, hashes=link.hashes)
    assert content(store, confirmed) == b"wheel"


def test_an_adopted_file_that_no_digest_confirms_is_dropped(disk, tmp_path):
    put_file(disk.store)
    now(disk.store.stop())
    (tmp_path / "cache" / "catalogue.sqlite").unlink()
    (tmp_path / "cache" / FILE).write_bytes(b"wheeX")
    store = disk.start()
    adopted = now(store.files.get(KEY))
    assert now(store.files.confirm(adopted, {"sha256": hashlib.sha256(b"wheel").hexdigest()})) is None
    assert not (tmp_path / "cache" / FILE).exists()
    assert now(store.files.get(KEY)) is None


def test_a_file_that_was_recorded_is_not_adopted_over(disk):
    file = put_file(disk.store)
    strange = put_file(disk.store, b"strange", "https://files.example/%FF/x.whl")
    store = disk.restart()
    assert now(store.files.get(KEY)) == file
    assert now(store.files.get(strange.key)) == strange


def test_a_page_under_a_hash_is_adopted_and_a_file_is_not(disk, tmp_path):
    file = put_file(disk.store, b"strange", "https://files.example/%FF/x.whl")
    page = now(disk.store.pages.put(meta("https://index.example/%FF/"), Page(), ("json",)))
    now(disk.store.stop())
    (tmp_path / "cache" / "catalogue.sqlite").unlink()
    store = disk.start()
    assert now(store.pages.get(page.meta.key)) == page
    assert now(store.files.get(file.key)) is None
    assert store.usage()[0] == 1


FOREIGN = [
    "README",
    "logs/today/log",
    "files/README",
    "files/files.example/README",
    "files/files.example/packages/a.whl~dir/x",
    "pages/index.example/README",
    "pages/index.example/simple/flask.page/x",
    b"files/files.example/\xff.whl",
    b"pages/~" + b"0" * 64 + b"/\xff",
    "files/files.example/new\nline.whl",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_left_alone_and_reported_once(disk, tmp_path, name):
    now(disk.store.stop())
    note = tmp_path / "cache" / os.fsdecode(name)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_bytes(b"hands off")
    store = disk.start()
    assert store.usage() == (0, 0)
    assert note.read_bytes() == b"hands off"
    (event,) = disk.events
    assert event.what == "foreign files"
    assert event.reason.startswith("1 that")
    assert event.reason.isascii()
    assert event.reason.isprintable()


def test_foreign_files_do_not_hide_ours(disk, tmp_path):
    file = put_file(disk.store)
    now(disk.store.stop())
    (tmp_path / "cache" / "catalogue.sqlite").unlink()
    for n in range(3):
        (tmp_path / "cache" / FILE).with_name(f"{n}").write_bytes(b"x" * 100)
    store = disk.start()
    assert [event.reason[:6] for event in disk.events if event.what == "foreign files"] == ["3 that"]
    assert now(store.files.held([KEY])).keys() == {KEY}
    assert now(store.files.confirm(file, {"sha256": file.sha256}))
    assert [event.what for event in disk.restart() and disk.events].count("foreign files") == 2, "once each start"


def test_leftovers_are_deleted_and_lost_files_forgotten(disk, tmp_path):
    put_file(disk.store)
    now(disk.store.pages.put(meta(), Page(), ("json",)))
    now(disk.store.stop())
    (tmp_path / "cache" / "tmp" / "leftover").write_bytes(b"x")
    (tmp_path / "cache" / FILE).unlink()
    (tmp_path / "cache" / PAGE_FILE).unlink()
    store = disk.start()
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []
    assert store.usage() == (0, 0)


def test_a_new_partial_file_is_no_leftover(disk):
    now(disk.store.stop())
    store = disk.start(settle=False)
    partial = now(store.files.begin(KEY, 5, ()))
    now(partial.write(b"wheel"))
    disk.settle()
    now(partial.publish(record(b"wheel")))
    assert content(store, record(b"wheel")) == b"wheel"


def test_what_is_done_beside_the_service_can_be_told(disk, tmp_path):
    put_file(disk.store)
    seen = [disk.store.condition]
    now(disk.store.stop())
    seen.append(disk.store.condition)
    disk.start(settle=False)
    seen.append(disk.store.condition)
    disk.settle()
    seen.append(disk.store.condition)
    now(disk.store.stop())
    (tmp_path / "cache" / "catalogue.sqlite").unlink()
    disk.start(settle=False)
    seen.append(disk.store.condition)
    disk.settle()
    seen.append(disk.store.condition)
    assert seen == ["ready", "opening", "reconciling", "ready", "rebuilding", "ready"]


def test_an_empty_directory_has_no_catalogue_to_be_rebuilt(tmp_path):
    disk = Disk(str(tmp_path))
    assert disk.start(settle=False).condition == "reconciling"


def test_the_room_that_is_taken_and_left(disk, tmp_path):
    put_file(disk.store, b"x" * 5000)
    disk.store.use(Limits(cache_size=1 << 30, min_free=1234))
    taken, space = disk.store.occupancy(), now(disk.store.space())
    catalogue = sum(path.stat().st_size for path in (tmp_path / "cache").glob("catalogue.sqlite*"))
    assert taken.used == 5000 + catalogue
    assert (taken.limit, space.reserved) == (1 << 30, 1234)
    assert space.free > 0


def test_the_statistics_are_no_foreign_file(disk, tmp_path):
    for name in ("statistics.json", "statistics.json.new"):
        (tmp_path / "cache" / name).write_bytes(b"{}")
    disk.restart()
    assert troubles(disk) == []


def test_stopping_ends_the_reconciliation(tmp_path):
    disk = Disk(str(tmp_path))
    disk.start(settle=False)
    now(disk.store.stop())
    now(disk.store.stop())
    assert [call for call in disk.clock.getDelayedCalls() if call.active()] == []


# Damage


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_never_makes_a_wrong_body(tmp_path_factory, data):
    memory = data.draw(st.sampled_from([0, 1 << 20]))
    path = tmp_path_factory.mktemp("cache")
    disk = Disk(str(path), Limits(min_free=0, memory=memory))
    page = now(disk.start().pages.put(meta(), Page(named=[FileLink(KEY, {"md5": "0"})]), ("json", "html")))
    good = {each: body_of(disk.store, page, *each) for each in page.representations}
    now(disk.store.stop())
    raw = bytearray((path / PAGE_FILE).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (path / PAGE_FILE).write_bytes(raw)
    store = disk.start()
    found = now(store.pages.get(PAGE))
    if found is not None:
        for each, right in good.items():
            try:
                assert body_of(store, found, *each) == right
            except LookupError:
                assert now(store.pages.get(PAGE)) is None
                assert any("integrity" in what for what in troubles(disk))
    now(store.stop())


@pytest.mark.parametrize("size", [0, 10, 60, -1])
def test_a_page_cut_short_is_dropped(disk, tmp_path, size):
    now(disk.store.pages.put(meta(), Page(), ("json",)))
    now(disk.store.stop())
    os.truncate(
        tmp_path / "cache" / PAGE_FILE, size if size >= 0 else (tmp_path / "cache" / PAGE_FILE).stat().st_size - 1
    )
    store = disk.start(settle=False)
    assert now(store.pages.get(PAGE)) is None
    assert troubles(disk) == [f"integrity of {PAGE}"]
    assert store.usage() == (0, 0)


def test_a_page_in_anothers_place_is_dropped(disk, tmp_path):
    now(disk.store.pages.put(meta(), Page(), ("json",)))
    pages = tmp_path / "cache" / "pages" / "index.example" / "simple"
    (pages / "flask.page").rename(pages / "django.page")
    assert now(disk.store.pages.get("https://index.example/simple/django/")) is None
    assert not (pages / "django.page").exists()


def test_damaged_pages_are_not_adopted(disk, tmp_path):
    now(disk.store.pages.put(meta(), Page(), ("json",)))
    now(disk.store.stop())
    (tmp_path / "cache" / "catalogue.sqlite").unlink()
    (tmp_path / "cache" / PAGE_FILE).write_bytes(b"x" * 200)
    store = disk.start()
    assert troubles(disk) == ["catalogue made again", f"adopting {PAGE_FILE}"]
    assert not (tmp_path / "cache" / PAGE_FILE).exists()
    assert store.usage() == (0, 0)


def test_a_file_that_was_touched_is_checked_and_served(disk, tmp_path):
    file = put_file(disk.store)
    os.utime(tmp_path / "cache" / FILE, (1, 1))
    assert content(disk.store, file) == b"wheel"
    assert content(disk.restart(), file) == b"wheel"
    assert disk.events == []


@pytest.mark.parametrize("data", [b"wheeX", b"whee", b"", b"wheels"])
def test_a_file_that_was_changed_is_dropped(disk, tmp_path, data):
    file = put_file(disk.store)
    (tmp_path / "cache" / FILE).unlink()
    (tmp_path / "cache" / FILE).write_bytes(data)
    with pytest.raises(LookupError):
        now(disk.store.files.open(file))
    assert troubles(disk) == [f"integrity of {KEY}"]
    assert now(disk.store.files.get(KEY)) is None
    assert disk.store.usage() == (0, 0)


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EMFILE, Unavailable), (errno.ENFILE, Unavailable), (errno.EIO, LookupError)]
)
def test_a_file_that_cannot_be_read_just_now_is_not_dropped(disk, monkeypatch, number, error):
    file = put_file(disk.store)

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("twisted_pypi.storage.tree.os.open", refuse)
        with pytest.raises(error):
            now(disk.store.files.open(file))
    assert content(disk.store, file) == b"wheel"


def test_a_page_that_cannot_be_opened_for_want_of_descriptors_is_not_taken_for_absent(disk, monkeypatch):
    page = now(disk.store.pages.put(meta(), Page(), ("json",)))
    disk.store.pages._hot.pop(page.meta.key)

    def too_many(*args, **kwargs):
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("twisted_pypi.storage.tree.os.open", too_many)
        with pytest.raises(Unavailable):
            now(disk.store.pages.get(page.meta.key))
    assert now(disk.store.pages.get(page.meta.key)) == page


def test_a_check_in_the_future_tells_nothing(disk, tmp_path):
    file = put_file(disk.store)
    disk.clock.rightNow -= 86400
    source = now(disk.store.files.open(file))
    assert isinstance(source, CheckedSource)
    source.close()
    again = now(disk.store.files.open(file))
    assert not isinstance(again, CheckedSource)
    again.close()


def crashed(disk):
    """The store after a crash: nothing was closed, but the lock has gone with the process."""
    disk.store._engine.catalogue._db.close()
    disk.store._unlock()
    disk.clock.advance(1)
    return disk.start()


@pytest.mark.parametrize("why", ["a crash", "a week"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_that_was_not_checked_lately_is_checked_beside_its_serving(disk, tmp_path, why, damaged):
    file = put_file(disk.store, b"x" * 50_000)
    place = tmp_path / "cache" / FILE
    if damaged:  # as a failing disk does it: nothing shows
        before = place.stat()
        place.write_bytes(b"y" * 50_000)
        os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    if why == "a crash":
        crashed(disk)
    else:
        disk.clock.advance(8 * 86400)
    late = disk.store._engine.workers = LateWorkers()
    whole, again, tail = (now(disk.store.files.open(file)) for _ in range(3))
    woken = []
    for source in (whole, again, tail):
        source.subscribe(lambda: woken.append(True))
        assert not source.finished
    assert len(whole.read(0, 100_000)) == len(again.read(0, 100_000)) == 50_000 - (16 << 10)
    assert whole.read(50_000 - (16 << 10), 100_000) == b""
    assert len(tail.read(49_000, 100_000)) == 1000
    assert len(late.waiting) == 1
    late.work()
    assert len(woken) == 3
    if damaged:
        assert isinstance(whole.failure, LookupError)
        assert whole.read(0, 100_000) == tail.read(49_000, 1) == b""
        assert troubles(disk) == [f"integrity of {KEY}"]
        assert disk.store.files.hot(KEY) is None
    else:
        assert whole.finished
        assert len(whole.read(50_000 - (16 << 10), 100_000)) == 16 << 10
        fresh = now(disk.store.files.open(file))
        assert fresh.finished
        fresh.close()
    for source in (whole, again, tail):
        source.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_that_is_deleted_while_it_is_checked_is_read_to_its_end(disk, tmp_path, damaged):
    file = put_file(disk.store, b"x" * 50_000)
    disk.clock.advance(8 * 86400)
    late = disk.store._engine.workers = LateWorkers()
    closed, source = now(disk.store.files.open(file)), now(disk.store.files.open(file))
    closed.close()
    (tmp_path / "cache" / FILE).write_bytes((b"y" if damaged else b"x") * 50_000)
    os.unlink(tmp_path / "cache" / FILE)
    disk.store._engine.catalogue.forget([("file", KEY, None)])
    late.work()  # what it looks for is gone
    late.work()  # what is open is read instead
    assert (source.failure is None) is not damaged
    assert len(source.read(30_000, 100_000)) == (0 if damaged else 20_000)
    source.close()
    assert open_below(tmp_path / "cache" / "files") == []


def test_a_clean_restart_checks_nothing(disk):
    file = put_file(disk.store)
    source = now(disk.restart().files.open(file))
    assert source.finished
    source.close()


def test_a_malformed_catalogue_is_replaced_at_the_next_start(disk, monkeypatch):
    file = put_file(disk.store)

    def malformed(*args):
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patch:
        for method in ("held", "owner", "links"):
            patch.setattr(Catalogue, method, malformed)
        assert now(disk.store.files.held([KEY])).keys() == set()
        for question in (disk.store.facts.owner("flask"), disk.store.facts.links(KEY)):
            with pytest.raises(Unavailable):
                now(question)
    assert now(disk.store.facts.links(KEY)) == ()
    assert now(disk.restart().files.get(KEY)) == evolve(file, sha256="", verified=False, index="")


def test_what_cannot_be_recorded_is_not_stored(disk, monkeypatch, tmp_path):
    def full(*args):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Catalogue, "record", full)
        with pytest.raises(OSError, match="not recorded"):
            put_file(disk.store)
    assert now(disk.store.files.get(KEY)) is None
    assert not (tmp_path / "cache" / FILE).exists()


def test_a_page_that_the_disk_refuses_is_kept_in_memory(disk, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    old = now(disk.store.pages.put(meta(version=1), Page({"json": [b"old"]}), ("json",)))
    link = FileLink(KEY, {"md5": "0"})
    with monkeypatch.context() as patch:
        patch.setattr("twisted_pypi.storage.tree.os.fsync", full)
        page = now(disk.store.pages.put(meta(version=2), Page({"json": [b"new"]}, [link]), ("json",)))
    assert now(disk.store.pages.get(PAGE)) == page
    assert body_of(disk.store, page) == b"new"
    assert [each.link for each in now(disk.store.facts.links(KEY))] == [link]
    assert now(disk.store.pages.confirm(page, 5.0)) == disk.store.pages.hot(PAGE)
    assert disk.store.pages.hot(PAGE).validated_at == 5.0
    assert os.listdir(os.path.join(disk.path, "tmp")) == []
    assert now(disk.restart().pages.get(PAGE)) == old


def test_a_failed_write_is_an_oserror(disk, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    partial = now(disk.store.files.begin(KEY, 5, ()))
    monkeypatch.setattr("twisted_pypi.storage.partial.os.pwrite", full)
    with pytest.raises(OSError, match="no space"):
        now(partial.write(b"wheel"))
    assert partial.size == 0
    now(partial.abandon())
    assert os.listdir(os.path.join(disk.path, "tmp")) == []


# Limits


def keys(count):
    return [f"https://files.example/packages/{number}/a.whl" for number in range(count)]


def limited(tmp_path, **limits):
    return Disk(str(tmp_path / "cache"), Limits(**{"min_free": 0, **limits}))


def test_with_no_cache_size_files_are_not_stored_but_pages_are(tmp_path):
    store = limited(tmp_path, cache_size=0).start()
    assert now(store.files.begin(KEY, 0, ())) is None
    page = now(store.pages.put(meta(), Page(), ("json",)))
    assert now(store.pages.get(PAGE)) == page
    now(store.stop())


def test_the_disk_is_not_filled_past_min_free(tmp_path, monkeypatch):
    disk = limited(tmp_path, min_free=1000)
    store = disk.start()
    monkeypatch.setattr("twisted_pypi.storage.tree.Tree.space", lambda self: (1500, 10000))
    assert now(store.files.begin(KEY, 501, ())) is None
    partial = now(store.files.begin(KEY, None, ()))
    monkeypatch.setattr("twisted_pypi.storage.partial._SPACE_CHECK", 100)
    now(partial.write(b"x" * 500))
    with pytest.raises(OSError, match="min-free"):
        now(partial.write(b"x" * 501))
    now(partial.abandon())
    now(store.stop())


def test_pages_do_not_fill_the_disk_past_min_free_either(tmp_path, monkeypatch):
    disk = limited(tmp_path, min_free=1000)
    store = disk.start()
    monkeypatch.setattr("twisted_pypi.storage.tree.Tree.space", lambda self: (999, 10000))
    page = now(store.pages.put(meta(), Page(), ("json",)))
    assert body_of(store, page) == b"{}", "kept in memory"
    assert not (tmp_path / "cache" / PAGE_FILE).exists()
    now(store.stop())


def test_the_least_recently_used_go_first_and_none_that_is_read(tmp_path):
    disk = limited(tmp_path, cache_size=20_000_000)
    store = disk.start()
    first, second, third, *rest = keys(12)
    reading = None
    for key in (first, second, third, *rest):
        disk.clock.advance(1)
        file = put_file(store, b"x" * 1_500_000, key)
        if key == first:
            reading = now(store.files.open(file))
    disk.clock.advance(1)
    now(store.files.get(second))
    for key in keys(14)[12:]:
        disk.clock.advance(1)
        put_file(store, b"x" * 1_500_000, key)
    held = now(store.files.held(keys(14))).keys()
    assert {first, second, *keys(14)[12:]} <= held
    assert third not in held
    evicted = [event for event in disk.events if isinstance(event, Evicted)]
    assert sum(event.entries for event in evicted) == 14 - len(held)
    assert store.usage() == (len(held), 1_500_000 * len(held))
    assert store.usage()[1] <= 20_000_000
    reading.close()
    now(store.stop())


def test_what_nobody_asks_for_is_dropped(tmp_path):
    disk = limited(tmp_path, inactive=7200.0)
    store = disk.start()
    asked, forgotten = keys(2)
    put_file(store, b"x", asked)
    put_file(store, b"x", forgotten)
    disk.clock.advance(3601)
    assert store.files.hot(asked)
    disk.clock.advance(3601)
    assert now(store.files.held(keys(2))).keys() == {asked}
    disk.clock.advance(3601)
    assert now(store.files.held(keys(2))).keys() == set()
    now(store.stop())


def test_recency_outlives_a_restart(tmp_path):
    disk = limited(tmp_path, inactive=7200.0)
    store = disk.start()
    asked, forgotten = keys(2)
    put_file(store, b"x", asked)
    put_file(store, b"x", forgotten)
    disk.clock.advance(3000)
    now(store.files.get(asked))
    now(store.stop())
    disk.clock.advance(5000)
    assert now(disk.start().files.held(keys(2))).keys() == {asked}
    now(disk.store.stop())


# Waiting


class LateWorkers:
    """Runs the work when told to."""

    def __init__(self):
        self.waiting = []

    def run(self, work, *args):
        waiter = Deferred()
        self.waiting.append((waiter, work, args))
        return waiter

    def work(self):
        while self.waiting:
            waiter, work, args = self.waiting.pop(0)
            try:
                result = work(*args)
            except Exception:
                waiter.errback()
            else:
                waiter.callback(result)


def test_all_who_wait_for_a_new_page_have_its_body_read_once(disk, monkeypatch):
    page, reads = now(disk.store.pages.put(meta(), Page(), ("json",))), []
    wanted = page.representations["json", "identity"]
    late = disk.store._engine.workers = LateWorkers()
    monkeypatch.setattr(disk_pages, "read_body", lambda *args: reads.append(args) or read_body(*args))
    answers = [Deferred.fromCoroutine(disk.store.pages.body(page, wanted)) for _ in range(50)]
    late.work()
    assert [answer.result for answer in answers] == [b"{}"] * 50
    assert len(reads) == 1


def test_who_leaves_stops_the_waiting_and_not_the_work(disk):
    late = disk.store._engine.workers = LateWorkers()
    failures = []
    putting = Deferred.fromCoroutine(disk.store.pages.put(meta(), Page(), ("json",)))
    putting.addErrback(failures.append)
    putting.cancel()
    assert failures[0].check(CancelledError)
    late.work()
    assert disk.store.pages.hot(PAGE) is not None


def test_what_nobody_waits_for_any_more_is_given_back(tmp_path):
    disk = limited(tmp_path, memory=0)
    file = put_file(disk.start())
    page = now(disk.store.pages.put(meta(), Page(), ("json",)))
    os.utime(os.path.join(disk.path, FILE))
    before = os.listdir("/proc/self/fd")
    late = disk.store._engine.workers = LateWorkers()
    for work in (
        disk.store.files.begin(KEY, 5, ()),
        disk.store.files.open(file),
        disk.store.pages.body(page, page.representations["json", "gzip"]),
    ):
        waiting = Deferred.fromCoroutine(work)
        waiting.addErrback(lambda failure: failure.trap(CancelledError))
        waiting.cancel()
    late.work()
    disk.store.pages.close()  # what is kept open for the next who asks
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(os.path.join(disk.path, "tmp")) == []
    assert not disk.store._engine.readers
    now(disk.store.stop())


def test_a_cancelled_write_is_through_before_the_descriptor_goes(disk):
    partial = now(disk.store.files.begin(KEY, 5, ()))
    late = disk.store._engine.workers = LateWorkers()
    writing = Deferred.fromCoroutine(partial.write(b"wheel"))
    writing.addErrback(lambda failure: failure.trap(CancelledError))
    writing.cancel()
    abandoning = Deferred.fromCoroutine(partial.abandon())
    assert len(late.waiting) == 1
    late.work()
    assert abandoning.called
    assert partial.size == 5
    assert os.listdir(os.path.join(disk.path, "tmp")) == []


def test_a_file_that_is_being_published_can_be_read(disk):
    partial = now(disk.store.files.begin(KEY, 5, ()))
    now(partial.write(b"wheel"))
    late = disk.store._engine.workers = LateWorkers()
    publishing = Deferred.fromCoroutine(partial.publish(record(b"wheel")))
    assert partial.reader()(0, 9) == b"wheel"
    late.work()
    assert publishing.called
    with pytest.raises(RuntimeError):
        partial.reader()


def test_stopping_waits_for_work_under_way(disk):
    late = disk.store._engine.workers = LateWorkers()
    Deferred.fromCoroutine(disk.store.pages.put(meta(), Page(), ("json",)))
    stopping = Deferred.fromCoroutine(disk.store.stop())
    assert not stopping.called
    late.work()
    assert stopping.called
    assert now(disk.start().pages.get(PAGE)) is not None


def test_uses_are_written_in_batches(disk):
    put_file(disk.store)
    batches = []
    disk.store._engine.recency.write = batches.append
    for _ in range(3):
        disk.store.files.hot(KEY)
    assert batches == []
    disk.clock.advance(5)
    assert [[entry[1:] for entry in batch] for batch in batches] == [[("file", KEY)]]
    for key in keys(500):
        disk.store._engine.recency.used("file", key)
    assert len(batches[1]) == 500


def test_start_does_not_look_at_every_entry(tmp_path, monkeypatch):
    disk = Disk(str(tmp_path))
    disk.start()
    now(disk.store.stop())
    with sqlite3.connect(tmp_path / "catalogue.sqlite") as db:
        rows = (
            ("file", f"https://f.example/{n}.whl", f"files/f.example/{n}.whl", 10, 1, n, 1.7e9) for n in range(300_000)
        )
        db.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, '', '{}', '', '', '', 0, 0, ?, 0, '')", rows)
    db.close()
    looked = []
    with monkeypatch.context() as patch:
        for owner, name in ((Catalogue, "after"), (Catalogue, "entry"), (Tree, "walk")):
            patch.setattr(owner, name, lambda *args, name=name: looked.append(name))
        store = disk.start(settle=False)
        assert store.usage() == (300_000, 3_000_000)
        assert looked == []
        now(store.stop())


# Beginning to read at the last moment


def test_a_file_can_be_read_while_it_is_flushed(disk):
    partial = now(disk.store.files.begin(KEY, 5, ()))
    now(partial.write(b"wheel"))
    place, readers = partial.place, []

    async def flushing(*arguments):
        readers.append(partial.reader())
        await place(*arguments)

    partial.place = flushing
    now(partial.publish(record(b"wheel")))
    assert [reader(0, 9) for reader in readers] == [b"wheel"]
    with pytest.raises(RuntimeError):
        partial.reader()


def test_a_file_is_counted_once_when_it_is_published(tmp_path):
    disk = Disk(str(tmp_path / "cache"), Limits(cache_size=4 << 20, min_free=0))
    disk.start()
    for number in range(3):
        put_file(disk.store, bytes(1 << 20), f"{KEY}{number}")
    disk.settle()
    assert [event for event in disk.events if isinstance(event, Evicted)] == []
    now(disk.store.stop())


# Eviction under load


def fill(disk, many, size=1_500_000):
    for key in many:
        disk.clock.advance(1)
        put_file(disk.store, b"x" * size, key)


def test_a_growing_partial_file_makes_room(tmp_path):
    disk = limited(tmp_path, cache_size=20_000_000)
    store = disk.start()
    fill(disk, keys(12))
    partial = now(store.files.begin(KEY, None, ()))
    for _ in range(15):
        now(partial.write(b"x" * 1_000_000))
        assert store.usage()[1] + partial.size <= 20_000_000 * 1.05
    now(partial.abandon())
    now(store.stop())


def test_unfinished_files_fit_into_the_limit_together(tmp_path):
    store = limited(tmp_path, cache_size=20_000).start()
    partial = now(store.files.begin(KEY, 15_000, ()))
    now(partial.write(b"x" * 15_000))
    assert now(store.files.begin(KEY + "2", 10_000, ())) is None
    now(partial.abandon())
    second = now(store.files.begin(KEY + "2", 10_000, ()))
    now(second.abandon())
    now(store.stop())


def test_what_was_used_since_the_last_batch_is_spared(tmp_path):
    disk = limited(tmp_path, cache_size=20_000_000)
    store = disk.start()
    first, second, *rest = keys(12)
    fill(disk, [first, second, *rest])
    recency = store._engine.recency
    recency.used("file", first)
    recency.write = lambda batch: recency.used("file", first)  # used again while that batch is written
    fill(disk, keys(15)[12:])
    held = now(store.files.held(keys(15))).keys()
    assert first in held
    assert second not in held
    recency.write = lambda batch: None
    now(store.stop())


def test_eviction_from_a_copied_directory_frees_the_disk(tmp_path):
    """There the inodes aren't the recorded ones."""
    disk = limited(tmp_path, cache_size=20_000_000)
    store = disk.start()
    fill(disk, keys(12))
    for path in [path for path in (tmp_path / "cache" / "files").rglob("*") if path.is_file()]:
        data = path.read_bytes()
        path.rename(tmp_path / "keep-inode")
        path.write_bytes(data)
    fill(disk, keys(15)[12:])
    there = sum(path.stat().st_size for path in (tmp_path / "cache" / "files").rglob("*") if path.is_file())
    assert there == store.usage()[1] <= 20_000_000
    now(store.stop())


def test_eviction_leaves_what_was_stored_anew(disk):
    put_file(disk.store)
    disk.store._engine.catalogue.forget([("file", KEY, None)])
    file = put_file(disk.store, b"anew")
    now(disk.store._files.evict(KEY))
    assert content(disk.store, file) == b"anew"


# What other processes compare


def fits(seal):
    state = os.stat(seal.path)
    return (state.st_ino, state.st_mtime_ns, state.st_size) == (seal.inode, seal.mtime_ns, seal.size)


def test_a_file_has_a_seal_that_is_void_when_it_goes(disk):
    put_file(disk.store)
    file = disk.store.files.hot(KEY)
    seal = disk.store.files.seal(file)
    assert fits(seal)
    assert disk.store.files.seal(evolve(file)) is None  # not the record that is in force
    now(disk.store.files.delete(KEY))
    assert not os.path.exists(seal.path)


@pytest.mark.parametrize("change", ["confirm", "expire", "put", "delete"])
def test_a_page_has_a_seal_that_is_void_when_anything_of_it_changes(disk, change):
    pages = disk.store.pages
    page = now(pages.put(meta(), Page(), ("json",)))
    seal = pages.seal(page)
    assert fits(seal)
    if change == "confirm":
        after = now(pages.confirm(page, page.validated_at + 60))
    elif change == "expire":
        now(pages.expire(page.meta.key))
        after = now(pages.get(page.meta.key))
    elif change == "put":
        after = now(pages.put(meta(), Page(), ("json",)))
    else:
        now(pages.delete(page.meta.key))
        assert pages.seal(page) is None
        assert not os.path.exists(seal.path)
        return
    assert not fits(seal)
    assert fits(pages.seal(after))
    assert pages.seal(page) is None


@pytest.mark.parametrize("wiped", ["everything", "the directory", "the catalogue"])
def test_a_catalogue_that_was_wiped_under_the_daemon_is_made_again_at_once(disk, tmp_path, wiped):
    put_file(disk.store, b"before")
    cache = tmp_path / "cache"
    if wiped == "the directory":
        shutil.rmtree(cache)
    for path in list(cache.iterdir()) if wiped == "everything" else []:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if wiped == "the catalogue":
        for path in cache.glob("catalogue.sqlite*"):
            path.unlink()
    file = put_file(disk.store, b"after", key=OTHER_KEY)
    assert in_use(str(cache))
    assert disk.store.usage() == (1, 5)
    assert now(disk.store.files.held([KEY, OTHER_KEY])).keys() == {OTHER_KEY}
    with closing(sqlite3.connect(cache / "catalogue.sqlite")) as db:
        assert db.execute("SELECT key FROM entries").fetchall() == [(OTHER_KEY,)]
    assert troubles(disk) == []
    assert content(disk.restart(), file) == b"after"
