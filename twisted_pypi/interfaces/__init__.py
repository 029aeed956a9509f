"""The contracts between the rooms, each documented once, here.

Everything that is `async` may be cancelled: the waiter leaves, the work that others share goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from twisted_pypi.events import Event
from twisted_pypi.interfaces.listing import Inventory, Listing
from twisted_pypi.interfaces.purging import Purger
from twisted_pypi.interfaces.serving import Files, Mount, Pages
from twisted_pypi.interfaces.storage import Facts, FileStore, PageStore, PartialFile, Reader, Store
from twisted_pypi.interfaces.upstream import Fetched, FetchedBody, Upstream

__all__ = [
    "Facts",
    "Fetched",
    "FetchedBody",
    "FileStore",
    "Files",
    "Inventory",
    "Listing",
    "Mount",
    "Observer",
    "PageStore",
    "Pages",
    "PartialFile",
    "Purger",
    "Reader",
    "Store",
    "Upstream",
    "Workers",
]

T = TypeVar("T")

Observer = Callable[[Event], None]
"""Is told every event, in the reactor thread; must not block and must not raise."""


class Workers(Protocol):
    """Bounded threads for what would stall the reactor."""

    def run(self, work: Callable[..., T], *args: object) -> Awaitable[T]:
        """`work(*args)` in a thread; its result or exception. Cancelling stops the waiting, not the work."""
