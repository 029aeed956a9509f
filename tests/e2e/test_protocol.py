"""HTTP as clients, browsers and attackers speak it."""

from __future__ import annotations

import gzip
import socket

import pytest

from e2e.clients import ask, exchange, links, status_of
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.packages import wheel
from e2e.upstream import Upstream

PAGE = "/simple/app/"
V1_HTML = "application/vnd.pypi.simple.v1+html"


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("app", [wheel("app")])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(method: str, daemon: Daemon) -> None:
    answer = ask(daemon, PAGE, method)
    assert answer.status == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) >= {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/packages/../../../etc/passwd",
        "/packages/%2e%2e/%2e%2e/etc/passwd",
        "/packages/a/..%2f..%2fetc/passwd",
        "/packages/%00",
        "/simple/../packages/",
        "/simple/..%2Fapp/",
        "/files/127.0.0.1/%2e%2e/x",
        "/index/%2E%2e/",
        "/packages/a%2Fb/app-1.0.tar.gz",
        "/packages/a%5cb/app-1.0.tar.gz",
    ],
)
def test_paths_that_climb(path: str, upstream: Upstream, daemon: Daemon) -> None:
    answer = exchange(daemon, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) in (400, 403, 404)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("request_head", "statuses"),
    [
        ("GET http://{address}/simple/app/ HTTP/1.1\r\nHost: {address}", {400}),
        ("GET http://pypi.example/simple/app/ HTTP/1.1\r\nHost: pypi.example", {400}),
        ("CONNECT {address} HTTP/1.1\r\nHost: {address}", {400, 405}),
        ("GET /simple/app/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example", {400}),
        ("GET /simple/app/ HTTP/1.1", {400}),
        ("GET /simple/app/ HTTP/1.1\r\nHost: a b", {400}),
        ("GET /simple/app/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", {400}),
    ],
    ids=["absolute", "absolute elsewhere", "connect", "two hosts", "no host", "bad host", "two lengths"],
)
def test_requests_that_are_refused(request_head: str, statuses: set[int], upstream: Upstream, daemon: Daemon) -> None:
    head = request_head.format(address=daemon.address)
    answer = exchange(daemon, f"{head}\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) in statuses
    assert upstream.requests == []


def test_http_1_0_needs_no_host(daemon: Daemon) -> None:
    assert status_of(exchange(daemon, b"GET /simple/app/ HTTP/1.0\r\n\r\n")) == 200


def test_two_requests_on_one_connection(daemon: Daemon) -> None:
    one = f"GET {PAGE} HTTP/1.1\r\nHost: {daemon.address}\r\n"
    answer = exchange(daemon, f"{one}\r\n{one}Connection: close\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1 200") == 2


def test_a_client_that_sends_nothing_disturbs_nobody(daemon: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)) as idle:
        idle.sendall(b"GET /simple/")
        assert ask(daemon, PAGE).status == 200


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("image/png", "text/html; charset=utf-8"),
        (JSON_TYPE, JSON_TYPE),
        ("application/vnd.pypi.simple.latest+json", JSON_TYPE),
        (f"{JSON_TYPE}, {V1_HTML};q=0.1, text/html;q=0.01", JSON_TYPE),
        (f"text/html;q=0.2, {V1_HTML}", V1_HTML),
        (f"{JSON_TYPE};q=0, text/html", "text/html; charset=utf-8"),
    ],
)
def test_negotiation(accept: str | None, expected: str, daemon: Daemon) -> None:
    answer = ask(daemon, PAGE, **({"Accept": accept} if accept else {}))
    assert (answer.status, answer.headers["content-type"]) == (200, expected)
    assert {"Accept", "Accept-Encoding"} == set(answer.headers["vary"].replace(" ", "").split(","))


def test_the_format_can_be_named_in_the_query(daemon: Daemon) -> None:
    answer = ask(daemon, f"{PAGE}?format={JSON_TYPE.replace('+', '%2B')}", Accept="text/html")
    assert answer.headers["content-type"] == JSON_TYPE


def test_codings_are_of_one_page_with_tags_of_their_own(daemon: Daemon) -> None:
    plain, packed = ask(daemon, PAGE), ask(daemon, PAGE, Accept_Encoding="gzip")
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["etag"] != packed.headers["etag"] != ask(daemon, PAGE, Accept=JSON_TYPE).headers["etag"]


