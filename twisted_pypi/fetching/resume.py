"""What to ask for after a break, and what the answer means (RFC 9110, 13.1.5 and 14). Pure.

Laws: nothing is ever spliced. Further bytes are taken as they come only from a 206 for exactly the piece that is
missing, of a body of exactly the known length, which upstream itself (`If-Range`) or the file's digest ties to what we
have. A whole body is taken only after its beginning proved to be what we have. Everything else is another attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from enum import Enum

from twisted_pypi.fetching.integrity import verifiable
from twisted_pypi.records import PartialOrigin

BACKOFF = (0.5, 1.0, 2.0)
"""Seconds before each attempt that follows a break; there are no more than these without progress."""

PROGRESS = 64 << 10
"""So many bytes since the last break are progress, and the attempts are counted anew."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE)
_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')


class Verdict(Enum):
    """What to do with an answer. CONTINUE: its body goes on where we are. COMPARE: its body begins at the beginning.

    WHOLE: of no use; ask for everything next time. CHANGED: upstream has another file now.
    """

    CONTINUE = "continue"
    COMPARE = "compare"
    WHOLE = "whole"
    CHANGED = "changed"


def validator_of(headers: Mapping[str, str]) -> str:
    """What `If-Range` may hold after this answer (13.1.5): its strong ETag; if it has none, a strong date; else ""."""
    etag = headers.get("etag", "").strip()
    if etag:
        return etag if _ETAG.fullmatch(etag) else ""
    modified = headers.get("last-modified", "")
    return modified if _is_strong_date(modified, headers.get("date", "")) else ""


def question(position: int, validator: str, verifiable: bool) -> dict[str, str]:
    """The headers that ask for everything from `position`.

    `verifiable`: a known digest decides in the end, so that no validator is needed. With neither there are none: the
    whole has to be asked for, and compared.
    """
    if position == 0 or not (validator or verifiable):
        return {}
    wanted = {"Range": f"bytes={position}-"}
    return {**wanted, "If-Range": validator} if validator else wanted


def again(origin: PartialOrigin | None, index: str, hashes: Mapping[str, str], size: int) -> dict[str, str]:
    """The `question` for the rest of a file that was kept with `size` bytes; none if it is not worth it.

    The same index must be asked, and its pages say the same of the file as then: another digest is another file.
    """
    if origin is None or origin.index != index or origin.hashes != hashes:
        return {}
    return question(size, origin.validator, verifiable(hashes))


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int] | None:
    """(first, last, whole length) of a 206; None when it doesn't say so exactly (14.4)."""
    match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last, whole = map(int, match.groups())
    return (first, last, whole) if first <= last < whole else None


def judge(
    status: int,
    headers: Mapping[str, str],
    coming: int | None,
    asked: Mapping[str, str],
    position: int,
    length: int | None,
) -> Verdict:
    """What an answer to a `question` is good for.

    `coming` is the length of the answer's body, `length` that of the whole file, None while unknown.
    """
    if status == 200:
        return Verdict.COMPARE if coming is None or length in (None, coming) else Verdict.CHANGED
    plain = headers.get("content-encoding", "identity").lower() == "identity"
    same = _same(asked.get("If-Range", ""), headers.get("etag", ""))
    usable = status == 206 and "Range" in asked and plain and same
    return Verdict.CONTINUE if usable and _is_exact(headers, coming, position, length) else Verdict.WHOLE


def _is_exact(headers: Mapping[str, str], coming: int | None, position: int, length: int | None) -> bool:
    """Whether a 206 begins at `position` of a body of that length, and holds what it says."""
    part = content_range(headers)
    if part is None:
        return False
    first, last, whole = part
    return first == position and length in (None, whole) and coming in (None, last - first + 1)


def _same(validator: str, etag: str) -> bool:
    """Whether a 206 is of the body that was asked for: a server that ignores `If-Range` gives itself away here."""
    return not validator.startswith('"') or not etag or etag.strip() == validator


def _is_strong_date(modified: str, date: str) -> bool:
    """8.8.2.2: the answer was made at least a second after the modification, by the same clock."""
    try:
        return parsedate_to_datetime(date) - parsedate_to_datetime(modified) >= timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):
        return False
