"""The `Cache-Status` header (RFC 9211) of an answer. Pure.

"hit" says that the answer was sent without waiting for upstream, fresh or stale; anything else is "fwd". The value is
a Structured Fields list (RFC 8941): what a parent cache sent comes first, ours last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from twisted_pypi.answers import CacheState, Provenance

NAME = "pypicache"

MAX_DETAIL = 200
MAX_PARENT = 2000

_FORWARDED = {
    CacheState.MISS: "miss",
    CacheState.EXPIRED: "stale",
    CacheState.REVALIDATED: "stale",
    CacheState.STALE: "stale",
    CacheState.BYPASS: "bypass",
}

_STALE = frozenset({CacheState.STALE.value, CacheState.UPDATING.value})
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')

_MAX_INTEGER = 999_999_999_999_999  # RFC 8941, 3.3.1


def cache_status(provenance: Provenance) -> str:
    """The header's value, printable ASCII."""
    ours = "; ".join([NAME, *_parameters(provenance)])
    parent = _printable(provenance.parent).strip(" ,")
    return f"{parent}, {ours}" if parent and len(parent) <= MAX_PARENT else ours


def is_stale(headers: Mapping[str, str]) -> bool:
    """Whether the cache that sent these headers (names in lower case) says that its answer is stale.

    It does with a negative `ttl` in the last member of the list (RFC 9211, 2.4), unless it had just asked, or in a word
    of nginx's.
    """
    if headers.get("x-pypi-cache", "").strip().upper() in _STALE:
        return True
    nearest = _QUOTED.sub("", headers.get("cache-status", "")).rpartition(",")[2]
    told = dict(parameter.strip().partition("=")[::2] for parameter in nearest.split(";"))
    return told.get("ttl", "").startswith("-") and told.get("fwd-status") not in ("200", "304")


def _parameters(provenance: Provenance) -> list[str]:
    forwarded = _forwarded(provenance)
    parameters = [f"fwd={forwarded}" if forwarded else "hit"]
    if forwarded:
        status = 304 if provenance.state is CacheState.REVALIDATED else provenance.upstream_status
        parameters += [f"fwd-status={status}"] if status is not None else []
    if provenance.ttl is not None and math.isfinite(provenance.ttl):
        parameters.append(f"ttl={max(-_MAX_INTEGER, min(_MAX_INTEGER, math.floor(provenance.ttl)))}")
    if forwarded:
        parameters += ["collapsed"] if provenance.collapsed else []
        parameters += ["stored"] if provenance.stored else []
    detail = ": ".join(filter(None, (provenance.index, provenance.detail)))
    return parameters + ([f"detail={_string(detail)}"] if detail else [])


def _forwarded(provenance: Provenance) -> str:
    """The `fwd` reason; "" when upstream was not waited for (a stale copy that was sent at once is a hit)."""
    waited = provenance.upstream_status is not None or provenance.upstream_seconds is not None
    if provenance.state is CacheState.STALE and not waited:
        return ""
    return _FORWARDED.get(provenance.state, "")


def _string(text: str) -> str:
    """An sf-string (RFC 8941, 3.3.3)."""
    escaped = _printable(text[:MAX_DETAIL]).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _printable(text: str) -> str:
    return "".join(character if " " <= character <= "~" else "?" for character in text)
