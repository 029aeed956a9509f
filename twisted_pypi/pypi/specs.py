"""Indexes and their mirrors as configured, as far as routes go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class MirrorSpec(Protocol):
    """A mirror, as configured."""

    @property
    def url(self) -> str:
        """Where its pages are."""

    @property
    def files_url(self) -> str:
        """Where its `packages/` is, "" if that is beside its pages."""


class MirroredSpec(Protocol):
    """The places of an index, as configured."""

    @property
    def url(self) -> str:
        """Where its pages are, without credentials."""

    @property
    def files_url(self) -> str:
        """Where its `packages/` is, without credentials."""

    @property
    def mirrors(self) -> Sequence[MirrorSpec]:
        """Further places of the same index, in the order in which they are tried."""


class IndexSpec(MirroredSpec, Protocol):
    """One index, as configured."""

    @property
    def name(self) -> str:
        """The index's name."""

    @property
    def bound(self) -> bool:
        """Whether its pages may name files only at the origins of these URLs and at `file_hosts`."""

    @property
    def file_hosts(self) -> frozenset[str]:
        """Further hosts of files: "host" or "host:port"."""

    @property
    def ttl(self) -> float:
        """For how many seconds its pages are fresh."""

    @property
    def not_found_ttl(self) -> float:
        """For how many seconds it counts that it lacks a page."""

    @property
    def absent_status(self) -> frozenset[int]:
        """What it answers where it lacks a page."""

    @property
    def public(self) -> bool:
        """Whether paths at `files_url` carry digests."""

    @property
    def routes(self) -> tuple[str, ...]:
        """Patterns (`names.matches`) of the names that it is for; none: those that no other claims."""

    @property
    def path(self) -> str:
        """The local directory that is the index, "" if none is."""
