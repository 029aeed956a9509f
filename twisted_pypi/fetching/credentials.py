"""Which request carries which credentials. They go to the index's own URLs, and with links that its pages named."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

from twisted_pypi.urls import is_below, key_of, origin_of


class Credential(Protocol):
    """What an index wants: a bearer token, or user name and password. Its `repr` shows neither."""

    @property
    def username(self) -> str:
        """May be empty."""

    @property
    def password(self) -> str:
        """May be empty."""

    @property
    def token(self) -> str:
        """If it is not empty, it is used and the others are not."""


def authorization(credential: Credential | None, index_url: str, url: str, named: bool) -> str | None:
    """The value of the `Authorization` header of a request for `url`, or None.

    It is given below the index's URL, and for a URL at its origin that the index's own page `named`. Basic is UTF-8
    (RFC 7617), a token is a bearer's (RFC 6750).
    """
    if credential is None or not _belongs(index_url, url, named):
        return None
    if credential.token:
        return f"Bearer {credential.token}"
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {b64encode(pair).decode('ascii')}"


def _belongs(index_url: str, url: str, named: bool) -> bool:
    try:
        key_of(url)  # refuses `..` in any encoding, which would climb out of the index's path
        return is_below(url, index_url) or (named and origin_of(url) == origin_of(index_url))
    except ValueError:
        return False
