"""Small durable notes: values that count for a subject until a time. A table of the catalogue."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable


def marks_of(db: sqlite3.Connection, kind: str, subject: str) -> dict[str, float]:
    """The values of the subject, each with the time (seconds since the epoch) until which it counts."""
    query = "SELECT value, until FROM marks WHERE kind = ? AND subject = ?"
    return dict(db.execute(query, (kind, subject)))


def set_mark(db: sqlite3.Connection, kind: str, subject: str, value: str, until: float) -> None:
    """Add a value to those of the subject, or prolong it."""
    db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?)", (kind, subject, value, until))


def forget_past(db: sqlite3.Connection, now: float) -> int:
    """Drop all values that count no more; how many."""
    return db.execute("DELETE FROM marks WHERE until < ?", (now,)).rowcount


def forget_marks(db: sqlite3.Connection, kind: str, subjects: Iterable[str]) -> None:
    """Drop all values of the subjects."""
    db.executemany("DELETE FROM marks WHERE kind = ? AND subject = ?", ((kind, subject) for subject in subjects))
