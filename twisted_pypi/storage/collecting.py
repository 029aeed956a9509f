"""Everything that may go, gone at once, in a directory that no daemon uses. Blocks.

A daemon does the same bit by bit: what nobody used and what is over the limit every hour, what pages said of names that
are gone every day. Only the room that the catalogue has left in itself it keeps for what comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define

from twisted_pypi.storage.eviction import excess, plan
from twisted_pypi.storage.layout import FILES, PAGES
from twisted_pypi.storage.leftovers import noted, surplus
from twisted_pypi.storage.limits import Limits
from twisted_pypi.storage.links import BEGINNING, Place
from twisted_pypi.storage.opened import SLICE, OpenDirectory, open_directory
from twisted_pypi.storage.rows import Aged

_ROWS = 10_000


@define
class Collected:
    """What went: entries that nobody used or that were over the limit (`entries`, of `size` bytes), entries without
    their file, partial files, rows of what pages said, notes; `shrunk` are bytes of the catalogue. `adopted` files and
    pages were not in it, and `damaged` ones could not be."""

    entries: int = 0
    size: int = 0
    missing: int = 0
    partial: int = 0
    partial_size: int = 0
    links: int = 0
    notes: int = 0
    shrunk: int = 0
    adopted: int = 0
    damaged: int = 0


def collect(directory: str, limits: Limits, now: float) -> Collected:
    """Let go of what may go.

    Raises `ConfigError` when a daemon uses the directory, `OSError` and `sqlite3.Error`.
    """
    with open_directory(directory) as opened:
        done = Collected()
        _collect(opened, limits, now, done)
    return done


def _collect(opened: OpenDirectory, limits: Limits, now: float, done: Collected) -> None:
    def refused(path: str, error: Exception) -> None:
        done.damaged += 1

    _drop_missing(opened, done)
    done.adopted = opened.adopt(now, lambda path: None, refused)
    _drop_partial(opened, limits, now, done)
    catalogue = opened.catalogue
    if limits.inactive is not None:
        _drop_oldest(opened, catalogue.size + 1, now - limits.inactive, done)
    _drop_oldest(opened, excess(catalogue.size + catalogue.footprint, limits.total), None, done)
    if limits.inactive is not None:
        place: Place | None = BEGINNING
        while place is not None:
            place, dropped = catalogue.prune(place, now - limits.inactive, _ROWS)
            done.links += dropped
    done.notes = catalogue.unmark_until(now)
    done.shrunk = catalogue.compact()


def _drop_missing(opened: OpenDirectory, done: Collected) -> None:
    for entries in opened.slices():
        gone = [entry for entry in entries if not opened.tree.exists(entry.path)]
        opened.catalogue.forget((entry.kind, entry.key, None) for entry in gone)
        done.missing += len(gone)


def _drop_partial(opened: OpenDirectory, limits: Limits, now: float, done: Collected) -> None:
    """Partial files that nobody can go on with, that are too old, or more than their share."""
    names = opened.tree.leftovers()
    kept = {leftover.note.key: leftover for leftover in sorted(noted(opened.tree, names), key=lambda each: each.size)}
    gone = surplus(kept.values(), now, limits.total)
    stay = {leftover.name for leftover in kept.values()} - {leftover.name for leftover in gone}
    for name in sorted({opened.tree.data_of(name) for name in names} - stay):
        done.partial_size += opened.tree.size([("tmp", name)])
        opened.tree.discard(name)
        done.partial += 1


def _drop_oldest(opened: OpenDirectory, needed: int, before: float | None, done: Collected) -> None:
    """The least recently used (of those last used before that time), until so many bytes are found."""
    while needed > 0 and (victims := plan(opened.catalogue.oldest(0, SLICE, before), needed, ())):
        _drop(opened, victims)
        size = sum(victim.size for victim in victims)
        needed -= size
        done.entries, done.size = done.entries + len(victims), done.size + size


def _drop(opened: OpenDirectory, victims: Iterable[Aged]) -> None:
    for victim in victims:
        entry = opened.catalogue.entry(victim.kind, victim.key)
        if entry is not None and entry.path.startswith((f"{FILES}/", f"{PAGES}/")):
            opened.tree.remove(tuple(entry.path.split("/")))
    opened.catalogue.forget((victim.kind, victim.key, None) for victim in victims)
