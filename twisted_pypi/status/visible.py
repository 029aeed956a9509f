"""Who hears of what.

Laws: an index is *private* unless anybody could read it as we do: one with credentials or a client certificate (its own
or a mirror's) is, and so is a local directory. Of a private index only administrators hear names: of projects, files,
origins, and why a fetch failed. What can't be told to be of a public one counts as private.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

PRIVATE = "private"
"""What is shown in the place of a name."""


@frozen
class Source:
    """An index as far as it is shown: (role, origin) of each place of it, in the order in which they are asked.

    Roles are "index", "files" and "mirror", "npm" for a registry; a local directory has no places.
    """

    name: str
    places: tuple[tuple[str, str], ...]
    private: bool


@frozen
class Audience:
    """One kind of reader: administrators (`all_seeing`), or anybody, who hears of the indexes in `public` alone."""

    all_seeing: bool
    public: frozenset[str]

    def hears_of(self, index: str) -> bool:
        """Whether names of this index are told."""
        return self.all_seeing or index in self.public

    def hears_of_any(self, indexes: Iterable[str]) -> bool:
        """Whether names are told that are of one of these indexes, nobody knows of which."""
        indexes = tuple(indexes)
        return self.all_seeing or (bool(indexes) and self.public.issuperset(indexes))


def audience(sources: Iterable[Source], all_seeing: bool) -> Audience:
    """Who may see what of these indexes."""
    return Audience(all_seeing, frozenset(source.name for source in sources if not source.private))
