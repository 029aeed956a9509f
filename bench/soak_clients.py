"""The clients of a soak, each of which knows whether what it was answered is right."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter

from attrs import define, field

from bench.soak_index import FLICKERING, PROJECTS, Index, listed
from bench.upstream import JSON_TYPE
from e2e.clients import resolve
from e2e.daemon import Daemon

PATIENCE = 30.0
"""Seconds without a byte after which an answer counts as none: the daemon answers within 12."""

BROKEN = (OSError, asyncio.IncompleteReadError)


class Wrong(Exception):
    """An answer that is neither right nor an honest error."""


@define
class Answer:
    """Header names are in lower case. `whole` is False when the connection ended within the body."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = True


@define
class Connection:
    """One kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, method: str, path: str, headers: dict[str, str], leave: bool = False) -> Answer:
        """One exchange; with `leave` only its head. Raises `BROKEN` when there is no head."""
        lines = [f"{method} {path} HTTP/1.1", "Host: cache", *(f"{name}: {text}" for name, text in headers.items())]
        self.writer.write("\r\n".join((*lines, "", "")).encode("ascii"))
        answer = await self._head()
        if not leave and method != "HEAD" and answer.status != 304:
            try:
                answer.body = await self._body(answer)
            except BROKEN:
                answer.whole = False
        return answer

    async def _head(self) -> Answer:
        async with asyncio.timeout(PATIENCE):
            status_line, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines if line)
        return Answer(int(status_line.split(" ")[1]), {name.lower(): text for name, _, text in pairs})

    async def _body(self, answer: Answer) -> bytes:
        if "transfer-encoding" not in answer.headers:
            return await self._piece(int(answer.headers["content-length"]))
        pieces = []
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            pieces.append((await self._piece(size + 2))[:-2])
        await self._piece(2)
        return b"".join(pieces)

    async def _piece(self, size: int) -> bytes:
        async with asyncio.timeout(3 * PATIENCE):
            return await self.reader.readexactly(size)


@define
class Client:
    """Asks for one thing after the other. `outcomes` counts what came, `wrong` tells what must not have come."""

    daemon: Daemon
    index: Index
    random: random.Random
    outcomes: Counter[str]
    wrong: list[str]
    _connection: Connection | None = None
    _links: dict[str, str] = field(factory=dict)
    _etags: dict[str, str] = field(factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        acts = {self._page: 10, self._file: 12, self._leave: 1, self._head: 2, self._range: 3, self._ghost: 1}
        try:
            while True:
                act = self.random.choices(list(acts), list(acts.values()))[0]
                await self._attempt(act)
                await asyncio.sleep(self.random.choice((0, 0, 0.01, 0.05)))
        finally:
            self._hang_up()

    async def _attempt(self, act: object) -> None:
        try:
            assert callable(act)
            outcome = await act()
        except Wrong as wrong:
            outcome = "WRONG"
            self.wrong.append(str(wrong))
        except TimeoutError:
            outcome = "NO ANSWER"
            self.wrong.append(f"no answer to {act}")
            self._hang_up()
        except BROKEN as error:
            outcome = "NO HEAD"
            self.wrong.append(f"{act}: the connection ended before the head: {error!r}")
            self._hang_up()
        self.outcomes[outcome] += 1

    async def _ask(self, path: str, method: str = "GET", leave: bool = False, **headers: str) -> Answer:
        if self._connection is None:
            self._connection = Connection(*await asyncio.open_connection("127.0.0.1", self.daemon.port))
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        answer = await self._connection.ask(method, path, named, leave)
        over = leave or not answer.whole or answer.headers.get("connection") == "close"
        if over or self.random.random() < 0.05:
            self._hang_up()
        return answer

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.writer.transport.abort()
            self._connection = None

    # -- what is asked, and judged ---------------------------------------------------------------------------------

    async def _page(self) -> str:
        name = self.random.choice((*PROJECTS, FLICKERING))
        path = f"/simple/{name}/"
        known = self._etags.get(name) if self.random.random() < 0.4 else None
        more = {"If_None_Match": known} if known else {}
        answer = await self._ask(path, Accept=JSON_TYPE, **more)
        if answer.status == 304 and known and answer.headers["etag"] == known:
            return "page 304"
        if answer.status != 200:
            return _honest(answer, path, absent=name == FLICKERING)
        try:
            release = listed(answer.body)
        except ValueError as error:
            raise Wrong(f"{path}: {error}, whole: {answer.whole}") from error
        if release not in self.index.releases[name]:
            raise Wrong(f"{path}: lists what was never published: {sorted(release)}")
        self._etags[name] = answer.headers["etag"]
        self._learn(answer.body)
        return f"page 200 {answer.headers['x-pypi-cache']}"

    def _learn(self, body: bytes) -> None:
        for file in json.loads(body)["files"]:
            path = resolve(file["url"])
            self._links[path] = path
            self._links[f"{path}.metadata"] = path
        while len(self._links) > 100:
            del self._links[next(iter(self._links))]

    async def _some(self) -> str:
        while not self._links:
            await self._page()
            await asyncio.sleep(0.05)
        return self.random.choice(list(self._links))

    async def _file(self) -> str:
        path = await self._some()
        answer = await self._ask(path)
        if answer.status != 200:
            return _honest(answer, path, absent=self.index.may_be_absent(path))
        if not answer.whole:
            return "file broken off"
        self._compare(path, answer, self.index.files[path], answer.body)
        return f"file 200 {answer.headers['x-pypi-cache']}"

    def _compare(self, path: str, answer: Answer, whole: bytes, part: bytes) -> None:
        if answer.body != part:
            raise Wrong(f"{path}: {answer.status} with other bytes: {answer.headers}, {answer.body[:60]!r}")
        etag = answer.headers.get("etag")
        if etag not in (None, f'"sha256:{hashlib.sha256(whole).hexdigest()}"'):
            raise Wrong(f"{path}: ETag {etag}")

    async def _range(self) -> str:
        path = await self._some()
        data = self.index.files[path]
        first = self.random.randrange(len(data))
        last = self.random.randrange(first, len(data))
        answer = await self._ask(path, Range=f"bytes={first}-{last}")
        if answer.status not in (200, 206):
            return _honest(answer, path, absent=self.index.may_be_absent(path))
        if not answer.whole:
            return "range broken off"
        if answer.status == 206 and answer.headers["content-range"] != f"bytes {first}-{last}/{len(data)}":
            raise Wrong(f"{path}: {answer.headers['content-range']}, not {first}-{last}/{len(data)}")
        self._compare(path, answer, data, data if answer.status == 200 else data[first : last + 1])
        return f"range {answer.status}"

    async def _head(self) -> str:
        path = await self._some()
        answer = await self._ask(path, method="HEAD")
        if answer.status != 200:
            return _honest(answer, path, absent=self.index.may_be_absent(path))
        told, size = answer.headers.get("content-length"), len(self.index.files[path])
        if told != str(size) and not path.endswith(".metadata"):  # of which no page tells the size
            raise Wrong(f"{path}: HEAD told {answer.headers}")
        return "head 200"

    async def _leave(self) -> str:
        await self._ask(await self._some(), leave=True)
        return "left in the middle"

    async def _ghost(self) -> str:
        answer = await self._ask("/simple/no-such-project/")
        return _honest(answer, "a project that never was", absent=True)


def _honest(answer: Answer, path: str, absent: bool) -> str:
    """The name of an error that may be. Raises `Wrong` for one that may not."""
    allowed = (404, 503) if absent else (503,)
    if answer.status not in allowed or not answer.whole:
        raise Wrong(f"{path}: {answer.status}, {answer.headers}, {answer.body[:200]!r}")
    if answer.status == 503 and not answer.headers.get("retry-after", "").isdecimal():
        raise Wrong(f"{path}: 503 without Retry-After: {answer.headers}")
    return f"{answer.status}"
