"""How far a transfer is, for people."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen
class Beginning:
    """Of which project and index the file is, when its transfer began (seconds), and what was there then (bytes)."""

    project: str
    index: str
    at: float
    position: int


@frozen
class Progress:
    """One transfer: `done` bytes of `size` (None: unknown) are here, `rate` bytes a second since it began, `clients`
    read it. `project` is "" where the file's name tells none."""

    key: str
    project: str
    index: str
    size: int | None
    done: int
    rate: float
    clients: int


class Moving(Protocol):
    """A transfer: `fetching.transfer.Transfer`."""

    length: int | None

    @property
    def received(self) -> int:
        """How many bytes came."""

    @property
    def readers(self) -> int:
        """How many clients read it."""


def progress(key: str, began: Beginning, moving: Moving, now: float) -> Progress:
    """Of a transfer of the file with this key, at the time `now`."""
    came = moving.received - began.position
    rate = came / max(now - began.at, 0.1)
    return Progress(key, began.project, began.index, moving.length, moving.received, rate, moving.readers)
