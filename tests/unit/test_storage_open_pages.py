"""Large bodies of pages that are had without waiting, from files kept open: never other bytes than were checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from twisted_pypi.answers import ByteSource
from twisted_pypi.records import StoredPage
from twisted_pypi.storage.disk_pages import LARGE
from twisted_pypi.storage.layout import page_path
from unit.storage_doubles import Disk, Page, body_of, meta, now

KEY = meta().key


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(str(tmp_path / "cache"))
    disk.start()
    yield disk
    now(disk.store.stop())


def put(disk: Disk, letter: bytes = b"a", key: str = KEY, size: int = LARGE + 1) -> StoredPage:
    return now(disk.store.pages.put(meta(key), Page({"json": [letter * size]}), ("json",)))


def at_hand(disk: Disk, page: StoredPage, encoding: str = "identity") -> ByteSource | bytes | None:
    return disk.store.pages.hot_body(page, page.representations["json", encoding])


def bytes_at_hand(disk: Disk, page: StoredPage) -> bytes | None:
    source = at_hand(disk, page)
    if source is None or isinstance(source, bytes):
        return source
    try:
        return source.read(0, 1 << 22)
    finally:
        source.close()


def descriptors(disk: Disk) -> int:
    """How many descriptors of stored pages the process holds."""
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    inside = os.path.join(disk.path, "pages")
    return sum(os.path.lexists(link) and os.readlink(link).startswith(inside) for link in links)


def place(disk: Disk) -> Path:
    return Path(disk.path, *page_path(KEY))


def test_a_large_body_is_at_hand_once_it_was_checked(disk: Disk) -> None:
    page = put(disk)
    assert at_hand(disk, page) is None
    assert body_of(disk.store, page) == b"a" * (LARGE + 1)
    assert bytes_at_hand(disk, page) == b"a" * (LARGE + 1)
    assert not disk.store._engine.bodies
    assert not disk.store._engine.readers


def test_a_body_that_is_not_large_is_kept_in_memory(disk: Disk) -> None:
    page = put(disk, size=LARGE)
    body_of(disk.store, page)
    assert at_hand(disk, page) == b"a" * LARGE
    assert not descriptors(disk)


def test_one_descriptor_serves_all_bodies_of_a_page(disk: Disk) -> None:
    document = Page({"json": [b"j" * (LARGE + 1)], "html": [b"h" * (LARGE + 1)]})
    page = now(disk.store.pages.put(meta(), document, ("json", "html")))
    for body in ("json", "html"):
        assert disk.store.pages.hot_body(page, page.representations[body, "identity"]) is None
        assert body_of(disk.store, page, body) == body[:1].encode() * (LARGE + 1)
    assert descriptors(disk) == 1
    assert bytes_at_hand(disk, page) == b"j" * (LARGE + 1)


def test_a_new_page_takes_the_place_of_the_old(disk: Disk) -> None:
    old = put(disk)
    body_of(disk.store, old)
    source = at_hand(disk, old)
    new = put(disk, b"b")
    assert descriptors(disk) == 1  # the reader's own
    assert at_hand(disk, old) is None
    assert at_hand(disk, new) is None
    assert body_of(disk.store, new) == b"b" * (LARGE + 1)
    assert bytes_at_hand(disk, new) == b"b" * (LARGE + 1)
    assert source.read(LARGE, 10) == b"a"
    source.close()


def test_a_file_that_was_changed_is_checked_again(disk: Disk) -> None:
    page = put(disk)
    body_of(disk.store, page)
    with place(disk).open("r+b") as file:
        file.write(b"damaged")
    os.utime(place(disk), (1, 1))
    assert at_hand(disk, page) is None
    assert not descriptors(disk)
    with pytest.raises(LookupError):
        body_of(disk.store, page)
    assert now(disk.store.pages.get(KEY)) is None


def test_a_file_that_grew_within_its_second_is_checked_again(disk: Disk) -> None:
    page = put(disk)
    body_of(disk.store, page)
    before = place(disk).stat()
    with place(disk).open("ab") as file:
        file.write(b"more")
    os.utime(place(disk), ns=(before.st_atime_ns, before.st_mtime_ns))
    assert at_hand(disk, page) is None


def test_a_confirmed_page_is_checked_again_and_at_hand(disk: Disk) -> None:
    page = put(disk)
    body_of(disk.store, page)
    confirmed = now(disk.store.pages.confirm(page, 5000.0))
    assert at_hand(disk, confirmed) is None
    assert body_of(disk.store, confirmed) == b"a" * (LARGE + 1)
    assert bytes_at_hand(disk, confirmed) == b"a" * (LARGE + 1)
    assert descriptors(disk) == 1


@pytest.mark.parametrize("how", ["delete", "evict", "stop"])
def test_nothing_is_kept_of_a_page_that_has_gone(disk: Disk, how: str) -> None:
    page = put(disk)
    body_of(disk.store, page)
    assert descriptors(disk) == 1
    match how:
        case "delete":
            now(disk.store.pages.delete(KEY))
        case "evict":
            disk.store.pages.forgotten(KEY)
        case "stop":
            now(disk.store.stop())
    assert not descriptors(disk)
    assert at_hand(disk, page) is None


def test_no_more_files_are_open_than_the_limit(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk.store.pages._open._files, "limit", 2)
    pages = [put(disk, key=f"https://index.example/simple/{name}/") for name in "abc"]
    for page in pages:
        body_of(disk.store, page)
    assert descriptors(disk) == 2
    assert at_hand(disk, pages[0]) is None


def test_without_descriptors_it_is_left_to_open(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    page = put(disk)
    body_of(disk.store, page)

    def none_left(_: int) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", none_left)
        assert at_hand(disk, page) is None
    assert body_of(disk.store, page) == b"a" * (LARGE + 1)
