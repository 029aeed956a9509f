"""Partial files across restarts, orderly and not: only bytes that count are gone on with, and they have an end."""

import hashlib
import os

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.records import PartialOrigin
from twisted_pypi.storage.leftovers import LONGEST, SHARE, Leftover, Note, surplus
from twisted_pypi.storage.limits import Limits
from unit.storage_doubles import KEY, Disk, now

ORIGIN = PartialOrigin("main", '"1"', 10, {"sha256": hashlib.sha256(b"0123456789").hexdigest()})
WITHOUT_DIGEST = evolve(ORIGIN, hashes={"unheard-of": "1"})


@pytest.fixture
def disk(tmp_path):
    disk = Disk(str(tmp_path / "cache"))
    disk.start()
    yield disk
    now(disk.store.stop())


def begun(disk, origin=ORIGIN, data=b"01234", key=KEY):
    partial = now(disk.store.files.begin(key, 10, ("sha256",), origin))
    now(partial.write(data))
    return partial


def crash(disk):
    """What kill -9 leaves, served by another process: the lock goes with its process."""
    disk.store._unlock()
    return disk.start()


def leftovers(disk):
    return sorted(os.listdir(os.path.join(disk.path, "tmp")))


def test_after_an_orderly_end(disk):
    now(begun(disk).keep())
    resumed = now(disk.restart().files.resume(KEY, ()))
    assert (resumed.size, resumed.origin) == (5, ORIGIN)
    now(resumed.abandon())
    assert leftovers(disk) == []


def test_after_a_crash_a_digest_decides(disk):
    begun(disk)
    assert now(crash(disk).files.resume(KEY, ())).size == 5


def test_after_a_crash_nothing_counts_without_a_digest(disk):
    begun(disk, WITHOUT_DIGEST)
    assert now(crash(disk).files.resume(KEY, ())) is None
    assert leftovers(disk) == []


def test_without_a_digest_what_was_flushed_in_order_counts_if_it_is_still_the_same(disk):
    now(begun(disk, WITHOUT_DIGEST).keep())
    resumed = now(disk.restart().files.resume(KEY, ()))
    assert resumed.size == 5
    now(resumed.write(b"56"))
    resumed = now(crash(disk).files.resume(KEY, ()))
    assert resumed.size == 5
    now(resumed.keep())
    (name,) = (name for name in leftovers(disk) if not name.endswith(".json"))
    with open(os.path.join(disk.path, "tmp", name), "r+b") as file:
        file.write(b"X")
    assert now(disk.restart().files.resume(KEY, ())) is None
    assert leftovers(disk) == []


def test_what_is_of_no_use_goes(disk):
    now(begun(disk).keep())
    _, note = leftovers(disk)
    for spoiled in (b"", b"{}", b"[1]", b"\xff", b'{"key": 1, "origin": {"index": ""}}'):
        with open(os.path.join(disk.path, "tmp", note), "wb") as file:
            file.write(spoiled)
        with open(os.path.join(disk.path, "tmp", "more.json.new"), "wb") as file:
            file.write(b"torn")
        disk.restart()
        assert leftovers(disk) == []
        now(begun(disk).keep())
        _, note = leftovers(disk)


def test_what_has_lost_its_file_goes(disk):
    now(begun(disk).keep())
    name, _ = leftovers(disk)
    os.unlink(os.path.join(disk.path, "tmp", name))
    assert now(disk.store.files.resume(KEY, ())) is None
    disk.restart()
    assert leftovers(disk) == []


def test_the_old_ones_go(disk):
    now(begun(disk).keep())
    name, _ = leftovers(disk)
    os.utime(os.path.join(disk.path, "tmp", name), (1, disk.clock.seconds() - LONGEST - 1))
    disk.restart()
    assert leftovers(disk) == []


def test_what_cannot_be_kept_goes(disk, monkeypatch):
    def full(*args):
        raise OSError(28, "no space left on device")

    partial = begun(disk)
    with monkeypatch.context() as patch:
        patch.setattr("twisted_pypi.storage.partial.os.fsync", full)
        now(partial.keep())
    assert leftovers(disk) == []
    assert disk.store._engine.partial_bytes == 0


def test_they_take_a_share_of_the_cache_and_are_counted(tmp_path):
    disk = Disk(str(tmp_path / "cache"), Limits(cache_size=100 * SHARE, min_free=0))
    disk.start()
    keys = [f"{KEY}{number}" for number in range(3)]
    for key in keys:
        disk.clock.advance(1)
        now(begun(disk, data=bytes(40), key=key).keep())
    assert disk.store._engine.partial_bytes == 80
    disk.restart()
    assert disk.store._engine.partial_bytes == 80
    assert now(disk.store.files.resume(keys[0], ())) is None
    assert disk.store.usage() == (0, 0)
    for key in keys[1:]:
        now(now(disk.store.files.resume(key, ())).abandon())
    assert disk.store._engine.partial_bytes == 0
    now(disk.store.stop())


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 3 * LONGEST))), st.integers(0, 2000))
def test_never_too_much_and_never_too_old(sizes, limit):
    made = [Leftover(str(at), Note(str(at), ORIGIN), size, used) for at, (size, used) in enumerate(sizes)]
    gone = surplus(made, 3 * LONGEST, limit)
    stays = [each for each in made if each not in gone]
    assert sum(each.size for each in stays) <= limit // SHARE
    assert all(3 * LONGEST - each.used <= LONGEST for each in stays)
