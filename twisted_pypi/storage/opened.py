"""A cache directory opened for a command, instead of by a daemon. Blocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from attrs import frozen

from twisted_pypi.storage.adoption import find, is_foreign, is_nameless, shown, unrecorded
from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.layout import CATALOGUE, FILES, LOCK, PAGES, TEMPORARY
from twisted_pypi.storage.lock import lock_directory
from twisted_pypi.storage.pagefile import DamagedPage
from twisted_pypi.storage.rows import FILE, PAGE, Entry
from twisted_pypi.storage.tree import Tree

SLICE = 200


@frozen
class OpenDirectory:
    """A directory and its catalogue, for nobody else meanwhile."""

    tree: Tree
    catalogue: Catalogue

    def slices(self) -> Iterator[list[Entry]]:
        """Every entry of the catalogue, some at a time. Those may be forgotten before the next are asked for."""
        last = ("", "")
        while entries := self.catalogue.after(*last, SLICE):
            last = (entries[-1].kind, entries[-1].key)
            yield entries

    def adopt(self, now: float, foreign: Callable[[str], None], refused: Callable[[str, Exception], None]) -> int:
        """Record what the catalogue doesn't know; how many that were. Pages come first: they tell of files.

        Paths that aren't ours are `foreign`; `refused` is told why others can't be recorded: damaged pages are deleted,
        as are files whose key nobody can tell any more. Raises `sqlite3.Error`.
        """
        count = 0
        for kind, top in ((PAGE, PAGES), (FILE, FILES)):
            paths = self.tree.walk(top)
            while some := list(islice(paths, SLICE)):
                for path in unrecorded(self.catalogue, kind, some):
                    if is_foreign(path):
                        foreign(shown(path))
                        continue
                    if is_nameless(kind, path):
                        self.tree.remove(path)  # nobody will ask for it
                        continue
                    try:
                        found = find(self.tree, kind, path, now)
                    except (DamagedPage, OSError) as error:
                        refused(shown(path), error)
                        if isinstance(error, DamagedPage):
                            self.tree.remove(path)
                        continue
                    self.catalogue.record(found.entry, found.links)
                    count += 1
        return count


@contextmanager
def open_directory(directory: str) -> Iterator[OpenDirectory]:
    """The cache in `directory`, which must be one, locked. A catalogue that was lost is made again.

    Raises `ConfigError` when a daemon uses it, `OSError` and `sqlite3.Error` when it can't be opened.
    """
    with locked_tree(directory) as tree:
        catalogue = Catalogue(os.path.join(directory, CATALOGUE))
        reason = catalogue.open()
        keep_owner(directory)
        opened = OpenDirectory(tree, catalogue)
        try:
            if reason:
                opened.adopt(os.stat(directory).st_mtime, lambda path: None, lambda path, error: None)
            yield opened
        finally:
            # What an unclean stop may have spoiled is still to be checked.
            catalogue.close(clean=not catalogue.unclean)


@contextmanager
def locked_tree(directory: str) -> Iterator[Tree]:
    """The files of the cache in `directory`, for nobody else meanwhile.

    Raises `ConfigError` when a daemon uses it, `OSError` when it can't be opened.
    """
    lock = lock_directory(directory)
    tree = Tree(directory)
    try:
        tree.open()
        yield tree
    finally:
        tree.close()
        lock.release()


def keep_owner(directory: str) -> None:
    """Whoever runs this as root leaves nothing that the directory's owner can't use."""
    owner = os.stat(directory)
    if os.geteuid() == 0 and owner.st_uid:
        for name in (LOCK, TEMPORARY, *(CATALOGUE + ending for ending in ("", "-wal", "-shm"))):
            os.chown(os.path.join(directory, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
