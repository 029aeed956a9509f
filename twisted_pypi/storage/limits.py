"""How much may be kept."""

from __future__ import annotations

from attrs import frozen

GIGABYTE = 1 << 30


@frozen
class Limits:
    """Sizes in bytes, `inactive` in seconds.

    `cache_size` 0: files are not stored, and pages up to 1 GiB. `min_free` None: 1 GiB, or 5 % of the file system if
    that is less. `memory` bounds the hot page bodies. `inactive` None: nothing is dropped for disuse.
    """

    cache_size: int = 50 * GIGABYTE
    max_file_size: int | None = None
    min_free: int | None = None
    memory: int = 64 << 20
    inactive: float | None = 180 * 86400.0

    @property
    def total(self) -> int:
        """What all entries together may take."""
        return self.cache_size or GIGABYTE

    def keep_free(self, file_system: int) -> int:
        """How much of a file system of this size is left alone."""
        return min(GIGABYTE, file_system // 20) if self.min_free is None else self.min_free

    def allows(self, size: int) -> bool:
        """Whether a file that is (by now) `size` bytes large may be stored at all."""
        return 0 < self.cache_size >= size and (self.max_file_size is None or size <= self.max_file_size)
