"""Who has logged in: HTTP Basic (RFC 7617), checked in threads, since bcrypt is slow on purpose.

Laws:
- whoever sent the right password gets through without a check for `REMEMBERED` seconds, by a keyed hash of the header;
  what was found wrong stays wrong; both only as long as the accounts stay the same;
- a name that is not there takes as long as a wrong password, and gets the same answer;
- the same header is checked once, however many wait for it; places for checks are shared out fairly between clients;
- only guesses are throttled, and wait for each other: a header that was right before, even under other accounts, gets
  its check at once.
"""

from __future__ import annotations

import binascii
import hmac
import math
import os
import secrets
from base64 import b64decode

import bcrypt
from attrs import define, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime

from twisted_pypi.errors import Unavailable
from twisted_pypi.fetching.limits import FairSlots, QueueFull
from twisted_pypi.fetching.singleflight import Singleflight
from twisted_pypi.htpasswd import MAX_NAME, Accounts
from twisted_pypi.interfaces import Workers
from twisted_pypi.lru import Lru
from twisted_pypi.web.admission import client_of
from twisted_pypi.web.problems import Problem
from twisted_pypi.web.responding import Reply
from twisted_pypi.web.throttle import Throttle

REMEMBERED = 300.0
"""Seconds for which a right password is not checked again."""

THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
"""Checks at once: they take a processor each, and serving needs one, too."""

MOST_WAITING = 64
"""Checks that wait for a thread."""

MOST_KNOWN = 4096
"""Right headers that are remembered, and wrong ones."""

_NO_STORE = ("Cache-Control", "no-store")
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="pypicache", charset="UTF-8"')
_SIGNIFICANT = 72  # bytes of a password that bcrypt looks at
_PUBLIC, _PRIVATE = b"Cache-Control: public,", b"Cache-Control: private,"


@frozen
class _Login:
    """A user whose header is right, until a moment of the clock, under the accounts of that generation."""

    user: str
    until: float
    generation: int


@define(eq=False)
class Logins:
    """The users that are known. `clock` goes on steadily, whatever happens to the time of day."""

    workers: Workers
    clock: IReactorTime
    _accounts: Accounts = field(factory=Accounts, init=False)
    _generation: int = field(default=0, init=False)
    _key: bytes = field(factory=lambda: secrets.token_bytes(32), init=False)
    _right: Lru[bytes, _Login] = field(factory=lambda: Lru(MOST_KNOWN), init=False)
    _wrong: Lru[bytes, bool] = field(factory=lambda: Lru(MOST_KNOWN), init=False)
    _checks: Singleflight[bool] = field(factory=Singleflight, init=False)
    _slots: FairSlots = field(factory=lambda: FairSlots(THREADS, MOST_WAITING), init=False)
    _throttle: Throttle = field(factory=Throttle, init=False)

    def use(self, accounts: Accounts) -> None:
        """These are in force. Where they differ from those before, everybody is checked again."""
        if accounts != self._accounts:
            self._accounts = accounts
            self._generation += 1
            self._wrong.clear()

    def knows(self, authorization: str) -> bool:
        """Whether this header was found right not long ago."""
        login = self._right.get(self._digest(authorization)) if authorization else None
        return login is not None and login.generation == self._generation and self.clock.seconds() < login.until

    def user_of(self, authorization: str) -> str:
        """Who was let in with this header, for the log: also when that was some time ago. "" for nobody."""
        login = self._right.peek(self._digest(authorization)) if authorization else None
        return login.user if login is not None else ""

    async def check(self, authorization: str, client: str) -> None:
        """Return if the header is right. `client` is the address that asks.

        Raises `Problem` 401 if it is wrong, 429 if it can't be looked at as its client guesses too often, `Unavailable`
        if too many others are being looked at.
        """
        given = credentials_of(authorization)
        digest = self._digest(authorization)
        if given is None or self._wrong.get(digest):
            raise _unauthorized(authorization)
        name, password = given
        key = (digest, self._generation)
        if not await self._checks.do(key, lambda: self._checked(digest, name, password, client)):
            raise _unauthorized(authorization)

    async def _checked(self, digest: bytes, name: bytes, password: bytes, client: str) -> bool:
        source = client_of(client) if client else ""
        guess = self._right.peek(digest) is None
        if guess:
            self._take_token(source, name)
            await self._take_place(source, name)
        accounts, generation = self._accounts, self._generation
        try:
            right = await self._compared(accounts, name, password)
        finally:
            if guess:
                self._slots.release()
        if right and guess:
            self._throttle.give_back(source, name, self.clock.seconds())
        if generation != self._generation:  # what was compared holds no more
            return await self._checked(digest, name, password, client)
        self._remember(digest, name, right)
        return right

    def _take_token(self, source: str, name: bytes) -> None:
        wait = self._throttle.take(source, name, self.clock.seconds())
        if wait:
            pairs = (("Retry-After", str(math.ceil(wait))), _NO_STORE)
            raise Problem(429, "Too many wrong logins from your address: try again in a moment", pairs)

    async def _take_place(self, source: str, name: bytes) -> None:
        try:
            await self._slots.acquire(source, name.decode("latin-1"))
        except QueueFull:
            raise Unavailable("Too many clients log in at the moment", retry_after=2) from None

    async def _compared(self, accounts: Accounts, name: bytes, password: bytes) -> bool:
        hashed = accounts.hashes.get(name)
        same = await self.workers.run(_matches, password, hashed or accounts.nobody)
        return same and hashed is not None

    def _remember(self, digest: bytes, name: bytes, right: bool) -> None:
        if right:
            until = self.clock.seconds() + REMEMBERED
            self._right.put(digest, _Login(name.decode("utf-8", "replace"), until, self._generation))
        else:
            self._right.pop(digest)
            self._wrong.put(digest, True)

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._key, authorization.encode("latin-1", "replace"), "sha256")


def credentials_of(authorization: str) -> tuple[bytes, bytes] | None:
    """User name and password of an `Authorization` header, as UTF-8; None if it holds none, or a name too long.

    What isn't UTF-8 is taken for Latin-1: requests, and with it pip, sends that.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text.decode()
    except UnicodeDecodeError:
        text = text.decode("latin-1").encode()
    name, colon, password = text.partition(b":")
    return (name, password) if colon and len(name) <= MAX_NAME else None


def private(reply: Reply) -> Reply:
    """The same, for the cache of its one client alone (RFC 9111, 5.2.2.7): another may not be let in.

    Nothing varies with the user, so `Vary` needs no `Authorization`.
    """
    if _PUBLIC not in reply.lines:
        return reply
    return evolve(reply, lines=reply.lines.replace(_PUBLIC, _PRIVATE))


def _matches(password: bytes, hashed: bytes) -> bool:
    """Slow. In constant time for one hash, whatever the password."""
    try:
        return bcrypt.checkpw(password[:_SIGNIFICANT], hashed)
    except ValueError:  # of older versions, for NUL in a password
        return False


def _unauthorized(authorization: str) -> Problem:
    reason = "User name or password are wrong" if authorization else "This cache wants a user name and a password"
    return Problem(401, reason, (_CHALLENGE, _NO_STORE))
