"""What can go wrong, as the floors below `web` say it.

`CacheError` and its kinds reach the client; `web.responding` alone turns them into statuses.
`UpstreamFailed` is between fetching and caching: caching answers it with a stale copy or `Unavailable`.
"""

from __future__ import annotations

from attrs import define, field

from twisted_pypi.answers import Provenance


@define(slots=False)
class CacheError(Exception):
    """A request that can't be answered with content.

    `reason` is one sentence for the client; `provenance` how it came about, where upstream or the cache said so.
    """

    reason: str
    provenance: Provenance | None = field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.reason


@define(slots=False)
class BadPath(CacheError):
    """The request is malformed: 400."""


@define(slots=False)
class Absent(CacheError):
    """There is no such thing, here or upstream: 404."""


@define(slots=False)
class Forbidden(CacheError):
    """The daemon will not fetch this for anybody: 403."""


@define(slots=False)
class Unavailable(CacheError):
    """Upstream can't be had and no copy is at hand: 503.

    `retry_after` is in seconds; None (offline) sends no `Retry-After`. `late`: upstream is being waited for still.
    """

    retry_after: int | None = 2
    late: bool = False


@define(slots=False)
class Looped(CacheError):
    """The request has passed here before, on its way from cache to cache: 508."""


@define(slots=False)
class UpstreamFailed(Exception):
    """One fetch that gave no usable answer.

    `url` carries no credentials. `status` is upstream's, if it sent one. `retry_after` is upstream's own, in
    seconds. `unreachable` tells a failure of the origin (connect, TLS, header timeout, 5xx), which the breaker
    counts, from one of this answer alone (4xx, unparsable or broken body).
    """

    reason: str
    url: str
    status: int | None = None
    retry_after: int | None = None
    unreachable: bool = False

    @property
    def retry_in(self) -> int:
        """Seconds a client is told to wait: upstream's own wish, at most 30; else 2, since pip sleeps through it."""
        return 2 if self.retry_after is None else max(1, min(self.retry_after, 30))

    def __str__(self) -> str:
        return f"{self.reason} ({self.url})"


@define(slots=False)
class LedAway(UpstreamFailed):
    """A redirect out of the index, not followed: below `other`'s URL, the name of another index; "": to nobody's."""

    other: str = ""


@define(slots=False)
class ConfigError(Exception):
    """An option that can't be used; the message names the option."""

    option: str
    problem: str

    def __str__(self) -> str:
        return f"{self.option}: {self.problem}" if self.option else self.problem
