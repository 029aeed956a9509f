"""Bodies of files that are had without waiting: never other bytes than `open` would give, and nothing kept too long."""

from __future__ import annotations

import hashlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from twisted_pypi.lru import Lru
from twisted_pypi.storage.hot_bodies import SMALL
from twisted_pypi.storage.layout import file_path
from twisted_pypi.storage.limits import Limits
from unit.storage_doubles import KEY, Disk, content, now, put_file

WEEK = 7 * 86400
SIZES = {"small": 1000, "large": SMALL + 1}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(str(tmp_path / "cache"))
    disk.start()
    yield disk
    now(disk.store.stop())


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def body(request: pytest.FixtureRequest) -> bytes:
    return b"w" * request.param


def at_hand(disk: Disk, key: str = KEY) -> bytes | None:
    """The bytes, if they are had without waiting."""
    files = disk.store.files
    file = files.hot(key)
    found = None if file is None else files.hot_body(file)
    assert file is None or files.unchanged(file) == (found is not None)
    if found is None or isinstance(found, bytes):
        return found
    try:
        return found.read(0, 1 << 20)
    finally:
        found.close()


def place(disk: Disk, key: str = KEY) -> Path:
    return Path(disk.path, *file_path(key))


def opened(disk: Disk) -> int:
    """How many descriptors of stored files the process holds."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith(f"{disk.path}/files/")
        except FileNotFoundError:
            continue
    return count


def test_a_stored_file(disk: Disk, body: bytes) -> None:
    put_file(disk.store, body)
    assert [at_hand(disk) for _ in range(3)] == [body] * 3
    assert disk.store.files.hot(KEY) is disk.store.files.hot(KEY)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def cut_short(path: Path) -> None:
    os.truncate(path, 10)


def copied(path: Path) -> None:
    data, state = path.read_bytes(), path.stat()
    other = path.with_name("other")
    other.write_bytes(data)
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.rename(path)


def linked(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize("change", [touched, cut_short, copied, linked, Path.unlink])
def test_whatever_happens_to_the_file_shows_at_once(disk: Disk, body: bytes, change: Callable[[Path], None]) -> None:
    put_file(disk.store, body)
    assert at_hand(disk) == body
    change(place(disk))
    assert at_hand(disk) is None
    assert opened(disk) == 0


def test_what_proves_to_be_right_is_at_hand_again(disk: Disk, body: bytes) -> None:
    file = put_file(disk.store, body)
    before = disk.store.files.hot(KEY)
    touched(place(disk))
    assert content(disk.store, file) == body
    assert at_hand(disk) == body
    assert not disk.store.files.unchanged(before)


def test_a_file_that_is_stored_anew(disk: Disk, body: bytes) -> None:
    put_file(disk.store, body)
    before = disk.store.files.hot(KEY)
    assert at_hand(disk) == body
    other = body.replace(b"w", b"n")
    put_file(disk.store, other)
    assert at_hand(disk) == other
    assert disk.store.files.hot_body(before) is None
    assert not disk.store.files.unchanged(before)


def test_a_file_that_is_deleted(disk: Disk, body: bytes) -> None:
    put_file(disk.store, body)
    before = disk.store.files.hot(KEY)
    assert at_hand(disk) == body
    now(disk.store.files.delete(KEY))
    assert at_hand(disk) is None
    assert disk.store.files.hot_body(before) is None
    assert opened(disk) == 0


def test_evicted_files_are_not_kept_open(tmp_path: Path) -> None:
    disk = Disk(str(tmp_path), Limits(cache_size=4 << 20, min_free=0))
    disk.start()
    for number in range(40):
        put_file(disk.store, b"x" * (SMALL + number), f"{KEY}{number}")
        at_hand(disk, f"{KEY}{number}")
        disk.clock.advance(6)
        disk.settle()
    stored = [number for number in range(40) if place(disk, f"{KEY}{number}").exists()]
    assert 0 < len(stored) < 40
    assert opened(disk) <= len(stored)
    now(disk.store.stop())
    assert opened(disk) == 0


def test_the_weekly_check_is_left_to_open(disk: Disk, body: bytes) -> None:
    put_file(disk.store, body)
    disk.clock.advance(WEEK + 1)
    assert at_hand(disk) is None
    assert content(disk.store, disk.store.files.hot(KEY)) == body
    assert at_hand(disk) == body


def test_a_file_that_was_found_is_left_to_be_confirmed(disk: Disk, body: bytes) -> None:
    put_file(disk.store, body)
    now(disk.store.stop())
    Path(disk.path, "catalogue.sqlite").unlink()
    disk.start()
    file = now(disk.store.files.get(KEY))
    assert file.sha256 == ""
    assert at_hand(disk) is None
    now(disk.store.files.confirm(file, {"sha256": hashlib.sha256(body).hexdigest()}))
    assert at_hand(disk) == body


def test_damage_that_no_stamp_shows_is_found_in_small_ones(disk: Disk) -> None:
    put_file(disk.store, b"right")
    state = place(disk).stat()
    place(disk).write_bytes(b"wrong")
    os.utime(place(disk), ns=(state.st_atime_ns, state.st_mtime_ns))
    assert disk.store.files.hot_body(disk.store.files.hot(KEY)) is None
    file = disk.store.files.hot(KEY)
    source = now(disk.store.files.open(file))
    source.close()
    disk.settle()
    assert now(disk.store.files.get(KEY)) is None
    assert not place(disk).exists()


def test_descriptors_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    disk = Disk(str(tmp_path))
    disk.start()
    for number in range(20):
        put_file(disk.store, b"%d" % number * (SMALL + 1), f"{KEY}{number}")
        assert at_hand(disk, f"{KEY}{number}") == b"%d" % number * (SMALL + 1)
    assert opened(disk) == 8
    now(disk.store.stop())
    assert opened(disk) == 0


def test_without_descriptors_it_is_left_to_open(disk: Disk, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    put_file(disk.store, body)

    def none_left(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", none_left)
        assert disk.store.files.hot_body(disk.store.files.hot(KEY)) is None
    assert at_hand(disk) == body


def test_with_no_memory_small_ones_are_read_each_time(tmp_path: Path) -> None:
    disk = Disk(str(tmp_path), evolve(Limits(min_free=0), memory=0))
    disk.start()
    put_file(disk.store, b"wheel")
    assert [at_hand(disk), at_hand(disk)] == [b"wheel"] * 2
    now(disk.store.stop())


class Files(RuleBasedStateMachine):
    """Whatever happens to a file, what is at hand is what the model says it is, or nothing."""

    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk(str(self.directory / f"{os.urandom(8).hex()}"))
        self.disk.start()
        self.right: bytes | None = None

    @rule(size=st.sampled_from([0, 10, SMALL, SMALL + 1]), letter=st.sampled_from([b"a", b"b"]))
    def store(self, size: int, letter: bytes) -> None:
        self.right = letter * size
        put_file(self.disk.store, self.right)

    @rule()
    def delete(self) -> None:
        now(self.disk.store.files.delete(KEY))
        self.right = None

    @rule(change=st.sampled_from([touched, copied]))
    def disturb(self, change: Callable[[Path], None]) -> None:
        if place(self.disk).exists():
            change(place(self.disk))

    @rule()
    def overwrite(self) -> None:
        if self.right and place(self.disk).exists():
            place(self.disk).write_bytes(b"x" * len(self.right))

    @rule()
    def ask(self) -> None:
        file = now(self.disk.store.files.get(KEY))
        if file is not None:
            try:
                assert content(self.disk.store, file) == self.right
            except LookupError:
                self.right = None

    @rule(days=st.integers(1, 8))
    def later(self, days: int) -> None:
        self.disk.clock.advance(days * 86400)

    @rule()
    def restart(self) -> None:
        self.disk.restart()

    @invariant()
    def nothing_else_is_at_hand(self) -> None:
        for _ in range(2):
            assert at_hand(self.disk) in (self.right, None)

    def teardown(self) -> None:
        now(self.disk.store.stop())


def test_any_order_of_events(tmp_path: Path) -> None:
    machine = type("OnDisk", (Files,), {"directory": tmp_path})
    case = machine.TestCase
    case.settings = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    case("runTest").runTest()


def test_what_has_to_go_is_told_of() -> None:
    gone: list[int] = []
    lru: Lru[str, int] = Lru(2, dropped=gone.append)
    for number, key in enumerate("abc"):
        lru.put(key, number)
    assert gone == [0]
    assert lru.pop("b") == 1
    assert gone == [0]
    lru.clear()
    assert gone == [0, 2]
    assert (len(lru), lru.weight) == (0, 0)
