"""The catalogue looked through by people: on a connection of its own, for reading alone, opened for each question.

Looking through 300,000 entries takes most of a second, for which neither the catalogue's own thread nor, since SQLite
lets go of the interpreter, the reactor waits. Blocks: call it in a thread.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from attrs import evolve, frozen

from twisted_pypi.errors import Unavailable
from twisted_pypi.interfaces import Workers
from twisted_pypi.interfaces.listing import MOST, Heap, Listed, Totals, Wanted
from twisted_pypi.storage.layout import CATALOGUE
from twisted_pypi.storage.rows import PAGE

_PATIENCE = 5.0  # seconds for which somebody may have the database to himself
_BUSY = "The cache's catalogue can't be read at the moment"

_FOLDED = "lower(replace(replace({}, '_', '-'), '.', '-'))"
_NAME = "CASE WHEN name <> '' THEN name ELSE key END"
_FITS = f"{_FOLDED.format(_NAME)} GLOB ?"
_ROW = "coalesce(name, ''), kind, key, path, index_name, size, stored_at, used_at, checked_at, verified, sha256"
_HEAP = f"{_NAME} AS heap, sum(kind = 'page'), sum(kind = 'file'), sum(size), max(stored_at), max(used_at)"
_TOTALS = f"SELECT count(DISTINCT {_NAME}), total(kind = 'page'), total(kind = 'file'), total(size) FROM entries"

_ENTRY_ORDER = {
    "name": f"{_NAME} {{}}, kind DESC, key",
    "size": "size {}",
    "used": "used_at {}",
    "stored": "stored_at {}",
}
_HEAP_ORDER = {"name": "heap {}", "size": "sum(size) {}", "used": "max(used_at) {}", "stored": "max(stored_at) {}"}


@frozen
class DiskListing:
    """`interfaces.listing.Listing` of the cache in `directory`, by threads."""

    directory: str
    workers: Workers

    async def entries(self, wanted: Wanted) -> tuple[Totals, list[Listed]]:
        """Pages and files, each a row. Raises `Unavailable`."""
        return await self.workers.run(listed, self.directory, wanted)

    async def names(self, wanted: Wanted) -> tuple[Totals, list[Heap]]:
        """The same, a row for each name. Raises `Unavailable`."""
        return await self.workers.run(heaped, self.directory, wanted)

    async def names_after(self, name: str, wanted: Wanted) -> list[str]:
        """The next names from a to z. Raises `Unavailable`."""
        return await self.workers.run(names_after, self.directory, name, wanted)


def listed(directory: str, wanted: Wanted, at_rest: bool = False) -> tuple[Totals, list[Listed]]:
    """Pages and files, each a row; `at_rest`: no daemon uses the directory. Raises `Unavailable`."""
    where, values = _where(wanted)
    query = f"SELECT {_ROW} FROM entries {where} ORDER BY {_order(wanted, _ENTRY_ORDER)} LIMIT ? OFFSET ?"
    with _reading(directory, at_rest) as db:
        totals = _totals(db, where, values)
        rows = [Listed(*row) for row in db.execute(query, (*values, *_slice(wanted)))]
    return totals, [_confirmed(directory, row) for row in rows]


def heaped(directory: str, wanted: Wanted, at_rest: bool = False) -> tuple[Totals, list[Heap]]:
    """The same, a row for each name. Raises `Unavailable`."""
    where, values = _where(wanted)
    order = _order(wanted, _HEAP_ORDER)
    query = f"SELECT {_HEAP} FROM entries {where} GROUP BY heap ORDER BY {order} LIMIT ? OFFSET ?"
    with _reading(directory, at_rest) as db:
        return _totals(db, where, values), [Heap(*row) for row in db.execute(query, (*values, *_slice(wanted)))]


def names_after(directory: str, name: str, wanted: Wanted, at_rest: bool = False) -> list[str]:
    """The next names from a to z. Raises `Unavailable`."""
    where, values = _where(wanted)
    clause = f"{where} AND name > ?" if where else "WHERE name > ?"
    query = f"SELECT DISTINCT name FROM entries {clause} ORDER BY name LIMIT ?"
    with _reading(directory, at_rest) as db:
        return [row[0] for row in db.execute(query, (*values, name, _slice(wanted)[0]))]


def pattern_of(text: str) -> str:
    """What a name has to fit, in the words of SQLite's GLOB: `*` alone stands for something else."""
    plain = "".join(f"[{each}]" if each in "[?" else each for each in folded(text))
    return plain if "*" in plain else f"*{plain}*"


def folded(text: str) -> str:
    """The name without what makes no difference: case, and which of the separators."""
    return text.lower().replace("_", "-").replace(".", "-")


def _where(wanted: Wanted) -> tuple[str, list[str]]:
    terms: list[tuple[str, str]] = []
    if wanted.exact:
        terms.append(("name = ?" if wanted.text else "coalesce(name, '') = ?", wanted.text))
    elif wanted.text:
        terms.append((_FITS, pattern_of(wanted.text)))
    if wanted.kind:
        terms.append(("kind = ?", wanted.kind))
    if wanted.index is not None:
        terms.append(("index_name = ?", wanted.index))
    clauses, values = [term for term, _ in terms], [value for _, value in terms]
    if wanted.indexes is not None:
        clauses.append(f"index_name IN ({', '.join('?' * len(wanted.indexes))})")
        values += sorted(wanted.indexes)
    return f"WHERE {' AND '.join(clauses)}" if clauses else "", values


def _order(wanted: Wanted, orders: dict[str, str]) -> str:
    column = wanted.order.removeprefix("-")
    down = (column != "name") != wanted.order.startswith("-")
    return orders[column].format("DESC" if down else "ASC")


def _slice(wanted: Wanted) -> tuple[int, int]:
    return min(max(wanted.limit, 0), MOST), max(wanted.skip, 0)


def _totals(db: sqlite3.Connection, where: str, values: list[str]) -> Totals:
    return Totals(*map(int, db.execute(f"{_TOTALS} {where}", values).fetchone()))


def _confirmed(directory: str, row: Listed) -> Listed:
    """The time of a page's file tells when it was last confirmed: the catalogue is not written for each 304."""
    if row.kind != PAGE:
        return row
    try:
        seconds = os.stat(os.path.join(directory, row.path), follow_symlinks=False).st_mtime
    except OSError:  # it has gone since, or was never more than recorded
        seconds = 0.0
    return evolve(row, confirmed_at=seconds)


@contextmanager
def _reading(directory: str, at_rest: bool) -> Iterator[sqlite3.Connection]:
    path = os.path.join(directory, CATALOGUE)
    # What nobody changes can be read without a file being made beside it, which the daemon might not be able to use.
    alone = at_rest and not (os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"))
    address = f"file:{quote(path)}?mode=ro{'&immutable=1' if alone else ''}"
    try:
        with closing(sqlite3.connect(address, timeout=_PATIENCE, uri=True, isolation_level=None)) as db:
            db.execute("BEGIN")  # one state for all questions
            yield db
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise Unavailable(f"{_BUSY}: {error}") from error
