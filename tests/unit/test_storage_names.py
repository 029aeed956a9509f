"""Hostile names on a real file system: nothing lands outside its place, in another's, or is lost."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from unit.storage_doubles import Disk, Page, body_of, content, meta, now, put_file
from unit.test_storage_layout import keys


@given(st.sets(keys(), min_size=2, max_size=6))
@example({"https://one.example/", "https://one.example//%5C"})
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_key_keeps_its_own_content(tmp_path_factory, several):
    path = tmp_path_factory.mktemp("cache")
    disk = Disk(str(path))
    store = disk.start()
    files = {key: put_file(store, key.encode(), key) for key in several}
    for key in several:
        now(store.pages.put(meta(key), Page({"json": [key.encode()]}), ("json",)))
    store = disk.restart()
    for key, file in files.items():
        assert content(store, file) == key.encode()
        assert body_of(store, now(store.pages.get(key))) == key.encode()
    assert store.usage()[0] == 2 * len(several)
    assert set(os.listdir(path)) <= {
        "files",
        "pages",
        "tmp",
        "lock",
        *(f"catalogue.sqlite{end}" for end in ("", "-wal", "-shm")),
    }
    for key in several:
        now(store.files.delete(key))
        now(store.pages.delete(key))
    assert list((path / "files").iterdir()) == list((path / "pages").iterdir()) == []
    now(store.stop())
    assert disk.events == []
