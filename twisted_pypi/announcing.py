"""What the daemon says of itself in the log when it starts, and in a line later on."""

from __future__ import annotations

from twisted_pypi import __version__
from twisted_pypi.settings import Settings
from twisted_pypi.units import shown_size


def start_block(settings: Settings, addresses: list[str], entries: int, size: int) -> list[str]:
    """What an administrator wants to see first: version, addresses, upstreams, directory, what was found in it."""
    lines = [f"pypicache {__version__} listening on {address}" for address in addresses]
    never = " (offline: never contacted)" if settings.offline else ""
    for index in settings.indexes:
        if index.path:
            lines.append(f"directory {index.path} as {index.name}")
            continue
        files = f", files from {index.files_url}" if index.bound else ""
        lines.append(f"upstream {index.url}{files}{never}")
    lines += [f"npm {registry.upstream.url} below {registry.path}{never}" for registry in settings.npm]
    lines.append(f"cache {settings.cache_dir}: {holdings(settings, entries, size)}")
    return lines


def holdings(settings: Settings, entries: int, size: int) -> str:
    """What the cache holds of what it may."""
    limit = shown_size(settings.cache_size) if settings.cache_size else "files are not stored"
    return f"{entries} entries, {shown_size(size)} of {limit}"
