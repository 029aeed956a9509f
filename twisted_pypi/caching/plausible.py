"""Whether an answer can be the whole file, where no digest tells: a login page must not be kept in its place. Pure."""

from __future__ import annotations

from twisted_pypi.caching.knowledge import Known
from twisted_pypi.fetching.transfer import TransferResult
from twisted_pypi.interfaces import Fetched

_PAGES = ("text/html", "application/xhtml+xml")


def contradiction(fetched: Fetched, known: Known) -> tuple[str, str, str] | None:
    """(what, expected, got) of an answer that is not the file; None when it may be. Not to be asked where a digest is.

    The size of a part says nothing of the whole.
    """
    length = fetched.body.length if fetched.status == 200 else None
    if None not in (length, known.size) and length != known.size:
        return "size", str(known.size), str(length)
    kind = page_type(fetched)
    return ("type", "a file", kind) if kind else None


def page_type(fetched: Fetched) -> str:
    """The media type of an answer that calls itself a page for browsers, "" for any other."""
    kind = fetched.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind if kind in _PAGES else ""


def undisputed(length: int | None, known: Known) -> int | None:
    """The length that clients may be told, of the one that upstream tells.

    None where the page tells another: only the digest, at the end, shows which of them is wrong.
    """
    return None if known.size is not None and length != known.size else length


def may_be_cut(known: Known, length: int | None, delimited: bool, result: TransferResult) -> bool:
    """Whether the end of the connection alone ended the body (RFC 9112, 6.3): such a file is passed on, not stored."""
    return not (result.verified or length is not None or known.size == result.size or delimited)
