"""Dependency confusion: the public index has the private project's name, too, with a higher version.

One private name through a whole life: whatever becomes of the private index, nobody gets the public one's release.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from e2e.clients import BIN, Installer, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import Fault, latency, raw, reply
from e2e.packages import wheel
from e2e.upstream import Upstream

PAGE = "/simple/acme/"
CONFIG = """
[[index]]
name = "internal"
url = "{internal}"
"""
TROUBLE: dict[str, Fault] = {
    "forbidden": reply(403),
    "unauthorised": reply(401),
    "broken": reply(500),
    "reset": raw(b""),
    "login page": reply(200, {"Content-Type": "text/html"}, b"<form><input type=password></form>"),
}


@pytest.fixture
def daemon(start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream) -> Daemon:
    """`other_upstream` is the private index, and never cached for longer than the moment."""
    config = tmp_path / "confusion.toml"
    config.write_text(CONFIG.format(internal=other_upstream.index_url))
    upstream.project("acme", [wheel("acme", "99.0")])
    other_upstream.project("acme", [wheel("acme", "1.0")])
    return start("--config", str(config), "--index-ttl", "0", "--read-timeout", "3s")


CLIENTS = {
    "pip": (sys.executable, "-m", "pip", "install", "--retries", "0", "--no-compile"),
    "uv": (str(BIN / "uv"), "pip", "install", "--python", sys.executable),
}


def got(daemon: Daemon, installer: Installer, target: str, client: str = "pip") -> dict[str, str]:
    """What the client installs, if anything."""
    where = ("--target", str(installer.directory / target), "--index-url", daemon.index_url)
    installer.run(*CLIENTS[client], *where, "acme")
    return installer.installed(target)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_whole_life(
    client: str, upstream: Upstream, other_upstream: Upstream, daemon: Daemon, installer: Installer
) -> None:
    mine = {"acme": "1.0"}
    assert got(daemon, installer, "up", client) == mine
    other_upstream.fault(PAGE, latency(2))
    assert got(daemon, installer, "slow", client) == mine
    other_upstream.heal()
    for fault in TROUBLE.values():
        other_upstream.fault(PAGE, fault)
        assert list(links(daemon, "acme")) == ["acme-1.0-py3-none-any.whl"]
        assert "internal" in ask(daemon, PAGE).headers["cache-status"]
        other_upstream.heal()
    with other_upstream.down():
        daemon.restart()
        assert got(daemon, installer, "down, after a restart", client) == mine
    other_upstream.withdraw("acme")
    daemon.restart()  # the breaker is closed again
    assert got(daemon, installer, "gone", client) == {}
    assert ask(daemon, PAGE).status == 404
    daemon.kill()
    daemon.start()
    assert got(daemon, installer, "gone, after a crash", client) == {}
    assert "acme" in daemon.log
    assert upstream.count() == 0
    # It takes an administrator's word.
    daemon.expire("acme")
    assert got(daemon, installer, "purged", client) == {"acme": "99.0"}


@pytest.mark.parametrize("fault", TROUBLE.values(), ids=TROUBLE)
def test_it_begins_in_trouble(
    fault: Fault, upstream: Upstream, other_upstream: Upstream, daemon: Daemon, installer: Installer
) -> None:
    other_upstream.fault(PAGE, fault)
    answer = ask(daemon, PAGE)
    assert answer.status == 503
    assert 'detail="internal: ' in answer.headers["cache-status"]
    assert got(daemon, installer, "trouble") == {}
    assert upstream.count() == 0
    other_upstream.heal()
    assert got(daemon, installer, "healed") == {"acme": "1.0"}


def test_it_begins_slow_or_down(
    upstream: Upstream, other_upstream: Upstream, daemon: Daemon, installer: Installer
) -> None:
    with other_upstream.down():
        assert ask(daemon, PAGE).status == 503
    gate = other_upstream.gate(PAGE)
    assert ask(daemon, PAGE).status == 503
    gate.release()
    other_upstream.heal()
    assert got(daemon, installer, "healed") == {"acme": "1.0"}
    assert upstream.count() == 0


def test_the_public_index_read_alone_owns_nothing(
    start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    """Its page is stored then, and fresh; the private index has to be asked first all the same."""
    config = tmp_path / "both.toml"
    config.write_text(
        CONFIG.format(internal=other_upstream.index_url)
        + f'[[index]]\nname = "public"\nurl = "{upstream.index_url}"\nfiles-url = "{upstream.files_url}"\n'
    )
    upstream.project("acme", [wheel("acme", "99.0")])
    other_upstream.project("acme", [wheel("acme", "1.0")])
    daemon = start("--config", str(config))
    assert b"acme-99.0" in ask(daemon, "/public/simple/acme/").body
    with other_upstream.down():
        assert ask(daemon, PAGE).status == 503
    assert list(links(daemon, "acme")) == ["acme-1.0-py3-none-any.whl"]
    assert b"acme-99.0" in ask(daemon, "/public/simple/acme/").body


@pytest.fixture
def three(
    start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream, third_upstream: Upstream
) -> Daemon:
    """A private index, a vendor's for its own names, and the public one."""
    config = tmp_path / "three.toml"
    config.write_text(
        CONFIG.format(internal=other_upstream.index_url)
        + f'[[index]]\nname = "vendor"\nurl = "{third_upstream.index_url}"\nroutes = ["torch*"]\n'
    )
    other_upstream.project("acme", [wheel("acme", "1.0", requires=("torch-lib", "public-lib"))])
    third_upstream.project("torch-lib", [wheel("torch-lib", "2.0+cpu")])
    upstream.project("public-lib", [wheel("public-lib", "3.0")])
    # What must not be taken:
    upstream.project("acme", [wheel("acme", "99.0")])
    upstream.project("torch-lib", [wheel("torch-lib", "99.0")])
    third_upstream.project("public-lib", [wheel("public-lib", "99.0")])
    return start("--config", str(config))


def test_one_installation_from_three_indexes(three: Daemon, installer: Installer) -> None:
    wanted = {"acme": "1.0", "torch_lib": "2.0+cpu", "public_lib": "3.0"}
    installer.pip(three, "pip", "acme")
    assert installer.installed("pip") == wanted
    installer.uv(three, "uv", "acme")
    assert installer.installed("uv") == wanted


def test_the_list_is_the_union(
    three: Daemon, upstream: Upstream, other_upstream: Upstream, third_upstream: Upstream
) -> None:
    def listed() -> tuple[list[str], str]:
        answer = ask(three, "/simple/", Accept=JSON_TYPE)
        assert answer.status == 200
        return sorted(project["name"] for project in answer.json()["projects"]), answer.headers["cache-status"]

    # The vendor's list has what it is not asked for.
    third_upstream.refuse()
    names, status = listed()
    assert names == ["acme", "public-lib"]
    assert status.endswith('detail="without vendor"')
    third_upstream.listen()
    three.expire("list")
    names, status = listed()
    assert names == ["acme", "public-lib", "torch-lib"]
    assert "detail" not in status
    assert ask(three, "/simple/").headers["x-pypi-cache"] == "HIT"
    assert b'href="torch-lib/"' in ask(three, "/simple/").body
    # Its stale list is as good.
    with third_upstream.down(), other_upstream.down(), upstream.down():
        three.expire("list")
        assert listed()[0] == names
        assert ask(three, "/simple/").headers["x-pypi-cache"] == "STALE"
        three.restart()
        assert listed()[0] == names
    upstream.withdraw("acme")
    upstream.project("new", [])
    three.restart("--index-ttl", "0")
    assert listed()[0] == ["acme", "new", "public-lib", "torch-lib"]
