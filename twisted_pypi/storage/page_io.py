"""Page files in the tree: written aside, and read through a descriptor that is open just as long. Blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TypeVar

from twisted_pypi.model import Document
from twisted_pypi.records import PageMeta, StoredPage
from twisted_pypi.storage.layout import page_path
from twisted_pypi.storage.pagefile import DamagedPage, WrittenPage, read_page, set_time, write_page
from twisted_pypi.storage.rows import Stamp
from twisted_pypi.storage.tree import Tree

T = TypeVar("T")


def write_aside(
    tree: Tree, meta: PageMeta, document: Document, bodies: tuple[str, ...], templates: Collection[str] = ()
) -> tuple[str, Stamp, WrittenPage]:
    """Write a page to a file of its own, flushed, for `Tree.publish`: that file's name, its stamp, what was written.

    Whatever `document.render` raises passes through, `OSError` when the disk won't take it; nothing is left then.
    """
    name, descriptor = tree.create()
    try:
        written = write_page(descriptor, meta, document, bodies, templates)
        set_time(descriptor, meta.fetched_at)
        os.fsync(descriptor)
        return name, Stamp.of(descriptor), written
    except BaseException:
        tree.discard(name)
        raise
    finally:
        os.close(descriptor)


def with_page(tree: Tree, key: str, then: Callable[[int, StoredPage], T]) -> T:
    """`then(descriptor, page)` of the page with this key. Raises `DamagedPage`, `OSError` when it can't be had."""
    descriptor = tree.open_file(page_path(key))
    try:
        page = read_page(descriptor).page
        if page.meta.key != key:
            raise DamagedPage(f"it is the page of {page.meta.key}")
        return then(descriptor, page)
    finally:
        os.close(descriptor)
