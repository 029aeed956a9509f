"""What a store takes up, as values."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen
class Occupancy:
    """Bytes on disk: of the `entries` that are `stored`, of `partial` files, of catalogue and what isn't ours
    (`overhead`), and the `limit` for all. In memory: the `bodies` (how many, bytes, limit) and `records` by kind.
    """

    entries: int
    stored: int
    partial: int
    overhead: int
    limit: int
    bodies: tuple[int, int, int]
    records: Mapping[str, int]

    @property
    def used(self) -> int:
        """The bytes of everything below the directory."""
        return self.stored + self.partial + self.overhead


@frozen
class Space:
    """Bytes of a file system: `free` for us, all of it, and what is always left (`reserved`)."""

    free: int
    whole: int
    reserved: int
