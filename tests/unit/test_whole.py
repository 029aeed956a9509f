"""The whole daemon in memory: whatever the index, the clients and the machine do, what is served is right.

The laws are `Judge`'s and, at the end of each run, `Machine.teardown`'s.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from e2e.content import HTML_TYPE, JSON_TYPE, Project
from e2e.packages import File, wheel
from e2e.registry import ABBREVIATED, Package, integrity, package
from twisted_pypi.htpasswd import Accounts
from twisted_pypi.interfaces.listing import Listed, Wanted
from twisted_pypi.storage.listing import listed as listed_entries
from twisted_pypi.storage.verify import Finding, verify
from unit.web_doubles import Response
from unit.whole import Pending, Whole, open_below, watched
from unit.whole_upstream import FAULTS

NAMES = ("a", "b")
PACKAGE = "left"
PACKUMENT = f"/npm/{PACKAGE}"
SIZES = (0, 2_000, 14_000, 40_000)
BUDGET = 12.0
NEGATIVE = 60.0
INSISTING = 10.0
"""Seconds after which `no-cache` is heeded again."""
SLACK = 60.0
"""Seconds that a page may have been on its way to us, slowly, when it was found fresh."""

ACCOUNTS = Accounts({b"user": bcrypt.hashpw(b"right", bcrypt.gensalt(4))})
LOGIN, WRONG = (f"Basic {b64encode(pair).decode()}" for pair in (b"user:right", b"user:wrong"))

Listing = frozenset[tuple[str, str]]
"""What a page lists: (file name, SHA-256) of each."""


@frozen(slots=False)
class Placed(File):
    """A file whose path doesn't tell its content: it can be published anew at the same place."""

    @property
    def path(self) -> str:  # type: ignore[override]
        return f"/packages/{self.name}"


def made(name: str, version: int, size: int, edition: int = 0) -> Placed:
    file = wheel(name, f"{version}.0", size=size, requires=(f"edition{edition}",))
    return Placed(file.name, file.data, file.metadata)


@define
class World:
    """All that the index ever had: listings of a page with when they began (None: absent), bodies by path."""

    listings: dict[str, list[tuple[float, Listing | None]]] = field(factory=dict)
    bodies: dict[str, list[bytes]] = field(factory=dict)
    changed: set[str] = field(factory=set)
    seen: set[str] = field(factory=set)
    """Paths that a page listed that somebody got."""
    guessed: set[str] = field(factory=set)
    """Paths that were asked for though no page had told of them: nothing vouches for those."""

    def publish(self, name: str, now: float, files: tuple[File, ...] | None) -> None:
        listing = None if files is None else frozenset((file.name, file.sha256) for file in files)
        self.listings.setdefault(name, [(float("-inf"), None)]).append((now, listing))
        for file in files or ():
            for path, data in ((file.path, file.data), (f"{file.path}.metadata", file.metadata)):
                known = self.bodies.setdefault(path, [])
                if data is not None and data not in known:
                    self.changed |= {path} if known else set()
                    known.append(data)

    def publish_package(self, now: float, versions: Iterable[Package]) -> None:
        """An npm package has these versions from now on."""
        listing = frozenset((each.path, integrity(each.data)) for each in versions)
        self.listings.setdefault(PACKAGE, [(float("-inf"), None)]).append((now, listing))
        self.bodies |= {f"/npm{each.path}": [each.data] for each in versions}

    def during(self, name: str, since: float, until: float) -> set[Listing | None]:
        """The listings that were the index's at some moment between these."""
        steps = self.listings.get(name, [(float("-inf"), None)])
        ends = [*(start for start, _ in steps[1:]), float("inf")]
        return {each for (start, each), end in zip(steps, ends, strict=True) if start <= until and end >= since}


@define(eq=False)
class Asked:
    """A request, and what there was when it was made."""

    pending: Pending
    generation: int
    offline: bool
    tripped: bool
    crowded: bool
    etags: dict[str, Listing]


