"""An upstream body that goes on after a break, unnoticed by who reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.events import IntegrityFailed, TransferBroke, TransferResumed
from twisted_pypi.fetching.integrity import WrongBody
from twisted_pypi.fetching.pace import PATIENCE, SLOWEST
from twisted_pypi.fetching.resume import BACKOFF, PROGRESS, Verdict, content_range, judge, question
from twisted_pypi.interfaces import Fetched, Observer

Reopen = Callable[[Mapping[str, str]], Awaitable[Fetched]]
"""Ask for the file again with these further headers; 200, 206 or 416. Raises `UpstreamFailed` for the rest."""


@define(eq=False)
class ResumingBody:
    """An `interfaces.FetchedBody` over that of `fetched`, whose first byte is at `position` of the file.

    After a break `fetched` is the answer by which the body goes on.

    `whole` is the file's length, if known; `validator` what `If-Range` may hold. `verifiable`: a digest decides in the
    end. `prefix` is the SHA-256, in hex, of everything before what `read` gives next. A break is followed by up to
    three attempts, and three more after each progress; a trickle counts as a break, for it takes the place of others.
    Beside that of the body, `read` raises `WrongBody` when the file is not the one that was begun.
    """

    url: str
    position: int
    whole: int | None
    validator: str
    verifiable: bool
    clock: IReactorTime
    fetched: Fetched
    _observer: Observer
    _reopen: Reopen
    _prefix: Callable[[], str]
    length: int | None = field(init=False)
    _ahead: bytes = field(default=b"", init=False)
    _attempts: int = field(default=0, init=False)
    _since_break: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)
    _came: int = field(default=0, init=False)
    _compare: bool = field(default=False, init=False)
    _abandoned: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        # An answer may bring less than was asked for; the rest is asked for then.
        self.length = None if self.whole is None else self.whole - self.position

    @property
    def delimited(self) -> bool:
        """See `interfaces.FetchedBody`."""
        return self.fetched.body.delimited

    async def read(self) -> bytes:
        """The next bytes of the file, b"" at its end."""
        while True:
            try:
                data = self._ahead or await self._next()
            except UpstreamFailed as failure:
                if self.position == self.whole:
                    return b""
                await self._go_on(failure)
                continue
            self._ahead = b""
            if data or self.whole is None or self.position >= self.whole:
                self._count(len(data))
                return data
            await self._go_on(UpstreamFailed(f"the body ended after {self.position} of {self.whole} bytes", self.url))

    def abandon(self) -> None:
        """See `interfaces.FetchedBody`."""
        self._abandoned = True
        self.fetched.body.abandon()

    async def _next(self) -> bytes:
        """What comes next from the network. Time counts only while we wait for it: clients may be slow themselves."""
        if self._waited > PATIENCE and self._came < SLOWEST * self._waited:
            raise UpstreamFailed(f"only {self._came} bytes within {self._waited:.0f} s", self.url)
        begun = self.clock.seconds()
        data = await self.fetched.body.read()
        self._waited += self.clock.seconds() - begun
        self._came += len(data)
        return data

    def _count(self, size: int) -> None:
        self.position += size
        self._since_break += size
        if self._since_break >= PROGRESS:
            self._attempts = 0

    async def _go_on(self, failure: UpstreamFailed) -> None:
        """Get a further body that goes on here. Raises the last failure when the attempts are used up."""
        self._since_break = 0
        while True:
            self.fetched.body.abandon()
            if self._abandoned or self._attempts == len(BACKOFF) or _is_final(failure):
                raise failure
            delay = BACKOFF[self._attempts]
            self._attempts += 1
            self._observer(TransferBroke(self.url, self.position, failure.reason))
            await deferLater(self.clock, delay)
            try:
                await self._attempt()
                return
            except UpstreamFailed as again:
                failure = again

    async def _attempt(self) -> None:
        if self._abandoned:
            raise UpstreamFailed("given up", self.url)
        asked = {} if self._compare else question(self.position, self.validator, self.verifiable)
        fetched = await self._reopen(asked)
        self.fetched, self._waited, self._came = fetched, 0.0, 0
        coming = fetched.body.length
        verdict = judge(fetched.status, fetched.headers, coming, asked, self.position, self.whole)
        if self._abandoned or verdict is Verdict.WHOLE:
            self._compare = True
            raise UpstreamFailed("answered with another piece than was asked for", self.url)
        if verdict is Verdict.CHANGED:
            self._refuse("length", str(self.whole), str(coming))
        if verdict is Verdict.COMPARE:
            await self._skip()
        elif part := content_range(fetched.headers):
            self.whole = part[2]
        self._observer(TransferResumed(self.url, self.position))

    async def _skip(self) -> None:
        """Pass over what we have already. Raises `WrongBody` when it is not the same."""
        left, digest = self.position, hashlib.sha256()
        while left:
            data = await self._next()
            if not data:
                raise UpstreamFailed(f"the body ended after {self.position - left} bytes", self.url)
            digest.update(data[:left])
            self._ahead = data[left:]
            left -= min(left, len(data))
        if digest.hexdigest() != self._prefix():
            self._ahead = b""
            self._refuse(f"sha256 of the first {self.position} bytes", self._prefix(), digest.hexdigest())

    def _refuse(self, what: str, before: str, now: str) -> NoReturn:
        """Whoever has a part of the one file must not go on with the other: it counts as a failed check."""
        self._observer(IntegrityFailed(self.url, what, before, now))
        raise WrongBody("upstream's file changed while it was fetched", self.url)


def _is_final(failure: UpstreamFailed) -> bool:
    """Whether trying again makes no sense: another file, or upstream refuses it."""
    refused = failure.status is not None and 400 <= failure.status < 500 and failure.status != 429
    return refused or isinstance(failure, WrongBody)
