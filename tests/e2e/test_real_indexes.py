"""Real products as upstreams: what they really send."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import md5
from pathlib import Path

import pytest

from e2e import servers
from e2e.clients import Installer, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon
from e2e.packages import wheel
from e2e.upstream import Upstream

Front = Callable[..., Daemon]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def front(stack: ExitStack, tmp_path: Path) -> Front:
    """Start a daemon with exactly these options."""

    def begin(*arguments: str) -> Daemon:
        return stack.enter_context(Daemon(tmp_path / "daemon", arguments))

    return begin


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the server has its things."""
    directory = tmp_path / "server"
    directory.mkdir()
    return directory


def test_devpi(stack: ExitStack, front: Front, place: Path, upstream: Upstream, installer: Installer) -> None:
    """A private stage first, and a mirror of the public index behind it."""
    upstream.project("lib", [wheel("lib", "9.9")])
    upstream.project("public", [wheel("public", "2.0+cpu", size=100_000)])
    base = stack.enter_context(servers.devpi(place, upstream.index_url))
    servers.upload(base, "lib", "1.0", wheel("lib", "1.0", requires=("public",)))
    daemon = front("--extra-index-url", f"{base}/root/dev/+simple/", "--index-url", f"{base}/root/mirror/+simple/")
    installer.pip(daemon, "pip", "lib")
    installer.uv(daemon, "uv", "lib")
    assert installer.installed("pip") == installer.installed("uv") == {"lib": "1.0", "public": "2.0+cpu"}
    assert ask(daemon, "/simple/none/").status == 404
    for name in ("lib", "public"):
        ((_, path),) = links(daemon, name).items()
        assert ask(daemon, path).headers["x-pypi-cache"] == "HIT"
    names = {project["name"] for project in ask(daemon, "/simple/", Accept=JSON_TYPE).json()["projects"]}
    assert {"lib", "public"} <= names


def test_proxpi(stack: ExitStack, front: Front, place: Path, upstream: Upstream, installer: Installer) -> None:
    upstream.project("lib", [wheel("lib", requires=("public",))])
    upstream.project("public", [wheel("public", size=100_000)])
    index_url = stack.enter_context(servers.proxpi(place, upstream.index_url))
    daemon = front("--index-url", index_url)
    installer.pip(daemon, "pip", "lib")
    installer.uv(daemon, "uv", "lib")
    assert installer.installed("pip") == installer.installed("uv") == {"lib": "1.0", "public": "1.0"}
    assert ask(daemon, "/simple/none/").status == 404
    assert len(ask(daemon, "/simple/", Accept=JSON_TYPE).json()["projects"]) == 2


@pytest.mark.parametrize("listed", [False, True], ids=["pages", "listings"])
def test_nginx_as_a_mirror(
    listed: bool, stack: ExitStack, front: Front, place: Path, tmp_path: Path, installer: Installer
) -> None:
    """Plain HTTP, relative links and MD5; or bare folders that nginx lists itself."""
    root = tmp_path / "mirror"
    for file in (wheel("lib", requires=("public",)), wheel("public", "1.0", size=100_000)):
        name = file.name.partition("-")[0]
        folder = root / "simple" / name if listed else root / "packages" / name[0] / name
        folder.mkdir(parents=True)
        (folder / file.name).write_bytes(file.data)
        if not listed:
            (root / "simple" / name).mkdir(parents=True)
            href = f"../../packages/{name[0]}/{name}/{file.name}#md5={md5(file.data).hexdigest()}"
            anchor = f'<a href="{href}">{file.name}</a>'
            page = f"<html><head><title>Links for {name}</title></head><body>{anchor}</body></html>"
            (root / "simple" / name / "index.html").write_text(page)
    daemon = front("--index-url", f"{stack.enter_context(servers.nginx(place, root))}simple/")
    installer.pip(daemon, "pip", "lib")
    installer.uv(daemon, "uv", "lib")
    assert installer.installed("pip") == installer.installed("uv") == {"lib": "1.0", "public": "1.0"}
    assert ask(daemon, "/simple/none/").status == 404
    names = [project["name"] for project in ask(daemon, "/simple/", Accept=JSON_TYPE).json()["projects"]]
    assert sorted(names) == ["lib", "public"]
    ((_, path),) = links(daemon, "lib").items()
    assert path.startswith("/files/http:" if listed else "/packages/")
