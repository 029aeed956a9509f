"""The index of a soak: it publishes, withdraws, fails and goes away at random, and remembers all it ever had."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from urllib.error import HTTPError

from attrs import define, field

from e2e import faults
from e2e.daemon import Daemon
from e2e.faults import Fault
from e2e.packages import File, wheel
from e2e.upstream import Upstream

PROJECTS = tuple(f"project-{number}" for number in range(8))
FLICKERING = "project-flickering"
"""Is withdrawn and published again: the only one of which a 404 is right."""

KEPT = 8
"""Files of a project that its page lists; older ones are withdrawn."""

SIZES = (0, 2_000, 15_000, 20_000, 200_000, 3_000_000)

LOGIN = b"<!DOCTYPE html><html><body>Please log in</body></html>"

FAULTS: tuple[Callable[[], Fault], ...] = (
    *(lambda status=status: faults.reply(status) for status in (401, 403, 500, 502, 503)),
    lambda: faults.reply(429, {"Retry-After": "1"}),
    lambda: faults.reply(200, {"Content-Type": "text/html"}, LOGIN),
    lambda: faults.redirect("http://169.254.169.254/latest"),
    *(lambda after=after: faults.reset(after) for after in (None, 0, 5000)),
    *(lambda after=after: faults.short_body(after) for after in (0, 500, 20_000)),
    *(lambda after=after: faults.hang(after) for after in (None, 0, 1000)),
    *(lambda seconds=seconds: faults.latency(seconds) for seconds in (0.2, 1.5)),
    faults.disconnect,
    lambda: faults.slow_head(0.005),
    lambda: faults.trickle(30_000, 0.02),
    faults.corrupt,
    faults.truncated,
    faults.encoded,
    faults.no_length,
    faults.chunked,
    lambda: faults.announced("-1"),
    lambda: faults.announced("many"),
    lambda: faults.announced(lambda length: length + 7),
    faults.early_hints,
    lambda: faults.surplus(b"HTTP/1.1 200 OK\r\n\r\n"),
    lambda: faults.bad_chunks(300),
    lambda: faults.raw(b"\x00\x01nonsense\r\n\r\n"),
    lambda: faults.large_head(100_000),
)

Release = frozenset[tuple[str, str]]
"""What a page lists: (file name, SHA-256) of each."""


@define
class Index:
    """The upstream, and every right answer that there ever was."""

    upstream: Upstream
    random: random.Random
    files: dict[str, bytes] = field(factory=dict)
    releases: dict[str, set[Release]] = field(factory=dict)
    withdrawn: dict[str, float] = field(factory=dict)
    _count: int = 0

    def __attrs_post_init__(self) -> None:
        for name in (*PROJECTS, FLICKERING):
            for _ in range(3):
                self.release(name)

    def release(self, name: str) -> None:
        """A new file of a project, which was withdrawn perhaps; the oldest may go."""
        self._count += 1
        file = wheel(name, f"{self._count}.0", size=self.random.choices(SIZES, (4, 8, 8, 8, 4, 1))[0])
        now = self.upstream.catalogue.projects.get(name)
        files = (*(now.files if now else ()), file)
        for gone in files[:-KEPT]:
            self.withdrawn[gone.path] = time.monotonic()
        self._remember(name, file, files[-KEPT:])
        self.upstream.project(name, files[-KEPT:])

    def _remember(self, name: str, file: File, files: tuple[File, ...]) -> None:
        assert file.metadata is not None
        self.files |= {file.path: file.data, f"{file.path}.metadata": file.metadata}
        self.releases.setdefault(name, set()).add(frozenset((each.name, each.sha256) for each in files))

    def flicker(self) -> None:
        """Withdraw the project that isn't always there, or publish it again."""
        projects = self.upstream.catalogue.projects
        if FLICKERING in projects:  # replaced, not changed: the upstream's thread reads it
            self.upstream.catalogue.projects = {name: each for name, each in projects.items() if name != FLICKERING}
        else:
            self.release(FLICKERING)

    def may_be_absent(self, path: str) -> bool:
        """Whether a 404 of a file is right, its page having stopped listing it."""
        return path.removesuffix(".metadata") in self.withdrawn or "flickering" in path

    def misbehave(self) -> None:
        """One fault, a few times."""
        place = self.random.choice(("/", "/simple/", "/packages/", f"/simple/{self.random.choice(PROJECTS)}/"))
        self.upstream.fault(place, self.random.choice(FAULTS)(), self.random.choice((1, 1, 2, 4, 10)))

    def vanish(self) -> None:
        """Gone for a moment, as in a restart."""
        with self.upstream.down():
            time.sleep(self.random.choice((0.05, 0.5, 2.0)))

    def purge(self, daemon: Daemon) -> None:
        """An administrator purges a project, now and then with its files."""
        try:
            daemon.expire(self.random.choice(PROJECTS), self.random.choice(("", "", "?files=1")))
        except HTTPError as error:
            if error.code != 404:  # nothing of it is stored
                raise

    def act(self, daemon: Daemon) -> None:
        """Whatever comes next. Blocks while the index is away."""
        acts: dict[Callable[[], None], int] = {
            self.misbehave: 12,
            lambda: self.release(self.random.choice(PROJECTS)): 6,
            self.upstream.heal: 4,
            self.vanish: 1,
            self.upstream.hang_up: 1,
            self.flicker: 1,
            lambda: self.purge(daemon): 2,
        }
        self.random.choices(list(acts), list(acts.values()))[0]()
        self.upstream.requests.clear()


def listed(body: bytes) -> Release:
    """What a page in JSON lists. Raises `ValueError` when it isn't one."""
    try:
        return frozenset((file["filename"], file["hashes"]["sha256"]) for file in json.loads(body)["files"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"no page: {error!r}") from error
