"""Entries dropped together: out of the catalogue at once, then off the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted_pypi.storage.catalogue import Catalogue
from twisted_pypi.storage.engine import Engine
from twisted_pypi.storage.layout import Path
from twisted_pypi.storage.rows import Aged


class Droppable(Protocol):
    """What keeps entries of one kind."""

    def forgotten(self, key: str) -> Path:
        """The catalogue has forgotten the key, and so does the memory; where its file is."""

    async def evict(self, key: str) -> None:
        """Delete the file of a key that the catalogue has forgotten, unless it was stored anew meanwhile."""


async def drop(engine: Engine, kinds: Mapping[str, Droppable], victims: list[Aged]) -> bool:
    """Drop them, one by one what isn't the file that was recorded; False if the catalogue can't forget them."""
    rows = [(victim.kind, victim.key, victim.inode) for victim in victims]
    if not await engine.ask(False, _forget, rows):
        return False
    files = [(kinds[victim.kind].forgotten(victim.key), victim.inode) for victim in victims]
    removed = await engine.workers.run(engine.tree.remove_same, files)
    for victim, gone in zip(victims, removed, strict=True):
        if not gone:
            await kinds[victim.kind].evict(victim.key)
    return True


def _forget(catalogue: Catalogue, rows: list[tuple[str, str, int | None]]) -> bool:
    catalogue.forget(rows)
    return True