def listed(answer: Response) -> Listing:
    """What a page of either form lists, or a packument: its tarballs' paths, with their integrity."""
    if answer["content-type"] in (ABBREVIATED, "application/json"):
        dists = [version["dist"] for version in json.loads(answer.body)["versions"].values()]
        return frozenset((dist["tarball"].removeprefix("http://cache/npm"), dist["integrity"]) for dist in dists)
    if answer["content-type"].startswith("application/"):
        return frozenset((file["filename"], file["hashes"]["sha256"]) for file in json.loads(answer.body)["files"])
    return frozenset(
        (name, sha256) for sha256, name in re.findall(r"#sha256=(\w{64})[^>]*>([^<]+)</a>", answer.body.decode())
    )


@define(eq=False)
class Judge:
    """What answers are right."""

    world: World
    ttl: float
    denied: dict[str, float]
    trouble: float = float("-inf")
    """When the index was last in trouble."""

    def judge(self, asked: Asked, restarted: bool, now: float) -> bool:
        """Whether the request is through. Raises `AssertionError` for an answer that must not be."""
        pending, answer = asked.pending, asked.pending.answer
        if answer is None:
            assert not pending.line.ended or restarted, f"{pending.path}: closed without an answer"
            assert now - pending.asked_at <= BUDGET + 1, f"{pending.path}: no answer after 12 s"
            return pending.line.ended
        if pending.head_at is None:
            pending.head_at = now
        if not answer.whole and not pending.line.ended:
            return False
        if not pending.authorized:
            assert answer.status == 401, f"{pending.path}: {answer.status} without a login"
        elif pending.path.startswith("/simple/") or pending.path == PACKUMENT:
            self._page(asked, answer, restarted)
        else:
            self._file(asked, answer, restarted)
        return True

    def _troubled(self, asked: Asked) -> bool:
        return self.trouble >= asked.pending.asked_at

    def _page(self, asked: Asked, answer: Response, restarted: bool) -> None:
        pending, name = asked.pending, asked.pending.path.split("/")[2]
        what = f"{pending.path} at {pending.asked_at}: {answer.status} {answer.headers}"
        assert answer.whole or restarted, what
        if not answer.whole or (pending.method == "HEAD" and answer.status == 200):
            return
        if answer.status == 503:
            assert self._troubled(asked) or asked.offline, what
            assert asked.offline or answer["retry-after"].isdecimal(), what
            return
        state = answer["x-pypi-cache"]
        if answer.status == 404:
            self._known(asked, name, None, NEGATIVE if state == "HIT" else 0, what)
            return
        assert answer.status in (200, 304), what
        if answer.status == 304:
            assert answer["etag"] == pending.headers["If-None-Match"], what
            listing = asked.etags[answer["etag"]]
        else:
            listing = listed(answer)
            assert asked.etags.setdefault(answer["etag"], listing) == listing, what
        below = "/npm" if pending.path == PACKUMENT else "/packages/"
        self.world.seen |= {f"{below}{filename}" for filename, _ in listing or ()}
        if asked.offline:
            assert any(each is not None and listing <= each for _, each in self.world.listings[name]), what
            return
        if state in ("STALE", "UPDATING"):
            assert asked.tripped or self._troubled(asked) or (asked.crowded and state == "UPDATING"), what
            self._known(asked, name, listing, float("inf"), what)
        else:
            self._known(asked, name, listing, self.ttl + SLACK if state == "HIT" else 0, what)
            denied = self.denied.get(pending.path, float("inf"))
            assert denied >= pending.asked_at or listing in self.world.during(name, denied, pending.asked_at), what

    def _known(self, asked: Asked, name: str, listing: Listing | None, age: float, what: str) -> None:
        """The listing was the index's at most so long before the request; longer when it was in trouble."""
        if self._troubled(asked):
            age = max(age, self.ttl + NEGATIVE + SLACK)
        until = asked.pending.head_at
        assert until is not None
        right = self.world.during(name, asked.pending.asked_at - age, until)
        assert listing in right, f"{what}: {listing} is not of {right}"

    def _file(self, asked: Asked, answer: Response, restarted: bool) -> None:
        pending = asked.pending
        path, bodies = pending.path, self.world.bodies[pending.path]
        what = f"{path} at {pending.asked_at}: {answer.status} {answer.headers}"
        changed = {path, path.removesuffix(".metadata")} & self.world.changed
        excused = self._troubled(asked) or asked.offline or bool(changed) or asked.tripped
        if not answer.whole:
            assert excused or restarted, f"{what}: broken off"
        elif answer.status == 503:
            assert excused, what
        elif answer.status == 404:
            assert path.removesuffix(".metadata") in self.world.changed, what
        elif answer.status == 416:
            first = int(re.findall(r"\d+", pending.headers["Range"])[0])
            assert first >= min(map(len, bodies)), what
        elif pending.method == "HEAD":
            assert answer.status == 200
            assert answer["content-length"] in {str(len(body)) for body in bodies} or self._troubled(asked), what
        elif path.removesuffix(".metadata") not in self.world.guessed:
            self._body(answer, bodies, what)

    def _body(self, answer: Response, bodies: list[bytes], what: str) -> None:
        tagged = {f'"sha256:{hashlib.sha256(body).hexdigest()}"': body for body in bodies}
        told = dict(answer.headers)
        if "ETag" not in told and what.startswith("/npm/"):  # a registry tells SHA-512; a version is published once
            (told["ETag"],) = tagged
        assert told["ETag"] in tagged, f"{what}: no such file was ever published"
        body = tagged[told["ETag"]]
        if answer.status == 206:
            first, last, size = map(int, re.split(r"[ \-/]", answer["content-range"])[1:])
            assert (size, len(answer.body)) == (len(body), last + 1 - first), what
            # What a transfer has so far was not compared with its digest yet, which only decides of whole files.
            assert answer["x-pypi-cache"] != "HIT" or answer.body == body[first : last + 1], what
        else:
            assert answer.status == 200, what
            assert answer.body == body, what


