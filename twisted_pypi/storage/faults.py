"""Whether what lies on disk is what was stored: all of it read. For worker threads; raises `OSError`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted_pypi.storage.digests import digests_of
from twisted_pypi.storage.layout import Path, file_path, page_path
from twisted_pypi.storage.pagefile import DamagedPage, check_body, read_page
from twisted_pypi.storage.rows import PAGE, Entry, Stamp


def path_of(entry: Entry) -> Path:
    """Where what an entry stands for is: its key says it, whatever was recorded."""
    return page_path(entry.key) if entry.kind == PAGE else file_path(entry.key)


def fault_of(entry: Entry, descriptor: int, announced: Iterable[Mapping[str, str]]) -> str:
    """What is wrong with an entry's file, "" if nothing is. `announced` is what pages say of a file whose digest is
    not recorded."""
    if entry.kind == PAGE:
        return _page_fault(entry, descriptor)
    return _file_fault(entry, descriptor) if entry.sha256 else _denied(descriptor, tuple(announced))


def _page_fault(entry: Entry, descriptor: int) -> str:
    """What is wrong with a page, "" if nothing is."""
    try:
        found = read_page(descriptor)
        if found.page.meta.key != entry.key:
            raise DamagedPage(f"it is the page of {found.page.meta.key}")
        for part in (*found.page.representations.values(), found.links):
            check_body(descriptor, part)
    except DamagedPage as error:
        return str(error)
    return ""


def _file_fault(entry: Entry, descriptor: int) -> str:
    """What is wrong with a file whose digest is recorded, "" if nothing is."""
    size = Stamp.of(descriptor).size
    if size != entry.stamp.size:
        return f"it has {size} bytes instead of {entry.stamp.size}"
    same = digests_of(descriptor).hexdigest("sha256") == entry.sha256
    return "" if same else "its digest is not the recorded one"


def _denied(descriptor: int, announced: tuple[Mapping[str, str], ...]) -> str:
    """Why a file can't be what pages announced; "" if it is what one did, or none gave a digest."""
    digests = digests_of(descriptor, {name for hashes in announced for name in hashes})
    answers = {digests.confirms(hashes) for hashes in announced}
    return "it is not what was announced" if False in answers and True not in answers else ""
