"""What the headers of an answer say. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from math import ceil

from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse

LONGEST_VALIDATOR = 1000
"""Characters of an ETag or a Last-Modified."""

_VALIDATORS = ("etag", "last-modified")


def headers_of(headers: Headers, length: int | None) -> dict[str, str]:
    """Lower-case names to first values; `cache-status`, a list by RFC 9211, joined; validators of sane length alone,
    for each is stored and sent back.

    `length` (bytes) is put in as `content-length`, which Twisted keeps to itself.
    """
    result = {} if length is None else {"content-length": str(length)}
    for raw_name, raw_values in headers.getAllRawHeaders():
        name = raw_name.decode("latin-1").lower()
        values = [value.decode("latin-1") for value in raw_values]
        if name not in _VALIDATORS or (len(values[0]) <= LONGEST_VALIDATOR and values[0].isprintable()):
            result[name] = ", ".join(values) if name == "cache-status" else values[0]
    return result


def length_of(response: IResponse, method: str) -> int | None:
    """The Content-Length in bytes, of a HEAD's answer that of the body that a GET would have; None when unknown."""
    if method != "HEAD":
        return None if response.length is UNKNOWN_LENGTH else int(response.length)
    value = (response.headers.getRawHeaders("content-length") or [""])[0]
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None


def retry_after(value: str | None, now: float) -> int | None:
    """`Retry-After` in whole seconds, from either of its forms (RFC 9110, 10.2.3); None when it is neither."""
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:10]), 1 << 31)
    try:
        return max(0, ceil(parsedate_to_datetime(text).timestamp() - now))
    except (ValueError, TypeError, OverflowError):
        return None
