"""Indexes as they are: each product's pages and links, alone and beside the public index."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.clients import Installer, ask, links
from e2e.content import JSON_TYPE, Response
from e2e.daemon import Daemon, Start
from e2e.dialects import DIALECTS, LIB, WITH_LOGIN, Dialect, Site, anchors, gitlab
from e2e.faults import Exchange
from e2e.packages import wheel
from e2e.upstream import Upstream

TABLE = '[[index]]\nname = "{name}"\nurl = "http://{host}{index}"\n{keys}\n'


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return request.param  # type: ignore[no-any-return]


def beside(start: Start, tmp_path: Path, other: Upstream, index: str, keys: str = "", name: str = "mine") -> Daemon:
    """A daemon that asks `other` before the public index."""
    config = tmp_path / "indexes.toml"
    config.write_text(TABLE.format(name=name, host=other.host, index=index, keys=keys))
    config.chmod(0o600)
    return start("--config", str(config), "--log-level", "debug")


def test_a_product_beside_the_public_index(
    dialect: Dialect, start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream, installer: Installer
) -> None:
    site = dialect.make(f"http://{other_upstream.host}")
    other_upstream.fault("/", site)
    upstream.project("lib", [wheel("lib", "9.9")])
    upstream.project("other", [wheel("other")])
    daemon = beside(start, tmp_path, other_upstream, dialect.index, dialect.keys)

    page = ask(daemon, "/simple/lib/", Accept=JSON_TYPE)
    assert page.headers["cache-status"].endswith('detail="mine"')
    ((name, path),) = links(daemon, "lib").items()
    assert name == dialect.file.name
    first, second = ask(daemon, path), ask(daemon, path)
    assert first.body == second.body == dialect.file.data
    assert (first.headers["x-pypi-cache"], second.headers["x-pypi-cache"]) == ("MISS", "HIT")
    assert second.headers["cache-status"].endswith('detail="mine"')
    assert ask(daemon, f"/mine{path}").body == dialect.file.data
    installer.pip(daemon, "target", "lib")
    assert installer.installed("target") == {"lib": dialect.file.name.split("-")[1]}

    other = ask(daemon, "/simple/other/")
    if dialect.name == "gitlab":
        # It leads to somebody that nobody configured: neither absent nor to be followed.
        assert (other.status, upstream.count("/simple/other/")) == (503, 0)
        assert "redirects away, to http://public.invalid" in other.reason
    else:
        assert other.headers["cache-status"].endswith(f'detail="{upstream.index_url}"')
    assert b"secret-of-ci" not in page.body
    assert "secret-of-ci" not in daemon.log


def test_what_gitlab_leads_to_the_public_index_is_asked_there(
    start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    site = gitlab(f"http://{other_upstream.host}")
    site.absent = Response(302, {"Location": f"{upstream.index_url}other/"}, b"")
    other_upstream.fault("/", site)
    upstream.project("other", [wheel("other")])
    daemon = beside(start, tmp_path, other_upstream, "/api/v4/projects/7/packages/pypi/simple", WITH_LOGIN)
    assert list(links(daemon, "other")) == ["other-1.0-py3-none-any.whl"]
    # It is the public index's now, whatever GitLab comes to have.
    assert upstream.count("/simple/other/") == 1
    assert "authorization" not in upstream.seen("/simple/other/")[0].headers
    assert "fetch failed" not in daemon.log


def test_an_owner_that_redirects_away_is_not_followed(
    start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    """GitLab does that when the project is deleted there: whoever has the name elsewhere must not get it."""
    site = gitlab(f"http://{other_upstream.host}")
    site.absent = Response(302, {"Location": f"{upstream.index_url}lib/"}, b"")
    other_upstream.fault("/", site)
    upstream.project("lib", [wheel("lib", "9.9")])
    daemon = beside(start, tmp_path, other_upstream, "/api/v4/projects/7/packages/pypi/simple", WITH_LOGIN)
    assert list(links(daemon, "lib")) == [LIB.name]
    site.answers.clear()
    daemon.restart("--index-ttl", "0")
    assert ask(daemon, "/simple/lib/").status == 404
    assert upstream.count() == 0


def test_redirects_of_a_status_that_says_absent(
    start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream
) -> None:
    other_upstream.fault("/", gitlab(f"http://{other_upstream.host}"))
    upstream.project("other", [wheel("other")])
    keys = f"{WITH_LOGIN}\nabsent-status = [302, 404]"
    daemon = beside(start, tmp_path, other_upstream, "/api/v4/projects/7/packages/pypi/simple", keys)
    assert list(links(daemon, "other")) == ["other-1.0-py3-none-any.whl"]


def test_files_at_a_host_of_their_own(start: Start, tmp_path: Path, other_upstream: Upstream) -> None:
    """The page's index is plain, its files lie on another origin."""
    href = f"{other_upstream.files_url}pool/{LIB.name}"
    other_upstream.fault("/", Site({"/simple/lib/": anchors(href, LIB), f"/pool/{LIB.name}": LIB.data}))
    daemon = beside(start, tmp_path, other_upstream, "/simple/")
    (path,) = links(daemon, "lib").values()
    assert path == f"/files/http:{other_upstream.files_url.removeprefix('http://')}pool/{LIB.name}"
    assert ask(daemon, path).body == LIB.data


