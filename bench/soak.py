"""`python -m bench.soak [--seconds 600] [--clients 12] [--seed N]`: mixed load while the upstream fails at random.

Clients fetch pages, files, ranges and metadata, some leave in the middle; the index publishes, withdraws, misbehaves in
every way that the tests know, and goes away. The cache is small, so that it evicts all the time. Exit status 0: every
answer was right (compared with what was published) or an honest error, memory, descriptors and threads of the last
tenth of the time are those of the second (memory without what `/metrics` tells of caches, which have a bound and take
longer than a soak to fill), the daemon ended well, and `pypicache verify` found nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from attrs import define, field, frozen

from bench.soak_clients import Client
from bench.soak_index import Index
from e2e.daemon import Daemon
from e2e.ordeal import metrics
from e2e.upstream import Upstream
from e2e.waiting import wait_for

PARTS = 10
EVERY = 2.0
"""Seconds between two looks at the daemon."""

RECORD = 3072
"""Bytes of a record in memory, with all that it holds alive: 60 MB for the 20,480 that are kept at most."""

ARGUMENTS = (
    *("--index-ttl", "2s", "--not-found-ttl", "1s", "--stale-wait", "0.3", "--connect-timeout", "1s"),
    *("--read-timeout", "2s", "--cache-size", "5M", "--memory", "8M", "--access-log", "/dev/null"),
)


@frozen
class Sample:
    """The daemon at one moment; `answers` so far.

    Of `memory` (MB, resident), `caches` hold so many in bodies and answers, and so many `records`, as `/metrics` tells.
    """

    at: float
    answers: int
    memory: float
    descriptors: int
    threads: int
    caches: float
    records: int

    @property
    def other(self) -> float:
        """MB of memory beside the caches."""
        return self.memory - self.caches - self.records * RECORD / (1 << 20)


@define
class Soak:
    """One run."""

    daemon: Daemon
    index: Index
    seconds: float
    clients: int
    outcomes: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    samples: list[Sample] = field(factory=list)

    async def run(self) -> None:
        """Load, trouble and measuring, for so many seconds."""
        seeds = [self.index.random.random() for _ in range(self.clients)]
        clients = [Client(self.daemon, self.index, random.Random(seed), self.outcomes, self.wrong) for seed in seeds]
        work = [*(client.run() for client in clients), self._trouble(), self._watch()]
        tasks = [asyncio.ensure_future(each) for each in work]
        done, _ = await asyncio.wait(tasks, timeout=self.seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*(set(tasks) - done), return_exceptions=True)
        for task in done:
            task.result()

    async def _trouble(self) -> None:
        while True:
            await asyncio.to_thread(self.index.act, self.daemon)
            await asyncio.sleep(self.index.random.uniform(0.05, 0.5))

    async def _watch(self) -> None:
        began = time.monotonic()
        while True:
            self.samples.append(await asyncio.to_thread(self.look, time.monotonic() - began))
            await asyncio.sleep(EVERY)

    def look(self, at: float) -> Sample:
        """The daemon now. `AssertionError` when it isn't running."""
        assert self.daemon.process is not None
        assert self.daemon.process.poll() is None, f"the daemon ended:\n{self.daemon.log[-2000:]}"
        place = Path(f"/proc/{self.daemon.pid}")
        counts = [sum(1 for _ in (place / name).iterdir()) for name in ("fd", "task")]
        told = metrics(self.daemon)
        caches = sum(value for name, value in told.items() if name.startswith("pypicache_memory_bytes"))
        records = sum(value for name, value in told.items() if name.startswith("pypicache_memory_entries"))
        memory = self.daemon.memory() / (1 << 20)
        return Sample(at, self.outcomes.total(), memory, *counts, caches / (1 << 20), int(records))

    def part(self, number: int) -> list[Sample]:
        """The samples of one tenth of the time, from 0."""
        return [sample for sample in self.samples if int(sample.at * PARTS / self.seconds) == number]

    # -- what came of it -------------------------------------------------------------------------------------------

    def table(self) -> Iterable[str]:
        """A line for each tenth, and one for each kind of answer."""
        yield (
            f"{'until s':>8}{'answers/s':>11}{'MB':>8}{'caches':>8}{'records':>9}{'other':>8}"
            f"{'descriptors':>13}{'threads':>9}"
        )
        for number in range(PARTS):
            if len(some := self.part(number)) > 1:
                rate = (some[-1].answers - some[0].answers) / (some[-1].at - some[0].at)
                memory, caches, records, other = (
                    _middle(some, name) for name in ("memory", "caches", "records", "other")
                )
                descriptors, threads = (_middle(some, name) for name in ("descriptors", "threads"))
                yield (
                    f"{some[-1].at:8.0f}{rate:11.0f}{memory:8.1f}{caches:8.1f}{records:9.0f}{other:8.1f}"
                    f"{descriptors:13.0f}{threads:9.0f}"
                )
        for outcome, count in sorted(self.outcomes.items()):
            yield f"{count:9} {outcome}"
        yield f"{self.outcomes.total():9} answers, {self.outcomes.total() / self.seconds:.0f} a second"

    def faults(self) -> Iterable[str]:
        """What isn't as it must be, while the daemon runs."""
        yield from self.wrong[:20]
        early, late = self.part(1), self.part(PARTS - 1)
        if min(len(early), len(late)) > 2:  # else the run was too short to tell
            limits: dict[str, Callable[[float], float]] = {
                "other": lambda before: 1.1 * before + 4,
                "descriptors": lambda before: 1.25 * before + 10,
                "threads": lambda before: max(before + 1, 20),  # the pools make theirs when they need them
            }
            for name, limit in limits.items():
                before, after = _middle(early, name), _middle(late, name)
                if after > limit(before):
                    what = "memory beside the caches" if name == "other" else name
                    yield f"{what} grew from {before:.1f} to {after:.1f}"
        if "Traceback" in self.daemon.log:
            yield f"the log has a traceback: ...{self.daemon.log.partition('Traceback')[2][:2000]}"

    def calm(self, before: Sample) -> Iterable[str]:
        """What is left over when no client is there any more and upstream is well."""
        self.index.upstream.heal()
        allowed = before.descriptors + 50  # kept connections to upstream, and small files that stay open
        try:
            wait_for("no more descriptors are open than that", lambda: self.look(0).descriptors <= allowed)
        except AssertionError:
            yield f"{self.look(0).descriptors} descriptors stay open, {before.descriptors} were so at the start"

    def ending(self) -> Iterable[str]:
        """Stop the daemon and check what it leaves."""
        if status := self.daemon.stop():
            yield f"the daemon ended with status {status}"
        code = "import sys; from twisted_pypi.commands import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "verify", "--cache-dir", str(self.daemon.cache)]
        verified = subprocess.run(command, capture_output=True, text=True, check=False)
        if verified.returncode:
            yield f"verify: {verified.stdout}{verified.stderr}"


def _middle(samples: list[Sample], name: str) -> float:
    return float(median(getattr(sample, name) for sample in samples))


def main(arguments: list[str]) -> int:
    """Run it and print what came of it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where the cache and the daemon's log stay")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pypicache-soak-") as directory, Upstream() as upstream:
        urls = ("--index-url", upstream.index_url, "--files-url", upstream.files_url)
        with Daemon(options.keep or Path(directory), (*urls, *ARGUMENTS)) as daemon:
            soak = Soak(daemon, Index(upstream, random.Random(options.seed)), options.seconds, options.clients)
            before = soak.look(0)
            asyncio.run(soak.run())
            faults = [*soak.faults(), *soak.calm(before), *soak.ending()]
    print("\n".join(soak.table()))
    print("\n".join(faults) or "all is well", f"(seed {options.seed})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
