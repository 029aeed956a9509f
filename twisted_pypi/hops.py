"""Through which caches of our kind a request has come: `CDN-Loop` (RFC 8586).

Daemons that are each other's mirrors would ask in a circle, and each wait for the other. Every request upstream names
the daemons it has come through, ours last; whoever finds itself there answers 508, and another place is asked.

A fetch is shared by many requests and begun by one: its hops are that one's, and come along in the context in which
the coroutines run (PEP 567), as traces do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar, copy_context

from twisted_pypi.errors import Looped

FIELD = "cdn-loop"
MOST = 8
"""Caches that a request may have come through: no office has so many behind each other."""

_HOP = re.compile(r"pypicache *; *id=([0-9a-f]{16})(?![0-9a-f])")
_passed: ContextVar[tuple[str, ...]] = ContextVar("passed", default=())


def after(field: str, work: Callable[[], None]) -> None:
    """Do the work of a request that came with this value of the header, and all that it begins."""
    context = copy_context()
    context.run(_passed.set, tuple(_HOP.findall(field))[: MOST + 1])
    context.run(work)


def passed() -> bool:
    """Whether what is being done has come through other caches."""
    return bool(_passed.get())


def refuse_loop(identity: str) -> None:
    """Raises `Looped` when the request at hand has come through the daemon with this identity, or through too many."""
    passed = _passed.get()
    if identity in passed:
        raise Looped("This cache has asked for this itself, by way of another cache")
    if len(passed) > MOST:
        raise Looped(f"This has come through more than {MOST} caches")


def headers(identity: str) -> dict[str, str]:
    """What tells upstream of us, and of those before us; nothing where we have no identity (16 hexadecimal digits)."""
    if not identity:
        return {}
    return {"CDN-Loop": ", ".join(f"pypicache;id={hop}" for hop in (*_passed.get(), identity))}
