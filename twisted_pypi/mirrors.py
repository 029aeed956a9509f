"""Where the URLs of an index are at a mirror of it, and back. Pure.

Whatever is at a mirror is known by the URL that it has, or would have, at the index itself: keys, digests and links are
those of the index, wherever they came from.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen


@frozen
class Mirror:
    """`pairs` are URL prefixes of the index, each with its counterpart at the mirror; all end with a slash.

    The longest prefix rules.
    """

    pairs: tuple[tuple[str, str], ...]

    def there(self, url: str) -> str | None:
        """The URL at the mirror, without its query: a signature is for the place that gave it. None if nothing is."""
        found = max(
            (pair for pair in self.pairs if url.startswith(pair[0])), key=lambda pair: len(pair[0]), default=None
        )
        return None if found is None else found[1] + url[len(found[0]) :].partition("?")[0]


def canonical(mirrors: Iterable[Mirror], url: str) -> str:
    """The URL that the index itself has for a URL at one of its mirrors; any other stays as it is.

    So does one with a query: by a signature a file can be had there alone.
    """
    if "?" in url:
        return url
    ours, theirs = "", ""
    for mirror in mirrors:
        for here, there in mirror.pairs:
            # A prefix of the index's own leads to itself, so that a mirror that lies around it takes nothing away.
            for prefix in (here, there):
                if len(prefix) > len(theirs) and url.startswith(prefix):
                    ours, theirs = here, prefix
    return ours + url[len(theirs) :]
