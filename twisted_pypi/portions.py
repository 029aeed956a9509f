"""What each part of the daemon takes of the settings."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from attrs import evolve
from twisted.logger import LogLevel

from twisted_pypi.caching.pages import PagePolicy
from twisted_pypi.fetching.identity import COMMON
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.fetching.upstream import UpstreamSettings
from twisted_pypi.places import replaceable, rules_of
from twisted_pypi.pypi.mount import IndexMount, NamedMount
from twisted_pypi.settings import Index, Settings
from twisted_pypi.storage.limits import Limits
from twisted_pypi.urls import origin_of

IDENTITY = token_hex(8)
"""Which daemon this is, to those that it asks and that may ask it."""


def named_mounts(indexes: tuple[Index, ...]) -> tuple[NamedMount, ...]:
    """Each index of the file alone, below its name; one that is only an address has its URL for a name.

    Whoever asks there means this index, whatever names it is for elsewhere.
    """
    return tuple(
        NamedMount(index.name, IndexMount((evolve(index, routes=()),), index is indexes[-1], len(indexes) > 1))
        for index in indexes
        if index.name != index.url
    )


def upstream_settings(settings: Settings) -> UpstreamSettings:
    """How upstream is asked, and with what rules for each index. Raises `ConfigError` for unusable certificates."""
    tls = {
        identity: TlsPolicy(settings.ca_file, settings.insecure_host, identity)
        for identity in {COMMON, *(index.tls for index in settings.upstreams)}
    }
    return UpstreamSettings(
        settings.connect_timeout,
        settings.read_timeout,
        settings.max_fetches,
        tls[COMMON],
        {
            rules.name: rules
            for index in settings.upstreams
            if not index.path
            for rules in rules_of(index, tls, settings.proxies)
        },
        replaceable(settings),
        IDENTITY,
    )


def page_policy(settings: Settings) -> PagePolicy:
    """How pages are kept fresh."""
    return PagePolicy(settings.stale_wait, settings.max_stale, settings.offline)


def making_metadata(settings: Settings) -> frozenset[str]:
    """The indexes for which `.metadata` is made."""
    return frozenset(index.name for index in settings.indexes if index.metadata)


def origins(settings: Settings) -> frozenset[str]:
    """The origins that are configured, as in "https://index.example"."""
    fetched = [index for index in settings.indexes if not index.path]
    urls = {url for index in fetched for url in (index.url, index.files_url)}
    urls |= {url for index in fetched for mirror in index.mirrors for url in (mirror.url, mirror.files_url)}
    urls |= {f"https://{host}/" for index in fetched for host in index.file_hosts}
    return frozenset(str(origin_of(url)) for url in urls if url)


def log_level(settings: Settings) -> Any:
    """From which level on events are logged (a constant of `LogLevel`)."""
    return LogLevel.levelWithName(settings.log_level)


def store_limits(settings: Settings) -> Limits:
    """What the store may take up."""
    return Limits(
        cache_size=settings.cache_size,
        max_file_size=settings.max_file_size,
        min_free=settings.min_free,
        memory=settings.memory,
        inactive=settings.inactive,
    )