names = st.sampled_from(NAMES)
versions = st.integers(1, 3)


class Machine(RuleBasedStateMachine):
    """An index, clients and an administrator, none of whom thinks of the others."""

    @initialize(size=st.sampled_from(("50G", "120K", "0")), ttl=st.sampled_from((300, 300, 0)))
    def begin(self, size: str, ttl: int) -> None:
        """A daemon with an empty cache."""
        self.watching = watched()
        self.failures = self.watching.__enter__()
        self.root = Path(tempfile.mkdtemp(prefix="pypicache-whole-"))
        self.whole = Whole(self.root, {"cache-size": size, "index-ttl": str(ttl), "npm-url": "http://cdn.example/"})
        self.world, self.asked, self.etags = World(), list[Asked](), dict[str, dict[str, Listing]]()
        self.judge = Judge(self.world, ttl, self.whole.index.denied)
        self.generation, self.serial, self.offline, self.damaged = 0, 0, False, False
        self.guarded, self.answered, self.doubtful, self.counted = False, 0, 0, 0
        self.healthy: dict[str, int] = {}
        self.quiet: int | None = None
        self._publish("a", (made("a", 1, 14_000),))
        self._pack("1.0.0", 2_000)

    # -- the index -------------------------------------------------------------------------------------------------

    @property
    def projects(self) -> dict[str, Project]:
        return self.whole.index.catalogue.projects

    def _publish(self, name: str, files: tuple[File, ...]) -> None:
        self.serial += 1
        self.projects[name] = Project(name, files, self.serial)
        self.world.publish(name, self.whole.reactor.seconds(), files)

    def _files(self, name: str) -> tuple[File, ...]:
        return self.projects[name].files if name in self.projects else ()

    @rule(name=names, version=versions, size=st.sampled_from(SIZES), edition=st.integers(0, 2))
    def release(self, name: str, version: int, size: int, edition: int) -> None:
        """A new file, or another one in the place of an old one."""
        file = made(name, version, size, edition)
        self._publish(name, (*(each for each in self._files(name) if each.name != file.name), file))

    @rule(name=names, version=versions)
    def withdraw_file(self, name: str, version: int) -> None:
        """A file is gone."""
        if files := self._files(name):
            gone = made(name, version, 0).path
            self.world.changed.add(gone)
            self._publish(name, tuple(each for each in files if each.path != gone))

    @rule(version=versions, size=st.sampled_from(SIZES))
    def pack(self, version: int, size: int) -> None:
        """A version of the npm package, of which each is published once."""
        if f"{version}.1.0" not in self.whole.index.registry.packages[PACKAGE]:
            self._pack(f"{version}.1.0", size)

    def _pack(self, version: str, size: int) -> None:
        registry = self.whole.index.registry
        registry.publish(package(PACKAGE, version, size))
        self.world.publish_package(self.whole.reactor.seconds(), registry.packages[PACKAGE].values())

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        """A project is gone."""
        for file in self._files(name):
            self.world.changed.add(file.path)
        if self.projects.pop(name, None):
            self.world.publish(name, self.whole.reactor.seconds(), None)

    @rule(
        fault=st.sampled_from((*FAULTS, "refused", "unreachable")),
        place=st.sampled_from(("/", "/simple/", "/packages/")),
    )
    def fail(self, fault: str, place: str) -> None:
        """The index fails from now on, in one way."""
        self.whole.index.fault, self.whole.index.place = fault, place
        self._trouble()

    @rule(
        name=names,
        version=versions,
        size=st.sampled_from((14_000, 40_000)),
        edition=st.integers(3, 9),
        fault=st.sampled_from(sorted(FAULTS)),
    )
    def fail_a_download(self, name: str, version: int, size: int, edition: int, fault: str) -> None:
        """A new file is listed, and the first who wants it meets a fault; another wants a piece meanwhile."""
        self.recover()
        self.release(name, version, size, edition)
        self._ask(f"/simple/{name}/", Accept=JSON_TYPE, Cache_Control="no-cache")
        self.fail(fault, "/packages/")
        if made(name, version, 0).path in self.world.seen:
            self._ask(made(name, version, 0).path)
            self._ask(made(name, version, 0).path, Range="bytes=0-99")
        self._advance(1)
        self.recover()

    @rule(name=names, version=versions, edition=st.integers(10, 19), later=st.sampled_from((61.0, 61.0, 5.0)))
    def withdraw_what_is_fresh(self, name: str, version: int, edition: int, later: float) -> None:
        """A project goes whose page was just read, one client insists on that page, and the next doesn't."""
        page = f"/simple/{name}/"
        self.recover()
        self.release(name, version, 2_000, edition)
        self._ask(page, Accept=JSON_TYPE, Cache_Control="no-cache")
        self.withdraw(name)
        self._advance(INSISTING)
        self._ask(page, Accept=JSON_TYPE, Cache_Control="no-cache")
        self._advance(later)
        self._ask(page, Accept=JSON_TYPE)

    @rule()
    def recover(self) -> None:
        """It is well again."""
        self._trouble()
        self.whole.index.fault = ""

    @rule()
    def hang_up(self) -> None:
        """It closes all connections."""
        self._trouble()
        self.whole.index.hang_up()

    # -- clients ---------------------------------------------------------------------------------------------------

    def _ask(self, path: str, at_once: bool = True, **more: Any) -> None:
        if self.guarded:
            more = {"Authorization": LOGIN, **more}
        pending = self.whole.ask(path, **more)
        pending.authorized = not self.guarded or more["Authorization"] == LOGIN
        self.answered += 1
        crowded = any(each.pending.answer is None for each in self.asked)
        origin = "registry" if path.startswith("/npm/") else "index"
        tripped = self.healthy.get(origin, -1) >= self.whole.index.healthy_answers[origin]
        etags = self.etags.setdefault(path, {})
        self.asked.append(Asked(pending, self.generation, self.offline, tripped, crowded, etags))
        if at_once:
            self._settle()

    @rule(
        name=names,
        accept=st.sampled_from((JSON_TYPE, HTML_TYPE)),
        conditional=st.booleans(),
        no_cache=st.sampled_from((False, False, True)),
        at_once=st.booleans(),
        keep=st.sampled_from(("", "k")),
        method=st.sampled_from(("GET", "GET", "GET", "HEAD")),
    )
    def page(
        self, name: str, accept: str, conditional: bool, no_cache: bool, at_once: bool, keep: str, method: str
    ) -> None:
        """Somebody wants a page."""
        headers = {"Accept": accept}
        tags = list(self.etags.get(f"/simple/{name}/", ()))
        if conditional and tags:
            headers["If-None-Match"] = tags[-1]
        if no_cache:
            headers["Cache-Control"] = "no-cache"
        keep = "" if self._kept_is_busy() else keep
        self._ask(f"/simple/{name}/", at_once, keep=keep, method=method, **headers)

    @rule(accept=st.sampled_from((ABBREVIATED, "application/json")), no_cache=st.booleans(), version=st.integers(0, 3))
    def install_package(self, accept: str, no_cache: bool, version: int) -> None:
        """Somebody wants the npm package, and one of its tarballs."""
        self._ask(PACKUMENT, Accept=accept, **({"Cache_Control": "no-cache"} if no_cache else {}))
        if tarballs := sorted(path for path in self.world.seen if path.startswith("/npm/")):
            self._ask(tarballs[version % len(tarballs)])

    @rule(name=names, version=versions)
    def intrude(self, name: str, version: int) -> None:
        """Somebody with a wrong password wants what others get."""
        if self.guarded:
            for path in (f"/simple/{name}/", made(name, version, 0).path, PACKUMENT):
                self._ask(path, Authorization=WRONG)

    def _kept_is_busy(self) -> bool:
        return any(each.pending.keep for each in self.asked)

    @rule(
        name=names,
        version=versions,
        metadata=st.sampled_from((False, False, True)),
        wanted=st.sampled_from((None, None, None, "bytes=0-99", "bytes=5000-", "bytes=-7", "bytes=9999999-")),
        method=st.sampled_from(("GET", "GET", "GET", "HEAD")),
        window=st.sampled_from((None, None, None, 4000)),
        at_once=st.booleans(),
        directly=st.integers(0, 9).map(lambda number: number == 9),
    )
    def file(
        self,
        name: str,
        version: int,
        metadata: bool,
        wanted: str | None,
        method: str,
        window: int | None,
        at_once: bool,
        directly: bool,
    ) -> None:
        """Somebody wants a file that there is, or was."""
        place = made(name, version, 0).path
        path = place + (".metadata" if metadata else "")
        if path in self.world.bodies and (directly or place in self.world.seen):
            self.world.guessed |= set() if place in self.world.seen else {place}
            headers = {"Range": wanted} if wanted and method == "GET" else {}
            self._ask(path, at_once, method=method, window=window, **headers)

    @rule(choice=st.integers(0, 5))
    def leave(self, choice: int) -> None:
        """Somebody hangs up, whatever has come so far."""
        if self.asked:
            self.asked.pop(choice % len(self.asked)).pending.line.end()
            self.answered, self.doubtful = self.answered - 1, self.doubtful + 1
            self._settle()

    @rule()
    def read_on(self) -> None:
        """Those who were slow take all that comes."""
        self._read_on()
        self._settle()

    def _read_on(self) -> None:
        for each in self.asked:
            each.pending.line.read_on()

    # -- time and the machine --------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.3, 1.0, 5.0, 20.0, 61.0, 301.0, 3600.0)))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._advance(seconds)

    @rule(turns=st.integers(1, 12))
    def little(self, turns: int) -> None:
        """Hardly any time passes."""
        self.whole.turn(turns)

    @rule(crash=st.booleans(), turns=st.integers(0, 8))
    def restart(self, crash: bool, turns: int) -> None:
        """The daemon ends in good order or not, and is started again."""
        self.whole.turn(turns)
        self.generation += 1
        if crash:
            self.whole.crash()
        else:
            self.whole.stop()
            self.whole.start()
        self.offline, self.quiet, self.guarded = False, None, False
        self.answered, self.doubtful, self.counted = 0, 0, 0
        self._judge()

    @rule(name=names | st.sampled_from(("*", "[ab]", PACKAGE)), files=st.booleans(), crowd=st.booleans())
    def purge(self, name: str, files: bool, crowd: bool) -> None:
        """An administrator purges a project, or those of a pattern; with their files, nothing of these is left."""
        pending = self.whole.ask(
            f"/cache/{name}{'?files=1' if files else ''}", "DELETE", Host="localhost", peer="127.0.0.1",
            Authorization=LOGIN,
        )  # fmt: skip
        self.doubtful += 1  # an error is a request, a purge is none
        if not crowd:
            self._settle()
            assert pending.answer is not None
            assert pending.answer.status in ((409,) if self.offline else (200, 404)), pending.answer
            if files and not self.offline and not self.asked:
                kept = {row.name for row in self._stored() if fnmatchcase(row.name or "", name)}
                assert not kept, f"purged with {name}: {kept}"

    def _stored(self) -> list[Listed]:
        return listed_entries(str(self.whole.directory), Wanted(kind="file"))[1]

    @rule()
    def count(self) -> None:
        """Somebody looks at the statistics: what was answered is counted, and nothing twice."""
        self._advance(5)  # nobody sees figures younger than that
        pending = self.whole.ask("/+status", Host="localhost", peer="127.0.0.1", Authorization=LOGIN)
        self.whole.settle()
        assert pending.answer is not None
        assert pending.answer.status == 200
        totals = json.loads(pending.answer.body)["totals"]["ever"]
        assert self.counted <= totals["requests"] <= self.answered + self.doubtful, (self.counted, totals)
        assert totals["hits"] + totals["misses"] <= totals["requests"]
        if not self.asked:
            assert totals["requests"] >= self.answered, totals
        self.counted = totals["requests"]

    @rule()
    def toggle_offline(self) -> None:
        """The administrator takes the daemon off the network, or back."""
        self._advance(120)  # what is under way goes on
        self.offline = not self.offline
        self._reload()
        self.quiet = len(self.whole.index.requests) if self.offline else None

    @rule()
    def toggle_logins(self) -> None:
        """From now on nobody is served without a password, or everybody again."""
        self.guarded = not self.guarded
        self._reload()

    def _reload(self) -> None:
        settings = evolve(self.whole.settings, offline=self.offline, htpasswd=ACCOUNTS if self.guarded else None)
        self.whole.parts.use(settings)

    def _get(self, path: str, **more: str) -> Response:
        self.answered += 1
        return self.whole.get(path, Authorization=LOGIN, **more)

    @precondition(lambda self: self.offline)
    @rule(name=names)
    def install_offline(self, name: str) -> None:
        """What a page lists then can be had."""
        page = self._get(f"/simple/{name}/", Accept=JSON_TYPE)
        for filename, sha256 in listed(page) if page.status == 200 else ():
            answer = self._get(f"/packages/{filename}")
            assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, sha256), answer

    @precondition(lambda self: self.offline)
    @rule(accept=st.sampled_from((ABBREVIATED, "application/json")))
    def install_package_offline(self, accept: str) -> None:
        """What a packument lists then can be had."""
        packument = self._get(PACKUMENT, Accept=accept)
        for path, known in listed(packument) if packument.status == 200 else ():
            answer = self._get(f"/npm{path}")
            assert (answer.status, integrity(answer.body)) == (200, known), answer

    @rule(name=names, version=versions, data=st.sampled_from((b"", b"damaged")))
    def damage(self, name: str, version: int, data: bytes) -> None:
        """Somebody writes into a stored file."""
        path = self.whole.directory / "files" / "files.example" / "packages" / made(name, version, 0).name
        for each in self.whole.directory.rglob(path.name):
            with each.open("r+b") as stream:
                stream.write(data) if data else stream.truncate(10)
            self.damaged = True

    # -- what must hold --------------------------------------------------------------------------------------------

    def _trouble(self) -> None:
        self.judge.trouble = self.whole.reactor.seconds()
        self.healthy = {name: self.whole.index.healthy_answers[name] for name in ("index", "files", "registry")}

    def _settle(self) -> None:
        self._advance(0)

    def _advance(self, seconds: float) -> None:
        """Time passes, and answers are looked at often enough to tell when they began."""
        until = self.whole.reactor.seconds() + seconds
        while True:
            troubled = self.whole.index.troubled
            self.whole.advance(min(4.0 if self.asked else seconds, until - self.whole.reactor.seconds()))
            if troubled or self.whole.index.troubled:
                self._trouble()
            self._judge()
            if self.whole.reactor.seconds() >= until:
                return

    def _judge(self) -> None:
        now = self.whole.reactor.seconds()
        through = [each for each in self.asked if self.judge.judge(each, each.generation != self.generation, now)]
        self.asked = [each for each in self.asked if each not in through]

    @invariant()
    def offline_is_offline(self) -> None:
        """Nothing is asked of the index then."""
        assert self.quiet in (None, len(self.whole.index.requests))

    @invariant()
    def nothing_went_unhandled(self) -> None:
        """No error is nobody's."""
        assert not self.failures, self.failures[0]

    def teardown(self) -> None:
        """Everybody is answered; nothing is left open or waiting; catalogue and disk agree."""
        if not hasattr(self, "whole"):
            return
        try:
            self._end()
        finally:
            self.watching.__exit__(None, None, None)
            shutil.rmtree(self.root)

    def _end(self) -> None:
        self.recover()
        self._read_on()
        self._advance(180)
        assert not self.asked, [(each.pending.path, each.pending.asked_at) for each in self.asked]
        self.whole.stop()
        self.whole.advance(60)
        assert not self.whole.reactor.getDelayedCalls()
        assert not self.whole.index.wires
        assert not open_below(self.root)
        gc.collect()
        self.nothing_went_unhandled()
        if self.damaged:
            self._verified()
        tally, findings = self._verified()
        assert tally.right, findings
        assert not tally.adopted

    def _verified(self) -> tuple[Any, list[Finding]]:
        heard = Listener()
        return verify(str(self.whole.directory), heard, self.whole.reactor.seconds), heard.findings


