"""What is to be purged, and what was."""

from __future__ import annotations

from typing import Protocol

from attrs import define, frozen


@frozen
class Purge:
    """`name` is a project, "list" (the project list), or with `*` a pattern of names.

    Pages expire; with `files`, files are deleted. `index` is the index whose pages and files alone are meant, by its
    name; None: those of all.
    """

    name: str
    files: bool = False
    index: str | None = None


@define
class Purged:
    """What was purged so far: of how many names, how many pages and files, and the bytes of the files.

    `kept`: names with no pages to expire, but files, which nobody wanted to delete.
    """

    names: int = 0
    pages: int = 0
    files: int = 0
    size: int = 0
    kept: int = 0

    def add(self, other: Purged) -> None:
        """What was purged of one name more, if anything was."""
        self.names += other.entries > 0
        self.pages += other.pages
        self.files += other.files
        self.size += other.size
        self.kept += other.kept

    @property
    def entries(self) -> int:
        """Pages and files together."""
        return self.pages + self.files

    @property
    def known(self) -> bool:
        """Whether anything was or is stored of what is wanted."""
        return bool(self.entries or self.kept)


class Purger(Protocol):
    """Purges."""

    async def purge(self, wanted: Purge, done: Purged) -> None:
        """Do it, counting in `done`. Cancelled, it ends where it is. Raises `Unavailable` if the store can't tell."""