class Signing:
    """A store that signs links anew each time its page is read, and takes the newest alone."""

    def __init__(self) -> None:
        self.signed = 0

    def page(self, exchange: Exchange) -> Response:
        self.signed += 1
        query = f"X-Amz-Signature=signature{self.signed}&amp;Expires=1700000{self.signed:03}"
        return anchors(f"/store/{LIB.name}?{query}#sha256={LIB.sha256}", LIB)

    def file(self, exchange: Exchange) -> Response:
        query = f"X-Amz-Signature=signature{self.signed}&Expires=1700000{self.signed:03}"
        if exchange.request.query != query:
            return Response(403, {"Content-Type": "application/xml"}, b"<Code>AccessDenied</Code>", "Forbidden")
        return Response(200, {"Content-Type": "binary/octet-stream"}, LIB.data)


@pytest.fixture
def signing(upstream: Upstream) -> Signing:
    """`upstream` signs its links."""
    store = Signing()
    upstream.fault("/", Site({"/simple/lib/": store.page, f"/store/{LIB.name}": store.file}))
    return store


def test_signed_links_are_renewed_when_they_have_run_out(
    signing: Signing, start: Start, upstream: Upstream, installer: Installer
) -> None:
    daemon = start("--log-level", "debug")
    (path,) = links(daemon, "lib").values()
    assert "?" not in path
    signing.signed += 1  # that of the page has run out
    answer = ask(daemon, path)
    assert (answer.status, answer.body) == (200, LIB.data)
    assert (upstream.count("/simple/lib/"), upstream.count("/store/")) == (2, 2)
    installer.pip(daemon, "target", "lib")
    assert upstream.count("/store/") == 2
    shown = b"".join(
        ask(daemon, shown_path, Accept=JSON_TYPE).body for shown_path in ("/simple/lib/", "/", "/+status", "/metrics")
    )
    assert b"signature" not in shown + repr(answer.headers).encode()
    assert daemon.stop() == 0
    assert "signature" not in daemon.log
    pages = [found for found in (daemon.cache / "pages").rglob("*") if found.is_file()]
    assert pages
    assert not any(b"X-Amz-Signature" in found.read_bytes() for found in pages)


def test_links_may_run_out_again_and_again(signing: Signing, start: Start, upstream: Upstream) -> None:
    daemon = start()
    (path,) = links(daemon, "lib").values()
    for _ in range(3):
        signing.signed += 1
        assert ask(daemon, path).body == LIB.data
        daemon.expire("lib", "?files=1")
    assert upstream.count("/simple/lib/") == 4


def test_the_second_refusal_is_the_answer(signing: Signing, start: Start, upstream: Upstream) -> None:
    daemon = start()
    (path,) = links(daemon, "lib").values()
    upstream.fault("/store/", Site(absent=Response(403)))
    assert [ask(daemon, path).status for _ in range(3)] == [503] * 3
    assert upstream.count("/simple/lib/") == 2


def test_another_of_these_caches_as_the_parent(
    start: Start, upstream: Upstream, tmp_path: Path, installer: Installer
) -> None:
    upstream.project("lib", [wheel("lib")])
    parent = start("--index-ttl", "0", name="parent")
    with Daemon(tmp_path / "child", ("--index-url", parent.index_url)) as child:
        installer.pip(child, "target", "lib")
        assert ask(child, "/simple/lib/").headers["cache-status"].startswith("pypicache; hit; ttl=2")
        upstream.refuse()
        child.expire("lib")
        stale = ask(child, "/simple/lib/")
        parents, ours = stale.headers["cache-status"].rsplit(", ", 1)
        assert stale.headers["x-pypi-cache"] in ("EXPIRED", "REVALIDATED")
        assert "ttl=-" in parents
        assert ours.startswith("pypicache; fwd=stale")
        # The parent had it but stale: asked for again in seconds, not in five minutes.
        assert int(stale.headers["cache-control"].removeprefix("public, max-age=")) <= 10
