"""Figures as people read them. Pure."""

from __future__ import annotations


def size_text(amount: float | None) -> str:
    """Bytes: "1.5 GiB"; exact up to 1023; "?" for None."""
    if amount is None:
        return "?"
    value, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1023.95:  # what would be shown as 1024
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


def duration_text(seconds: float | None) -> str:
    """A span in its largest fitting unit: "12 s", "5 min", "3 h", "2 d"; "–" for None."""
    if seconds is None:
        return "–"
    for unit, length, below in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < below:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def ago_text(seconds: float | None) -> str:
    """How long something is in the past: "5 min ago"; "–" for None."""
    return "–" if seconds is None else f"{duration_text(seconds)} ago"


def share_text(share: float | None) -> str:
    """A share of 1: "97.3 %", "–" for None. Never rounded up to all, nor down to nothing."""
    if share is None:
        return "–"
    percent = 100 * share
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %"


def count_text(count: int) -> str:
    """A whole number, with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
