"""What the limit of open files allows."""

from __future__ import annotations

import resource

from twisted.logger import Logger

from twisted_pypi.settings import Settings
from twisted_pypi.storage.kept_open import kept_files, kept_pages
from twisted_pypi.web.admission import OWN_DESCRIPTORS, UNLIMITED, connections_for

log = Logger(namespace="pypicache")


def connection_limit(settings: Settings, descriptors: int, *, worker: bool = False) -> int:
    """How many connections this process admits: its share of what was asked for, else what open files allow."""
    wanted, kept = settings.max_connections, kept_files(descriptors) + kept_pages(descriptors)
    if wanted is None:
        return connections_for(descriptors, settings.max_fetches, kept)
    if wanted > descriptors - OWN_DESCRIPTORS - kept:
        log.warn(
            "--max-connections {wanted} is more than the limit of open files ({descriptors}) allows",
            wanted=wanted,
            descriptors=descriptors,
        )
    if settings.workers == 1:
        return wanted
    each = max(1, wanted // (2 * settings.workers))
    return each if worker else max(1, wanted - settings.workers * each)


def kept_connections(descriptors: int) -> int:
    """How many idle connections to one upstream host are worth their descriptors."""
    return max(2, descriptors // 16)


def raise_descriptor_limit() -> int:
    """Every client and every upstream connection takes a descriptor: use all that the system allows, and tell it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        log.warn("the limit of open files stays as it is: {error}", error=error)
        hard = soft
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard
