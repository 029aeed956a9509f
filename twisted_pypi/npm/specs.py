"""A registry as configured, as far as routes go."""

from __future__ import annotations

from typing import Protocol


class RegistrySpec(Protocol):
    """One npm registry, as configured."""

    @property
    def name(self) -> str:
        """Its name, other than that of any index."""

    @property
    def url(self) -> str:
        """Where it is, without credentials, with its final slash."""

    @property
    def ttl(self) -> float:
        """For how many seconds its documents are fresh."""

    @property
    def not_found_ttl(self) -> float:
        """For how many seconds it counts that it lacks a package."""

    @property
    def absent_status(self) -> frozenset[int]:
        """What it answers where it lacks a package."""
