"""Several indexes: the first that has a project owns its name. Credentials stay where they belong."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from e2e.clients import Installer, ask, links
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import redirect, reply
from e2e.packages import wheel
from e2e.upstream import Upstream

SECRET = "hunter2-and-more"
LOGIN = "Basic " + b64encode(f"user:{SECRET}".encode()).decode()
PAGE = "/simple/lib/"


@pytest.fixture
def daemon(start: Start, upstream: Upstream, other_upstream: Upstream) -> Daemon:
    """A daemon that asks `other_upstream` first."""
    upstream.project("lib", [wheel("lib", "9.9")])
    upstream.project("public", [wheel("public")])
    other_upstream.project("lib", [wheel("lib", "1.0")])
    return start("--extra-index-url", other_upstream.index_url)


def test_the_first_that_has_it_owns_it(upstream: Upstream, other_upstream: Upstream, daemon: Daemon) -> None:
    assert list(links(daemon, "lib")) == ["lib-1.0-py3-none-any.whl"]
    assert upstream.count(PAGE) == 0
    assert list(links(daemon, "public")) == ["public-1.0-py3-none-any.whl"]
    assert other_upstream.count("/simple/public/") == 1


def test_both_indexes_files_are_installed(installer: Installer, daemon: Daemon) -> None:
    installer.pip(daemon, "target", "lib", "public")
    assert installer.installed("target") == {"lib": "1.0", "public": "1.0"}


def test_an_index_without_files_owns_the_name_too(other_upstream: Upstream, daemon: Daemon) -> None:
    other_upstream.project("public", [])
    assert links(daemon, "public") == {}


def test_an_index_that_is_down_is_not_one_that_lacks_it(
    upstream: Upstream, other_upstream: Upstream, daemon: Daemon
) -> None:
    other_upstream.refuse()
    assert ask(daemon, PAGE).status == 503
    other_upstream.listen()
    other_upstream.fault(PAGE, reply(403))
    assert ask(daemon, PAGE).status == 503
    assert upstream.count(PAGE) == 0


def test_an_owner_that_loses_the_project_is_not_replaced(
    upstream: Upstream, other_upstream: Upstream, daemon: Daemon
) -> None:
    links(daemon, "lib")
    other_upstream.withdraw("lib")
    daemon.restart("--index-ttl", "0")
    assert ask(daemon, PAGE).status == 404
    assert upstream.count(PAGE) == 0
    daemon.expire("lib")
    assert list(links(daemon, "lib")) == ["lib-9.9-py3-none-any.whl"]


@pytest.fixture
def secured(start: Start, upstream: Upstream) -> Daemon:
    """A daemon whose index wants a login."""
    upstream.catalogue.login = LOGIN
    upstream.project("lib", [wheel("lib", size=1 << 20)])
    return start("--index-url", upstream.index_url.replace("//", f"//user:{SECRET}@"), "--log-level", "debug")


def test_credentials_go_to_the_index_alone(upstream: Upstream, secured: Daemon) -> None:
    (path,) = links(secured, "lib").values()
    assert ask(secured, path).status == 200
    assert {request.headers.get("authorization") for request in upstream.seen("/simple/")} == {LOGIN}
    assert [request.headers.get("authorization") for request in upstream.seen("/packages/")] == [None]


def test_credentials_do_not_follow_a_redirect(upstream: Upstream, other_upstream: Upstream, secured: Daemon) -> None:
    other_upstream.project("lib", [wheel("lib")])
    upstream.fault(PAGE, redirect(f"{other_upstream.index_url}lib/"))
    ask(secured, PAGE)
    assert all("authorization" not in request.headers for request in other_upstream.requests)


@pytest.mark.parametrize("broken", [False, True], ids=["healthy", "broken"])
def test_credentials_are_shown_nowhere(broken: bool, upstream: Upstream, secured: Daemon) -> None:
    if broken:
        upstream.fault("/", reply(403))
    answers = [
        ask(secured, path, Accept=JSON_TYPE)
        for path in (PAGE, "/simple/lib", "/simple/", "/simple/none/", "/pypi/lib/json", "/", "/+status", "/metrics")
    ]
    shown = b"".join(answer.body + repr((answer.reason, answer.headers)).encode() for answer in answers)
    assert secured.stop() == 0
    for secret in (SECRET, LOGIN.removeprefix("Basic ")):
        assert secret.encode() not in shown
        assert secret not in secured.log
        assert not any(secret.encode() in path.read_bytes() for path in secured.cache.rglob("*") if path.is_file())


def test_credentials_of_the_client_go_nowhere(upstream: Upstream, start: Start) -> None:
    daemon = start()
    upstream.project("lib", [wheel("lib")])
    ask(daemon, f"{PAGE}?token={SECRET}", Authorization=LOGIN, Cookie=f"session={SECRET}", X_Forwarded_For="192.0.2.1")
    (request,) = upstream.seen(PAGE)
    assert request.query == ""
    assert {"authorization", "cookie", "x-forwarded-for"}.isdisjoint(request.headers)


def test_credentials_from_netrc(upstream: Upstream, start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    netrc.chmod(0o600)
    upstream.catalogue.login = LOGIN
    upstream.project("lib", [wheel("lib")])
    assert list(links(start(NETRC=str(netrc)), "lib")) == ["lib-1.0-py3-none-any.whl"]


@pytest.fixture
def named(start: Start, tmp_path: Path, upstream: Upstream, other_upstream: Upstream) -> Daemon:
    """A daemon with `other_upstream` as the index "internal" of its file."""
    config = tmp_path / "named.toml"
    config.write_text(f'[[index]]\nname = "internal"\nurl = "{other_upstream.index_url}"\n')
    upstream.project("lib", [wheel("lib", "9.9")])
    upstream.project("public", [wheel("public")])
    other_upstream.project("lib", [wheel("lib", "1.0")])
    return start("--config", str(config))


def test_an_index_of_the_file_is_served_alone_below_its_name(upstream: Upstream, named: Daemon) -> None:
    page = ask(named, "/internal/simple/lib/", Accept=JSON_TYPE).json()
    link = urljoin("/internal/simple/lib/", page["files"][0]["url"])
    assert link.startswith("/internal/files/")
    assert ask(named, link).status == 200
    assert ask(named, f"{link}.metadata").status == 200
    assert ask(named, "/internal/simple/public/").status == 404
    assert upstream.count() == 0
    assert [project["name"] for project in ask(named, "/internal/simple/", Accept=JSON_TYPE).json()["projects"]] == [
        "lib"
    ]
    # What is absent there is there for those who ask all indexes.
    assert ask(named, "/simple/public/").status == 200


def test_what_another_index_named_is_refused_there_also_when_it_is_stored(upstream: Upstream, named: Daemon) -> None:
    link = urljoin("/simple/public/", ask(named, "/simple/public/", Accept=JSON_TYPE).json()["files"][0]["url"])
    host = urlsplit(upstream.files_url).netloc
    below = f"/internal/files/http:{host}{link}"
    assert ask(named, below).status == 403
    assert [ask(named, link).status for _ in range(2)] == [200, 200]
    assert [ask(named, below).status for _ in range(2)] == [403, 403]
    assert ask(named, f"/files/http:{host}{link}").status == 200


def test_redirects_of_one_index_stay_below_its_name(named: Daemon) -> None:
    asked = ("/internal/simple", "/internal/simple/Lib", "/internal//simple/lib/", "//internal/index/lib/")
    assert [ask(named, path).headers.get("location") for path in asked] == [
        "simple/",
        "Lib/",
        "/internal/simple/lib/",
        "/internal/index/lib/",
    ]
    unknown = ("/internal/", "/internal/pypi/lib/json", "/other/simple/")
    assert {ask(named, path).status for path in unknown} == {404}


def test_a_purge_reaches_what_one_index_alone_lacked(other_upstream: Upstream, named: Daemon) -> None:
    assert ask(named, "/internal/simple/public/").status == 404
    assert ask(named, "/simple/public/").status == 200
    other_upstream.project("public", [wheel("public", "2.0")])
    named.expire("public")
    assert ask(named, "/internal/simple/public/").status == 200


def test_the_json_api_does_not_tell_other_indexes_of_an_owned_name(
    start: Start, upstream: Upstream, other_upstream: Upstream
) -> None:
    other_upstream.project("acme", [wheel("acme", "1.0")])
    upstream.project("acme", [wheel("acme", "9.0")])
    daemon = start("--extra-index-url", other_upstream.index_url)
    answer = ask(daemon, "/pypi/acme/json")
    assert answer.status == 200
    assert "acme-1.0" in answer.body.decode()
    assert upstream.requests == []


ROUTED = """
index-url = "{main}"
[[index]]
name = "internal"
url = "{other}"
routes = ["lib*"]
"""


def test_routes_decide_before_the_order(
    start: Start, upstream: Upstream, other_upstream: Upstream, tmp_path: Path
) -> None:
    """One that is claimed is never asked of the others, and the claiming index of nothing else."""
    config = tmp_path / "routed.toml"
    config.write_text(ROUTED.format(main=upstream.index_url, other=other_upstream.index_url))
    upstream.project("library", [wheel("library", "9.9")])
    upstream.project("public", [wheel("public")])
    other_upstream.project("lib", [wheel("lib", "1.0")])
    other_upstream.project("public", [wheel("public", "9.9")])
    daemon = start("--config", str(config))
    assert list(links(daemon, "Lib")) == ["lib-1.0-py3-none-any.whl"]
    assert ask(daemon, "/simple/library/").status == 404
    assert ask(daemon, "/pypi/library/json").status == 404
    assert upstream.count() == 0
    other_upstream.refuse()
    assert list(links(daemon, "public")) == ["public-1.0-py3-none-any.whl"]
    other_upstream.listen()
    # Below its name it is itself.
    (alone,) = ask(daemon, "/internal/simple/public/", Accept=JSON_TYPE).json()["files"]
    assert alone["filename"] == "public-9.9-py3-none-any.whl"


def test_credentials_that_stop_working_are_a_503_and_stale_where_there_is_any(
    upstream: Upstream, secured: Daemon
) -> None:
    links(secured, "lib")
    secured.restart("--index-ttl", "0", "--log-level", "info")
    upstream.catalogue.login = "Basic other"
    assert ask(secured, PAGE).headers["x-pypi-cache"] == "STALE"
    for path in ("/simple/other/", "/simple/other/", "/simple/third/"):
        answer = ask(secured, path)
        assert answer.status == 503
        assert "does not take the credentials" in answer.reason
    assert secured.log.count("upstream failed, answered 401") == 1
