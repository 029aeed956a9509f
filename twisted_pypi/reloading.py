"""SIGHUP: what the file, its secrets and certificates say now comes into force, and no connection is dropped.

Command line and environment stay as they were at the start. Everything is read, checked and made first; a
`ConfigError` anywhere is one line in the log and leaves the old settings in force. Then, in one turn of the reactor,
the objects that were made at the start get their new values (`assembly.Parts.use`):

- mounts, access rules and tokens are values of the resource, of which a new one takes the old one's place: a request
  that has begun holds on to its own, the next one meets the new;
- store, caching and upstream stay, so a page's fetch and a file's transfer keep their one owner. Who asks after the
  change joins what was begun before it: a transfer by the file's key, a page's fetch if the same indexes are asked;
- sockets, directory and whatever else was bound or opened at the start stay as they are, whatever the file says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from attrs import define, evolve, field, fields
from twisted.logger import Logger

from twisted_pypi.errors import ConfigError
from twisted_pypi.preflight import check_upstream
from twisted_pypi.settings import Loaded, Settings

log = Logger(namespace="pypicache")

Reread = Callable[[], Loaded]
"""Reads all sources anew. Raises `ConfigError`."""

RELOADED = frozenset(
    {
        "htpasswd",
        "admin_token",
        "allow",
        "base_url",
        "ca_file",
        "cache_size",
        "connect_timeout",
        "grace",
        "inactive",
        "index_ttl",
        "indexes",
        "insecure_host",
        "log_level",
        "max_client_connections",
        "max_fetches",
        "max_file_size",
        "max_stale",
        "memory",
        "min_free",
        "not_found_ttl",
        "npm",
        "offline",
        "proxies",
        "read_timeout",
        "stale_wait",
        "tls_certificate",
        "trusted_proxy",
    }
)
"""The attributes of `Settings` that are brought into force, by `assembly.Parts.use` and the listeners.

All others need a restart; so does TLS where there was none, or none where there was.
"""


Try = Callable[[Settings, Settings], Awaitable[tuple[str, ...]]]
"""Tries what can only be told by contacting somebody, of new settings (first) beside those in force; warnings.

Raises `ConfigError`.
"""


async def _untried(settings: Settings, before: Settings) -> tuple[str, ...]:
    return ()


@define
class Reloader:
    """The settings in force, and how to replace them. `use` raises `ConfigError` with nothing changed."""

    settings: Settings
    reread: Reread
    use: Callable[[Settings], None]
    attempt: Try = _untried
    _times: int = field(default=0, init=False)

    async def reload(self) -> None:
        """Read anew and bring into force what can be, unless it is to be read once more meanwhile. Never raises."""
        self._times = times = self._times + 1
        try:
            loaded = self.reread()
            check_upstream(loaded.settings)
            warnings = await self.attempt(loaded.settings, self.settings)
            if times != self._times:
                return
            wanted = changed(self.settings, loaded.settings)
            fixed = {name: getattr(self.settings, name) for name in wanted if self._is_fixed(name, loaded.settings)}
            settings = evolve(loaded.settings, **fixed)
            self.use(settings)
        except ConfigError as error:
            log.error("the configuration stays as it was: {problem}", problem=str(error))
            return
        except Exception:
            log.failure("the configuration stays as it was")
            return
        self.settings = settings
        self._tell((*loaded.warnings, *warnings), [name for name in wanted if name not in fixed], list(fixed))

    def _is_fixed(self, name: str, new: Settings) -> bool:
        return name not in RELOADED or (
            name == "tls_certificate" and None in (self.settings.tls_certificate, new.tls_certificate)
        )

    def _tell(self, warnings: Iterable[str], taken: list[str], kept: list[str]) -> None:
        """What became of it, by name: values may be secret."""
        log.info("the configuration was read anew; changed: {names}", names=_listed(taken) or "nothing")
        if kept:
            log.warn("needs a restart, stays as it was: {names}", names=_listed(kept))
        for warning in warnings:
            log.warn("{warning}", warning=warning)


def changed(old: Settings, new: Settings) -> list[str]:
    """The attributes in which the two differ."""
    names = [attribute.name for attribute in fields(Settings)]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _listed(names: list[str]) -> str:
    return ", ".join(name.replace("_", "-") for name in names)
