"""`python -m bench [--json NEW.json] [--compare OLD.json]`: what a hit, a page and a transfer cost.

CPU is the daemon's alone; of the pauses between two turns of its reactor, the part in which it computed. Lower is
better, save for MB/s. Takes a minute or two; `--quick` only shows that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measuring import Connection, Probed, certificate_in, commit, cpu_of, index, load, path_of
from bench.upstream import JSON_TYPE, MB
from e2e.daemon import Daemon

Figures = Iterator[tuple[str, float]]


def hits(daemon: Daemon, count: int) -> Figures:
    """CPU of the answers that come from the cache, each `count` times on one connection."""
    client, accept = Connection(daemon), f"Accept: {JSON_TYPE}"
    file = path_of(daemon, "small")
    etag = client.get("/simple/small/", accept, "Accept-Encoding: gzip")[2]["etag"]
    asked = {
        "page gzip": (200, "/simple/small/", accept, "Accept-Encoding: gzip"),
        "page 304": (304, "/simple/small/", accept, "Accept-Encoding: gzip", f"If-None-Match: {etag}"),
        "file 100 KB": (200, file),
        ".metadata": (200, f"{file}.metadata"),
    }
    for name, (status, path, *lines) in asked.items():
        client.get(path, *lines)
        before = cpu_of(daemon)
        for _ in range(count):
            if client.get(path, *lines)[0] != status:
                raise RuntimeError(f"{path} was not answered with {status}")
        yield f"hit {name}, us CPU", (cpu_of(daemon) - before) / count * 1e6
    client.close()


def ingest(daemon: Probed, form: str) -> Figures:
    """A large page that isn't cached yet."""
    since, before, began = daemon.forget_pauses(), cpu_of(daemon), time.monotonic()
    client = Connection(daemon)
    status = client.get(f"/simple/{form}/", f"Accept: {JSON_TYPE}", "Accept-Encoding: gzip")[0]
    if status != 200:
        raise RuntimeError(f"the page was answered with {status}")
    yield f"page of {form}, ms", (time.monotonic() - began) * 1000
    yield f"page of {form}, ms CPU", (cpu_of(daemon) - before) * 1000
    yield f"page of {form}, longest pause ms", daemon.longest_pause(since)[1]
    client.close()


def transfer(daemon: Probed, scheme: str, megabytes: int) -> Figures:
    """A large file that isn't cached yet, read by one client; over http also from the cache."""
    path = path_of(daemon, "large")
    for kind in ("cold", "cached")[: 2 if scheme == "http" else 1]:
        client = Connection(daemon)
        since, before, began = daemon.forget_pauses(), cpu_of(daemon), time.monotonic()
        if client.get(path)[1] != megabytes * MB:
            raise RuntimeError("the file is not whole")
        took, used, size = time.monotonic() - began, cpu_of(daemon) - before, megabytes * MB / 1e9
        yield f"file {kind} over {scheme}, MB/s", size * 1000 / took
        yield f"file {kind} over {scheme}, s CPU/GB", used / size
        yield f"file {kind} over {scheme}, longest pause ms", daemon.longest_pause(since)[1]
        client.close()


def measure(directory: Path, *, quick: bool) -> Figures:
    """All of it."""
    files, megabytes, count = (100, 2, 20) if quick else (6000, 300, 5000)
    with index(files, megabytes) as url:
        arguments = ("--index-url", f"{url}/simple/", "--access-log", "/dev/null")
        with Daemon(directory / "hits", arguments) as daemon:
            yield from hits(daemon, count)
        with Probed(directory / "http", arguments) as probed:
            yield from ingest(probed, "json")
            yield from ingest(probed, "html")
            yield from transfer(probed, "http", megabytes)
    certificate = certificate_in(directory)
    with index(files, megabytes, str(certificate)) as url:
        arguments = ("--index-url", f"{url}/simple/", "--access-log", "/dev/null", "--ca-file", str(certificate))
        with Probed(directory / "tls", arguments) as probed:
            yield from transfer(probed, "https", megabytes)


def table(figures: dict[str, float], old: dict[str, float]) -> str:
    """One line a figure; with an older run's beside it, and the ratio."""
    lines = []
    for name, value in figures.items():
        before = old.get(name)
        ratio = f"{before:12.1f} {value / before:9.2f}x" if before else ""
        lines.append(f"{name:46}{value:10.1f}{ratio}".rstrip())
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measure, print a table, write a file if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures, with the commit that they belong to")
    parser.add_argument("--compare", metavar="FILE", help="what an earlier --json wrote, to be shown beside")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    options = parser.parse_args(arguments)
    old = load(options.compare) if options.compare else {}
    with tempfile.TemporaryDirectory(prefix="pypicache-bench-") as directory:
        figures = dict(measure(Path(directory), quick=options.quick))
    print(table(figures, old))
    if options.json:
        record = {"commit": commit(), "python": sys.version.split()[0], "figures": figures}
        Path(options.json).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
