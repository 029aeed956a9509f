"""Where a redirect leads, and whether to follow it. Pure."""

from __future__ import annotations

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.urls import origin_of, resolve, without_secrets

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def target_of(url: str, location: str | None) -> str:
    """The absolute URL, without fragment and user info, that `url` redirects to (RFC 9110, 10.2.2).

    Raises `UpstreamFailed` for a missing or unusable location and for a way from https to http.
    """
    target = resolve(url, location) if location else None
    if target is None:
        raise UpstreamFailed("redirects to no usable URL", without_secrets(url))
    if origin_of(url).scheme == "https" and origin_of(target).scheme != "https":
        raise UpstreamFailed("redirects from https to http", without_secrets(url))
    return target