@define
class Listener:
    findings: list[Finding] = field(factory=list)

    def total(self, size: int) -> None:
        pass

    def checked(self, size: int) -> None:
        pass

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)


# -- what was found so ------------------------------------------------------------------------------------------------


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    file = made("a", 1, 14_000)
    whole.index.catalogue.projects["a"] = Project("a", (file,), 1)
    yield whole
    whole.stop()


def state_of(whole: Whole, path: str, **more: Any) -> tuple[int, str]:
    """What is answered in this moment."""
    pending = whole.ask(path, **more)
    whole.settle()
    assert pending.answer is not None
    return pending.answer.status, pending.answer["x-pypi-cache"]


def test_a_page_that_was_found_absent_is_not_a_hit_again(whole: Whole) -> None:
    path = "/simple/a/"
    assert state_of(whole, path) == (200, "MISS")
    del whole.index.catalogue.projects["a"]
    assert state_of(whole, path) == (200, "HIT")
    assert state_of(whole, path, Cache_Control="no-cache") == (404, "EXPIRED")
    assert state_of(whole, path) == (404, "HIT")
    whole.advance(61)
    assert state_of(whole, path) == (404, "EXPIRED")
    whole.advance(61)
    whole.index.fault = "refused"
    pending = whole.ask(path)
    whole.advance(2)
    assert pending.answer is not None
    assert (pending.answer.status, pending.answer["x-pypi-cache"]) == (200, "STALE")


