"""The places that settings name, as fetching knows them: each index and each of its mirrors, with its own rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from twisted_pypi.environment import proxy_rules
from twisted_pypi.fetching.failover import Place, Places
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.fetching.policy import IndexRules
from twisted_pypi.fetching.proxies import ProxyRules
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.pypi.mirroring import mirrors_of
from twisted_pypi.pypi.routes import origins_of
from twisted_pypi.settings import Index, Remote, Settings
from twisted_pypi.urls import Origin, origin_of


def rules_of(index: Index, tls: Mapping[TlsIdentity, TlsPolicy], environment: ProxyRules) -> Iterator[IndexRules]:
    """Those of an index and of its mirrors. Credentials and TLS of the index are not for these, its proxy is."""
    proxies = environment if index.proxy is None else proxy_rules(index.proxy)
    yield IndexRules(
        index.name, index.url, origins_of(index), index.credential, tls[index.tls], index.absent_status, proxies
    )
    for mirror in index.mirrors:
        yield IndexRules(
            _name(index, mirror),
            mirror.url,
            mirror_origins(mirror),
            mirror.credential,
            absent_status=index.absent_status,
            proxies=proxies,
            index=index.name,
        )


def places_of(settings: Settings) -> dict[str, Places]:
    """All places of each index that has several, by its name."""
    return {
        index.name: Places(
            (
                Place(index.name),
                *(
                    Place(_name(index, remote), mirror)
                    for remote, mirror in zip(index.mirrors, mirrors_of(index), strict=True)
                ),
            ),
            index.absent_status,
            final=index is settings.indexes[-1],
        )
        for index in settings.indexes
        if index.mirrors
    }


def replaceable(settings: Settings) -> frozenset[Origin]:
    """The origins of indexes that have mirrors, and of these."""
    mirrored = [index for index in settings.indexes if index.mirrors]
    own = (origins_of(index) for index in mirrored)
    theirs = (mirror_origins(mirror) for index in mirrored for mirror in index.mirrors)
    return frozenset().union(*own, *theirs)


def mirror_origins(mirror: Remote) -> frozenset[Origin]:
    """The configured origins of a mirror."""
    return frozenset(map(origin_of, filter(None, (mirror.url, mirror.files_url))))


def _name(index: Index, mirror: Remote) -> str:
    return f"{index.name} at {mirror.url}"