def test_a_client_that_has_the_page_gets_304(daemon: Daemon) -> None:
    full = ask(daemon, PAGE)
    answer = ask(daemon, PAGE, If_None_Match=full.headers["etag"])
    assert (answer.status, answer.body) == (304, b"")
    assert {"etag", "cache-control", "vary", "date"} <= set(answer.headers)
    assert ask(daemon, PAGE, If_None_Match='"other"').status == 200


def test_the_headers_of_pages_and_files(daemon: Daemon) -> None:
    page = ask(daemon, PAGE)
    assert "max-age=60" in page.headers["cache-control"]
    assert page.headers["x-pypi-last-serial"] == "1"
    assert page.headers["cache-status"].startswith("pypicache;")
    assert "age" not in page.headers
    (path,) = links(daemon, "app").values()
    file = ask(daemon, path, Accept_Encoding="gzip")
    assert file.headers["content-type"] == "application/octet-stream"
    assert "content-encoding" not in file.headers
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    for answer in (page, file, ask(daemon, "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "." not in answer.headers["server"], "the server tells no versions"


@pytest.mark.parametrize(
    ("path", "location"),
    [("/simple/app", "app/"), ("/simple", "simple/"), ("//simple//app/", "/simple/app/"), ("/index/app", "app/")],
)
def test_redirects_stay_here(path: str, location: str, daemon: Daemon) -> None:
    answer = exchange(daemon, f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
    assert status_of(answer) in (301, 302, 307, 308)
    assert f"\r\nlocation: {location}\r\n".encode() in answer.lower()


@pytest.mark.parametrize("path", ["/simple/App/", "/index/app/", "/index/APP/"])
def test_other_spellings_are_answered(path: str, daemon: Daemon) -> None:
    assert ask(daemon, path).body == ask(daemon, PAGE).body


def test_the_project_list(upstream: Upstream, daemon: Daemon) -> None:
    upstream.project("other")
    document = ask(daemon, "/simple/", Accept=JSON_TYPE).json()
    assert [project["name"] for project in document["projects"]] == ["app", "other"]
    assert b'href="other/"' in ask(daemon, "/simple/").body


def test_links_of_the_json_api_name_the_host_that_was_asked(daemon: Daemon) -> None:
    (file,) = ask(daemon, "/pypi/app/json", Host="mirror.example:81").json()["urls"]
    assert file["url"].startswith("http://mirror.example:81/packages/")
    (file,) = ask(daemon, "/pypi/app/1.0/json").json()["urls"]
    assert file["url"].startswith(f"{daemon.url}/packages/")


def test_the_json_api_does_not_overrule_what_the_page_says_of_a_file(upstream: Upstream, daemon: Daemon) -> None:
    path = next(path for name, path in links(daemon, "app").items() if name.endswith(".whl"))
    assert ask(daemon, "/pypi/app/json").status == 200
    announced = ask(daemon, f"{path}.metadata").headers["etag"]
    assert announced.startswith('"sha256:')
    assert ask(daemon, path, "HEAD").headers["content-length"] != "0"
    assert upstream.count(method="HEAD") == 0


def test_links_of_simple_pages_name_no_host(daemon: Daemon) -> None:
    assert b"evil.example" not in ask(daemon, PAGE, Host="evil.example").body


def test_files_that_no_page_named(upstream: Upstream, daemon: Daemon) -> None:
    answer = ask(daemon, "/files/elsewhere.example/some-1.0.tar.gz")
    assert answer.status == 403
    assert "--file-host" in answer.reason


def test_a_redirect_keeps_the_format_that_was_asked_for(daemon: Daemon) -> None:
    assert ask(daemon, "/simple/app?format=text/html").headers["location"] == "app/?format=text/html"


def test_a_connection_ends_after_a_malformed_request(daemon: Daemon) -> None:
    answer = exchange(daemon, b"GET /simple/ HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_below_a_prefix(start: Start) -> None:
    daemon = start("--prefix", "/mirror")
    assert ask(daemon, "/mirror/simple/app/").status == 200
    assert ask(daemon, "/healthz").status == ask(daemon, "/mirror/healthz").status == 200
    elsewhere = ask(daemon, PAGE)
    assert elsewhere.status == 404
    assert "/mirror" in elsewhere.reason
