"""How many files of the cache stay open between two requests for them."""

from __future__ import annotations

import resource

_MOST_FILES, _MOST_PAGES = 256, 64


def kept_files(limit: int) -> int:
    """Of files, where the process may have `limit` descriptors: clients and upstreams need most of them."""
    return min(_MOST_FILES, limit // 8)


def kept_pages(limit: int) -> int:
    """Likewise of pages."""
    return min(_MOST_PAGES, limit // 32)


def descriptor_limit() -> int:
    """What the process may have open as things are."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft
