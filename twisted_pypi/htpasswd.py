"""Who may log in: Apache's htpasswd files, of which bcrypt is the one scheme that is taken. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from attrs import field, frozen

MAX_COST = 15
"""bcrypt's cost, at most: each step doubles the time of a check, which with this takes two seconds or so."""

MAX_NAME = 255
"""Bytes of a user name (as Apache's htpasswd)."""

_HASH = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_ANY_SCHEME = re.compile(r"\$2[aby]?\$")


@frozen
class Accounts:
    """bcrypt's hash of each user's password, both as bytes; names are UTF-8. Nothing of it shows in the repr."""

    hashes: Mapping[bytes, bytes] = field(factory=dict, repr=False)

    @property
    def nobody(self) -> bytes:
        """A hash of no password, with which a check takes as long as with most of the others."""
        costs = Counter(hashed[4:6] for hashed in self.hashes.values())
        cost = costs.most_common(1)[0][0] if costs else b"10"
        return b"$2b$%s$%s" % (cost, b"." * 53)


def accounts_of(text: str) -> Accounts:
    """The accounts of a file: `name:hash` in each line, but for empty ones and those that begin with `#`.

    Raises `ValueError` with the number of the first line that can't be used; the message repeats nothing of it.
    """
    hashes: dict[bytes, bytes] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            name, hashed = _account(number, line)
            if name in hashes:
                raise ValueError(f"line {number}: this user is there already")
            hashes[name] = hashed
    if not hashes:
        raise ValueError("holds no user: htpasswd -nB NAME makes a line")
    return Accounts(hashes)


def _account(number: int, line: str) -> tuple[bytes, bytes]:
    user, colon, hashed = line.partition(":")
    name = user.encode()
    if not colon or not user.isprintable() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"line {number}: is not NAME:HASH")
    found = _HASH.fullmatch(hashed)
    if found is None and not _ANY_SCHEME.match(hashed):
        raise ValueError(f"line {number}: is not bcrypt: htpasswd -B makes that")
    if found is None or int(found[1]) < 4:
        raise ValueError(f"line {number}: holds a broken bcrypt hash")
    if int(found[1]) > MAX_COST:
        raise ValueError(f"line {number}: bcrypt's cost is above {MAX_COST}: a check would take too long")
    return name, hashed.encode()
