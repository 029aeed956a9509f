"""Conditional requests (RFC 9110, 13) against a strong entity tag of ours. Pure.

An entity tag is given with its quotes (`"abc"`), "" where the answer has none.
"""

from __future__ import annotations

import re

_TAG = re.compile(r'(?:W/)?("[^"]*")')

MAX_LENGTH = 8192
"""Characters of a header that are looked at."""


def none_match(header: str, etag: str) -> bool:
    """Whether `If-None-Match` names the tag, by weak comparison (13.1.2): the answer is then 304.

    A `*` matches anything that exists, also without a tag. A malformed header matches nothing.
    """
    if not header:
        return False
    if header.strip() == "*":
        return True
    return bool(etag) and etag in _TAG.findall(header[:MAX_LENGTH])


def range_applies(if_range: str, etag: str) -> bool:
    """Whether `Range` is to be obeyed under this `If-Range` ("" for none), by strong comparison (13.1.5).

    A date never applies: no answer of ours has a Last-Modified.
    """
    value = if_range.strip()
    return not value or (value == etag and value.startswith('"'))
