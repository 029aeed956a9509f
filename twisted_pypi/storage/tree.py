"""The cache directory: everything is opened relative to its descriptor, and no link is followed on the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

from attrs import define, field

from twisted_pypi.storage.layout import TEMPORARY, Path

_NOTE = ".json"
_NEW = ".new"
_LARGEST_NOTE = 64 << 10

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAF = os.O_NOFOLLOW | os.O_CLOEXEC


@define
class Tree:
    """Files below `directory`. Every method raises `OSError` as the system calls do; all are safe in any thread."""

    directory: str
    _root: int = field(default=-1, init=False)
    _count: int = field(default=0, init=False)
    _renaming: Lock = field(factory=Lock, init=False)

    def open(self) -> None:
        """Begin: the directory must exist."""
        self._root = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with suppress(FileExistsError):
            os.mkdir(TEMPORARY, 0o700, dir_fd=self._root)

    def close(self) -> None:
        """End. Idempotent."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def open_file(self, path: Path) -> int:
        """A descriptor for reading the regular file at `path`."""
        with self._folder(path[:-1]) as folder:
            descriptor = os.open(path[-1], os.O_RDONLY | os.O_NONBLOCK | _LEAF, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"not a regular file: {'/'.join(path)}")
        return descriptor

    def state(self, path: str) -> os.stat_result:
        """What one look tells of a path (components joined with slashes). Good for comparing, not for trusting."""
        return os.stat(path, dir_fd=self._root, follow_symlinks=False)

    def absolute(self, path: str) -> str:
        """A path (components joined with slashes) for other processes."""
        return os.path.join(os.path.abspath(self.directory), path)

    def exists(self, path: str) -> bool:
        """Whether there is something at this path (components joined with slashes)."""
        return self._mode(path) != 0

    def create(self) -> tuple[str, int]:
        """A new partial file: its name and a descriptor for reading and writing. Makes again what was deleted."""
        self._find_again()
        self._count += 1
        name = f"{os.getpid():x}-{self._count:x}-{os.urandom(3).hex()}"
        with self._folder((TEMPORARY,), make=True) as folder:
            return name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _LEAF, 0o600, dir_fd=folder)

    def open_partial(self, name: str) -> int:
        """A descriptor for reading and writing an existing partial file."""
        with self._folder((TEMPORARY,)) as folder:
            return os.open(name, os.O_RDWR | os.O_NONBLOCK | _LEAF, dir_fd=folder)

    def stat_partial(self, name: str) -> os.stat_result:
        """The state of a partial file. Raises `FileNotFoundError` for anything but a regular file."""
        with self._folder((TEMPORARY,)) as folder:
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(state.st_mode):
            raise FileNotFoundError(f"not a regular file: {TEMPORARY}/{name}")
        return state

    def write_note(self, name: str, data: bytes) -> None:
        """Put a note beside a partial file, in place of what is there: the old one or the new one stays, whole."""
        with self._folder((TEMPORARY,)) as folder:
            new = name + _NEW
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _LEAF, 0o600, dir_fd=folder)
            with open(descriptor, "wb") as note:
                note.write(data)
            os.rename(new, name + _NOTE, src_dir_fd=folder, dst_dir_fd=folder)

    def read_note(self, name: str) -> bytes:
        """The note beside a partial file."""
        with self._folder((TEMPORARY,)) as folder:
            descriptor = os.open(name + _NOTE, os.O_RDONLY | os.O_NONBLOCK | _LEAF, dir_fd=folder)
        with open(descriptor, "rb") as note:
            return note.read(_LARGEST_NOTE)

    @staticmethod
    def data_of(name: str) -> str:
        """The partial file that a name in `tmp/` belongs to."""
        return name.removesuffix(_NOTE)

    def publish(self, name: str, path: Path) -> None:
        """Move a partial file (flushed already) to `path`, in place of what is there, and flush the folder."""
        for attempt in range(3):  # a pruning thread may take a folder away in between
            try:
                self._move(name, path)
            except FileNotFoundError:
                if attempt == 2:
                    raise
            else:
                return

    def discard(self, name: str) -> None:
        """Delete a partial file and its note, as far as they are there."""
        with self._folder((TEMPORARY,)) as folder:
            for each in (name, name + _NOTE):
                with suppress(FileNotFoundError):
                    os.unlink(each, dir_fd=folder)

    def remove(self, path: Path) -> bool:
        """Delete the file at `path` and the folders that it leaves empty; whether it was there."""
        try:
            with self._folder(path[:-1]) as folder:
                os.unlink(path[-1], dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return False
        self._prune(path[:-1])
        return True

    def remove_same(self, files: Iterable[tuple[Path, int]]) -> list[bool]:
        """Delete files (path, inode) as `remove` does; False for each that is there but is another one by now."""
        return [self._remove_same(path, inode) for path, inode in files]

    def leftovers(self) -> list[str]:
        """All names in `tmp/`."""
        with self._folder((TEMPORARY,)) as folder:
            return os.listdir(folder)

    def walk(self, top: str) -> Iterator[Path]:
        """The paths of all regular files below the folder `top`."""
        if not stat.S_ISDIR(self._mode(top)):  # `fwalk` would wait for somebody to write into a pipe
            return
        for parent, _, names, folder in os.fwalk(top, dir_fd=self._root):
            for name in names:
                with suppress(FileNotFoundError):
                    if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                        yield (*parent.split("/"), name)

    def strangers(self, own: Container[str]) -> Iterator[Path]:
        """The paths of all regular files in the directory but for those under the names in `own`."""
        for name in os.listdir(self._root):
            if name not in own:
                if stat.S_ISREG(self._mode(name)):
                    yield (name,)
                yield from self.walk(name)

    def size(self, paths: Iterable[Path]) -> int:
        """The bytes of these files together; what has gone counts nothing."""
        total = 0
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):
                total += os.stat("/".join(path), dir_fd=self._root, follow_symlinks=False).st_size
        return total

    def space(self) -> tuple[int, int]:
        """(bytes free for us, bytes of the whole file system)."""
        state = os.fstatvfs(self._root)
        return state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize

    def _find_again(self) -> None:
        """The directory may have been deleted, and perhaps made again, since it was opened."""
        os.makedirs(self.directory, 0o700, exist_ok=True)
        if not os.path.samestat(os.stat(self.directory), os.fstat(self._root)):
            found = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.dup2(found, self._root, inheritable=False)  # at once, for all threads
            os.close(found)

    def _mode(self, path: str) -> int:
        """What is at this path, 0 for nothing."""
        try:
            return os.stat(path, dir_fd=self._root, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def _remove_same(self, path: Path, inode: int) -> bool:
        try:
            with self._folder(path[:-1]) as folder, self._renaming:
                if os.stat(path[-1], dir_fd=folder, follow_symlinks=False).st_ino != inode:
                    return False
                os.unlink(path[-1], dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # to be tried, and reported, one by one
            return False
        self._prune(path[:-1])
        return True

    @contextmanager
    def _folder(self, path: Path, make: bool = False) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for name in path:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=descriptor)
                below = os.open(name, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _move(self, name: str, path: Path) -> None:
        with self._folder((TEMPORARY,)) as temporary, self._folder(path[:-1], make=True) as folder:
            with self._renaming:
                os.rename(name, path[-1], src_dir_fd=temporary, dst_dir_fd=folder)
            os.fsync(folder)

    def _prune(self, path: Path) -> None:
        """Delete folders that are empty now, the deepest first; the topmost one stays."""
        for depth in range(len(path), 1, -1):
            try:
                with self._folder(path[: depth - 1]) as parent:
                    os.rmdir(path[depth - 1], dir_fd=parent)
            except OSError:  # not empty, or somebody else was first
                return
