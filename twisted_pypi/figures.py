"""The indexes and npm's registries as the status page shows them."""

from __future__ import annotations

from collections.abc import Iterator

from twisted_pypi.settings import Index, Settings
from twisted_pypi.status.visible import Source
from twisted_pypi.urls import origin_of


def sources_of(settings: Settings) -> tuple[Source, ...]:
    """All of them, in the order in which they are asked."""
    indexes = [Source(index.name, tuple(_places(index)), _is_private(index)) for index in settings.indexes]
    upstreams = [registry.upstream for registry in settings.npm]
    return *indexes, *(Source(each.name, (("npm", str(origin_of(each.url))),), _is_private(each)) for each in upstreams)


def _places(index: Index) -> Iterator[tuple[str, str]]:
    """(role, origin), one role for each origin."""
    if index.path:
        return
    roles: dict[str, str] = {str(origin_of(index.url)): "index"}
    roles.setdefault(str(origin_of(index.files_url)), "files")
    for mirror in index.mirrors:
        for url in filter(None, (mirror.url, mirror.files_url)):
            roles.setdefault(str(origin_of(url)), "mirror")
    yield from ((role, origin) for origin, role in roles.items())


def _is_private(index: Index) -> bool:
    """Whether not everybody could read it as we do."""
    secrets = (index.credential, *(mirror.credential for mirror in index.mirrors))
    return bool(index.path or index.tls.certificate or any(secret is not None for secret in secrets))
