"""How the parts of an index lie at its mirrors."""

from __future__ import annotations

from twisted_pypi.mirrors import Mirror
from twisted_pypi.pypi.specs import MirroredSpec
from twisted_pypi.urls import origin_of


def mirrors_of(index: MirroredSpec) -> tuple[Mirror, ...]:
    """The mirrors of an index, in order: pages are below the one's URL as below the other's, so is what is beside."""
    root = root_of(index.url)
    files = index.files_url if index.files_url != f"{origin_of(index.url)}/" else root
    return tuple(
        Mirror(
            (
                (below(index.url), below(mirror.url)),
                (f"{below(files)}packages/", f"{below(mirror.files_url or root_of(mirror.url))}packages/"),
                (root, root_of(mirror.url)),
            )
        )
        for mirror in index.mirrors
    )


def root_of(index_url: str) -> str:
    """Where an index has its other APIs: beside `simple/`, else at its origin."""
    url = below(index_url)
    return url.removesuffix("simple/") if url.endswith("/simple/") else f"{origin_of(url)}/"


def below(url: str) -> str:
    """The URL as a directory."""
    return f"{url.rstrip('/')}/"