def test_head_beside_a_transfer_tells_the_size_that_the_page_tells(whole: Whole) -> None:
    (file,) = whole.index.catalogue.projects["a"].files
    whole.get("/simple/a/")
    whole.index.fault = "announces too much"
    whole.ask(file.path)
    whole.advance(1)
    head = whole.ask(file.path, "HEAD")
    whole.settle()
    assert head.answer is not None
    assert head.answer["x-pypi-cache"] == "UPDATING"
    assert head.answer["content-length"] == str(len(file.data))


def test_a_range_beside_a_transfer_is_not_told_a_size_that_the_page_contradicts(whole: Whole) -> None:
    file = made("a", 2, 40_000)
    whole.index.catalogue.projects["a"] = Project("a", (file,), 2)
    whole.get("/simple/a/")
    whole.index.fault = "announces too much"
    whole.ask(file.path)
    whole.advance(1)
    part = whole.ask(file.path, Range="bytes=0-99")
    whole.settle()
    assert part.answer is not None
    told = {name.lower() for name, _ in part.answer.headers}
    assert (part.answer.status, told & {"content-length", "content-range"}) == (200, set())


def test_offline_a_page_does_not_list_a_file_that_was_published_anew_and_not_fetched_since(whole: Whole) -> None:
    page, (old,) = "/simple/a/", whole.index.catalogue.projects["a"].files
    kept = made("a", 2, 2_000)
    whole.index.catalogue.projects["a"] = Project("a", (old, kept), 2)
    whole.get(page)
    assert [whole.get(file.path).status for file in (old, kept)] == [200, 200]
    whole.index.catalogue.projects["a"] = Project("a", (made("a", 1, 14_000, edition=1), kept), 3)
    assert state_of(whole, page, Cache_Control="no-cache") == (200, "EXPIRED")
    whole.parts.use(evolve(whole.settings, offline=True))
    assert {name for name, _ in listed(whole.get(page, Accept=JSON_TYPE))} == {kept.name}
    assert whole.get(kept.path).status == 200


TestWhole = Machine.TestCase
TestWhole.settings = settings(
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
