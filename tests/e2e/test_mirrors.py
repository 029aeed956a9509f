"""One index in several places: who is slow or fails is left for the next, and what is served stays the same."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack
from http.client import IncompleteRead
from pathlib import Path

import pytest

from e2e.clients import ask, links
from e2e.daemon import Daemon, Start
from e2e.faults import corrupt, hang, reply, reset, trickle
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import wait_for

MB = 1 << 20
BIG = wheel("big", size=2 * MB)
TABLE = '[[index]]\nname = "main"\nurl = "{}"\nmirrors = ["{}"]\n'


@pytest.fixture
def mirror(upstream: Upstream, other_upstream: Upstream) -> Upstream:
    """A mirror of `upstream` with relative links, as regional mirrors have them."""
    other_upstream.catalogue.relative_links = True
    for place in (upstream, other_upstream):
        place.project("big", [BIG])
        place.project("lib", [wheel("lib")])
        place.project("more", [wheel("more")])
    return other_upstream


@pytest.fixture
def config(tmp_path: Path, upstream: Upstream, mirror: Upstream) -> Path:
    path = tmp_path / "pypicache.toml"
    path.write_text(TABLE.format(upstream.index_url, mirror.index_url))
    return path


@pytest.fixture
def daemon(start: Start, config: Path) -> Daemon:
    return start("--config", str(config), "--index-ttl", "0")


def served(daemon: Daemon, name: str) -> bytes:
    (path,) = links(daemon, name).values()
    return ask(daemon, path).body


def test_the_first_alone_is_asked_while_it_is_well(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    assert served(daemon, "big") == BIG.data
    assert mirror.count() == 0


def test_off_site_the_next_is_asked_and_its_files_are_the_index_s(
    daemon: Daemon, upstream: Upstream, mirror: Upstream
) -> None:
    with upstream.down():
        away = links(daemon, "big")
        assert ask(daemon, away[BIG.name]).body == BIG.data
        assert mirror.count("/packages/") == 1
    wait_for("the first is asked again", lambda: links(daemon, "big") and upstream.count("/simple/big/", "GET"))
    assert links(daemon, "big") == away
    answer = ask(daemon, away[BIG.name])
    assert (answer.state, answer.body) == ("HIT", BIG.data)
    assert upstream.count("/packages/") == 0


def test_one_that_says_nothing_costs_two_seconds_once(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    upstream.fault("/", hang())
    for name in ("lib", "more", "big"):
        assert ask(daemon, f"/simple/{name}/").status == 200
    assert [request.path for request in upstream.seen(method="GET")] == ["/simple/lib/"]
    assert "no answer within 2 s" in daemon.log
    upstream.heal()
    wait_for("a look finds it well", lambda: ask(daemon, "/simple/lib/") and upstream.count("/simple/lib/", "GET") > 1)


@pytest.mark.parametrize(
    "fault", [reply(503), reply(429), reply(200, {"Content-Type": "text/html"}, b"<p>log in"), reset(after=9)]
)
def test_a_page_that_fails_comes_from_the_next(fault: object, daemon: Daemon, upstream: Upstream) -> None:
    upstream.fault("/simple/", fault)  # type: ignore[arg-type]
    assert list(links(daemon, "big")) == [BIG.name]


def test_a_file_that_breaks_off_goes_on_at_the_next(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    upstream.fault("/packages/", reset(after=MB))
    assert served(daemon, "big") == BIG.data
    (first,) = upstream.seen("/packages/")
    (second,) = mirror.seen("/packages/")
    assert "range" not in first.headers
    assert second.headers["range"].startswith("bytes=")
    assert second.headers["range"] != "bytes=0-"
    assert "if-range" not in second.headers


def test_a_file_that_comes_slowly_goes_on_at_the_next(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    upstream.fault("/packages/", trickle(16 << 10, 0.25))
    assert served(daemon, "big") == BIG.data
    assert f"within 10 s from {upstream.files_url.rstrip('/')}" in daemon.log
    assert mirror.seen("/packages/")[0].headers["range"].startswith("bytes=")


def test_a_mirror_can_not_change_a_file(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    (path,) = links(daemon, "big").values()
    mirror.fault("/packages/", corrupt())
    upstream.fault("/packages/", reply(503), times=1)
    assert ask_quietly(daemon, path) == b""
    wait_for("the first is asked again", lambda: ask_quietly(daemon, path) == BIG.data)
    assert "not what was announced: sha256" in daemon.log


def ask_quietly(daemon: Daemon, path: str) -> bytes:
    """The body; nothing when it broke."""
    try:
        return ask(daemon, path).body
    except (IncompleteRead, ConnectionResetError):
        return b""


def test_what_a_lagging_mirror_lacks_is_not_taken_away(daemon: Daemon, upstream: Upstream, mirror: Upstream) -> None:
    assert ask(daemon, "/simple/lib/").status == 200
    mirror.withdraw("lib")
    mirror.withdraw("more")
    with upstream.down():
        assert (ask(daemon, "/simple/lib/").state, ask(daemon, "/simple/more/").status) == ("STALE", 404)


def test_sighup_brings_mirrors_into_force(daemon: Daemon, config: Path, upstream: Upstream, mirror: Upstream) -> None:
    config.write_text("")
    daemon.signal(signal.SIGHUP)
    wait_for("it says so", lambda: "changed: indexes" in daemon.log)
    with upstream.down():
        assert ask(daemon, "/simple/lib/").status == 503
        config.write_text(TABLE.format(upstream.index_url, mirror.index_url))
        daemon.signal(signal.SIGHUP)
        wait_for("it says so again", lambda: daemon.log.count("changed: indexes") == 2)
        assert ask(daemon, "/simple/lib/").status == 200


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in sockets]


def test_two_that_are_each_others_mirror_don_t_ask_in_a_circle(tmp_path: Path, mirror: Upstream) -> None:
    ports = free_ports(2)
    with ExitStack() as stack:
        daemons = []
        for number, port in enumerate(ports):
            sibling = f"http://127.0.0.1:{ports[1 - number]}/simple/"
            config = tmp_path / f"{number}.toml"
            config.write_text(f'index-url = "{sibling}"\n{TABLE.format(sibling, mirror.index_url)}')
            more = ("--port", str(port), "--config", str(config), "--index-ttl", "1h")
            daemons.append(stack.enter_context(Daemon(tmp_path / f"daemon-{number}", more)))
        first, second = daemons
        assert served(first, "big") == BIG.data
        assert (mirror.count("/simple/big/"), mirror.count("/packages/", "GET")) == (1, 1)
        assert "answered 508" in second.log
        assert "is taken for down" not in first.log + second.log
        assert "no answer within" not in first.log + second.log
        assert served(second, "big") == BIG.data
        assert (mirror.count("/simple/big/"), mirror.count("/packages/", "GET")) == (1, 1)


def test_one_that_is_its_own_mirror_asks_the_other_place(tmp_path: Path, mirror: Upstream) -> None:
    (port,) = free_ports(1)
    config = tmp_path / "own.toml"
    own = f"http://127.0.0.1:{port}/simple/"
    config.write_text(f'index-url = "{own}"\n{TABLE.format(own, mirror.index_url)}')
    with Daemon(tmp_path / "daemon", ("--port", str(port), "--config", str(config))) as daemon:
        assert served(daemon, "big") == BIG.data


def test_a_laptop_names_the_offices_cache_first(tmp_path: Path, mirror: Upstream) -> None:
    (port,) = free_ports(1)
    office = f"http://127.0.0.1:{port}/simple/"
    config = tmp_path / "laptop.toml"
    config.write_text(f'index-url = "{office}"\nindex-ttl = 0\n{TABLE.format(office, mirror.index_url)}')
    at_office = Daemon(tmp_path / "office", ("--port", str(port), "--index-url", mirror.index_url, "--index-ttl", "1h"))
    with Daemon(tmp_path / "laptop", ("--config", str(config))) as laptop:
        with at_office:
            at_work = links(laptop, "big")
            assert ask(laptop, at_work[BIG.name]).body == BIG.data
            assert mirror.count("/simple/big/") == mirror.count("/packages/", "GET") == 1
        assert links(laptop, "big") == at_work
        assert ask(laptop, at_work[BIG.name]).state == "HIT"
        assert served(laptop, "lib") == wheel("lib").data
