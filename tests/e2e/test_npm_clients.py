"""npm, pnpm and yarn install through the daemon, as their users have them do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import faults, servers
from e2e.clients import succeeded
from e2e.daemon import Daemon, Start
from e2e.node import Node
from e2e.registry import NpmCatalogue, Package, npm_of, package, packed, registry
from e2e.upstream import Upstream

NEEDED = {"app": "1.0.0", "@scope/part": "2.0.0", "left": "1.0.0", "Legacy": "0.1.0"}
LOCKED = {
    "npm": ("npm", "ci"),
    "npm8": ("npm8", "ci"),
    "pnpm": ("pnpm", "install", "--frozen-lockfile", "--node-linker=hoisted"),
    "yarn": ("yarn", "install", "--frozen-lockfile"),
}
INSTALL = {
    "npm": ("npm", "install"),
    "npm8": ("npm8", "install"),
    "pnpm": ("pnpm", "install", "--node-linker=hoisted"),
    "yarn": ("yarn", "install"),
}
LOCKS = ("package-lock.json", "pnpm-lock.yaml", "yarn.lock")


@pytest.fixture
def npm_upstream() -> Iterator[Upstream]:
    """A registry with a package that needs a scoped one and an unscoped one, and one with an old name."""
    with registry() as running:
        npm_of(running).publish(
            packed(Package("app", "1.0.0", {"@scope/part": "^2.0.0", "left": "~1.0.0"})),
            packed(Package("@scope/part", "2.0.0", {"left": "^1.0.0"}), 300_000),
            package("left", "1.0.0"),
            package("Legacy", "0.1.0"),
        )
        yield running


@pytest.fixture
def npm(npm_upstream: Upstream) -> NpmCatalogue:
    return npm_of(npm_upstream)


@pytest.fixture
def daemon(start: Start, npm: NpmCatalogue) -> Daemon:
    return start("--npm-url", npm.url)


def client(tmp_path: Path, daemon: Daemon, name: str, lock_of: Node | None = None) -> Node:
    """A machine with nothing but the project, and perhaps another one's lock file."""
    node = Node(tmp_path / name, f"{daemon.url}/npm/")
    node.write({"name": "p", "version": "1.0.0", "license": "MIT", "dependencies": {"app": "^1.0.0", "Legacy": "*"}})
    for lock in LOCKS if lock_of else ():
        if lock_of and (lock_of.directory / lock).exists():
            (node.directory / lock).write_bytes((lock_of.directory / lock).read_bytes())
    return node


def of_tarballs(upstream: Upstream) -> int:
    return sum(request.path.endswith(".tgz") for request in upstream.requests)


@pytest.mark.parametrize("name", list(INSTALL))
def test_cold_warm_and_without_upstream(
    name: str, daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream, tmp_path: Path
) -> None:
    cold = client(tmp_path, daemon, "cold")
    told = succeeded(cold.run(*INSTALL[name]))
    assert cold.installed() == NEEDED
    assert "ERR" not in told
    assert "error" not in told.lower()
    asked = of_tarballs(npm_upstream)
    warm = client(tmp_path, daemon, "warm")
    succeeded(warm.run(*INSTALL[name]))
    assert warm.installed() == NEEDED
    assert of_tarballs(npm_upstream) == asked == len(NEEDED)
    npm_upstream.refuse()
    port = daemon.port
    daemon.restart("--index-ttl", "0", "--port", str(port))  # lock files name it
    locked = client(tmp_path, daemon, "locked", cold)
    succeeded(locked.run(*LOCKED[name]))
    assert locked.installed() == NEEDED
    fresh = client(tmp_path, daemon, "fresh")
    succeeded(fresh.run(*INSTALL[name]))
    assert fresh.installed() == NEEDED


def test_a_lock_file_names_us_and_one_that_names_another_host_is_read_as_ours(
    daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream, tmp_path: Path
) -> None:
    cold = client(tmp_path, daemon, "cold")
    cold.npm("install")
    resolved = {folder: each["resolved"] for folder, each in cold.lock.items() if folder}
    assert resolved["node_modules/@scope/part"] == f"{daemon.url}/npm/@scope/part/-/part-2.0.0.tgz"
    other = client(tmp_path, daemon, "other", cold)
    lock = other.directory / "package-lock.json"
    lock.write_text(lock.read_text().replace(f"{daemon.url}/npm/", "https://registry.invalid/"))
    other.npm("ci", "--replace-registry-host=always")
    assert other.installed() == NEEDED


def test_what_npm_asks_besides(daemon: Daemon, npm: NpmCatalogue, tmp_path: Path) -> None:
    node = client(tmp_path, daemon, "cold")
    node.npm("install")
    assert node.npm("view", "app", "version").strip() == "1.0.0"
    assert node.npm("view", "@scope/part@latest", "version").strip() == "2.0.0"
    assert node.npm("dist-tag", "ls", "left").strip() == "latest: 1.0.0"
    assert "PONG" in node.npm("ping")
    node.npm("outdated")
    audit = node.run("npm", "audit")
    assert (audit.returncode, "ask the registry itself" in audit.stdout + audit.stderr) == (1, True)
    unknown = node.run("npm", "install", "nothing")
    assert "nothing: upstream does not have it" in unknown.stderr
    assert "404" in unknown.stderr


def test_a_wrong_tarball_is_never_installed(
    daemon: Daemon, npm: NpmCatalogue, npm_upstream: Upstream, tmp_path: Path
) -> None:
    npm_upstream.fault("/@scope/part/-/", faults.corrupt())
    node = client(tmp_path, daemon, "cold")
    assert node.run("npm", "install").returncode != 0
    assert "@scope/part" not in node.installed()
    assert not daemon.stored("part-2.0.0.tgz*")
    npm_upstream.heal()
    node.npm("install")
    assert node.installed() == NEEDED


def test_a_private_registry_with_a_token(start: Start, tmp_path: Path) -> None:
    """verdaccio: what its clients publish is installed by ours, who have no token."""
    place = tmp_path / "server"
    place.mkdir()
    with servers.verdaccio(place) as (url, token):
        for made in (Package("@scope/part", "2.0.0", {"left": "^1.0.0"}), Package("left", "1.0.0")):
            author = Node(tmp_path / "author" / made.name.replace("/", "-"), url)
            author.write(made.manifest)
            address = url.partition(":")[2]
            author.npm("publish", f"--{address}:_authToken={token}")
        file = tmp_path / "pypicache.toml"
        file.write_text(f'[[npm]]\nurl = "{url}"\ntoken-env = "TOKEN"\n')
        daemon = start("--config", str(file), TOKEN=token)
        node = Node(tmp_path / "cold", f"{daemon.url}/npm/")
        node.project(**{"@scope/part": "^2.0.0"})
        node.npm("install")
        assert node.installed() == {"@scope/part": "2.0.0", "left": "1.0.0"}
        assert token not in daemon.log
        assert node.run("npm", "view", "nothing").returncode == 1
    daemon.restart("--index-ttl", "0")
    again = Node(tmp_path / "again", f"{daemon.url}/npm/")
    again.project(**{"@scope/part": "^2.0.0"})
    again.npm("install")
    assert again.installed() == {"@scope/part": "2.0.0", "left": "1.0.0"}
