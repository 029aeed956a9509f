"""An index that means harm: where its links lead, what its texts hold, how much it sends. No other index suffers."""

from __future__ import annotations

import asyncio
import gzip
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.clients import Reply, ask, exchange, links, resolve
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon, Start
from e2e.faults import Exchange, redirect, reply
from e2e.packages import sdist, wheel
from e2e.upstream import Upstream

PAGE = "/simple/evil/"
GOOD = "/simple/good/"
NAME = "evil-1.0.tar.gz"
MEMORY = 350 << 20
"""Bytes that no page may have the daemon take: idle it has some 60 MB."""

MARKUP = "</a><script>alert(1)</script>\" onload='x' --> ]]> \u202e\x1b[2J\r\nSet-Cookie: a=b"


@pytest.fixture
def evil(other_upstream: Upstream) -> Upstream:
    """The hostile index. It is asked first, and may name files anywhere."""
    other_upstream.project("evil", [sdist("evil")])
    return other_upstream


@pytest.fixture
def daemon(start: Start, upstream: Upstream, evil: Upstream) -> Daemon:
    """A daemon that asks it."""
    upstream.project("good", [wheel("good")])
    return start("--extra-index-url", evil.index_url, "--index-ttl", "0")


def entry(url: str, **more: Any) -> dict[str, Any]:
    """A file in a page."""
    return {"filename": NAME, "url": url, "hashes": {}, **more}


def say(evil: Upstream, *files: dict[str, Any], **extra: Any) -> None:
    """From now on its page lists these files."""
    evil.project("evil", [sdist("evil")], **extra).extra["files"] = list(files)


def page(daemon: Daemon, name: str = "evil") -> Any:
    """A project's page as JSON."""
    return ask(daemon, f"/simple/{name}/", Accept=JSON_TYPE).json()


def served(daemon: Daemon) -> Reply:
    """The first file of its page."""
    return ask(daemon, resolve(page(daemon)["files"][0]["url"]))


def unharmed(daemon: Daemon) -> None:
    """Whether everybody else is served, and memory is what it was."""
    assert ask(daemon, links(daemon, "good")["good-1.0-py3-none-any.whl"]).status == 200
    assert daemon.memory("VmHWM") < MEMORY


FORBIDDEN = [
    *("169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662"),
    *("[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]"),
    *("[fd00:ec2::254]", "[fe80::1]", "[ff02::1]", "[::]", "0.0.0.0", "0", "255.255.255.255", "100.100.100.200"),
    *("files.example@169.254.169.254", "①⑥⑨.254.169.254", "169。254。169。254", "168.63.129.16", "224.0.0.1"),
]


@pytest.mark.parametrize("host", FORBIDDEN)
def test_links_to_where_nobody_may_lead_us(host: str, evil: Upstream, daemon: Daemon) -> None:
    say(evil, entry(f"http://{host}:9/latest/{NAME}"))
    answer = served(daemon)
    assert answer.status == 503
    assert "forbidden address" in answer.reason
    assert answer.body.decode().count("latest") == 0


@pytest.mark.parametrize("host", FORBIDDEN[:7])
def test_redirects_to_there(host: str, evil: Upstream, daemon: Daemon, start: Start) -> None:
    evil.fault("/packages/", redirect(f"http://{host}:9/latest/"))
    evil.fault(PAGE, redirect(f"http://{host}:9/latest/"))
    # Another index may have the name: the redirect is not even looked into.
    assert "redirects away" in ask(daemon, PAGE).reason
    assert "forbidden address" in ask(start("--index-url", evil.index_url, name="alone"), PAGE).reason
    evil.heal()
    evil.fault("/packages/", redirect(f"http://{host}:9/latest/"))
    answer = served(daemon)
    assert answer.status == 503
    assert "location" not in answer.headers


def test_a_bound_index_names_nothing_elsewhere(start: Start, upstream: Upstream, evil: Upstream) -> None:
    upstream.project("evil", []).extra["files"] = [entry(f"http://{evil.host}/packages/{NAME}")]
    answer = served(start())
    assert (answer.status, evil.requests) == (403, [])
    assert "--file-host" in answer.reason


def test_only_links_that_can_be_followed_are_served(evil: Upstream, daemon: Daemon) -> None:
    odd = [
        *("javascript:alert(1)", "data:text/plain,x", "file:///etc/passwd", "ftp://o.example/a", "mailto:a@o.example"),
        *("http://", "http://[::1", "http://a b/c", "//", "http://o.example:99999/a", "https://%00/a", "\x00"),
        *("../../../../%2e%2e/a.zip", "a/..%2f..%2fb.zip", "..%5c..%5cb.zip", "a%00.zip", "a%0d%0ab.zip", ""),
    ]
    names = ["../a.zip", "a/b.zip", "..\\a.zip", "a\x00.zip", "x" * 4096 + ".zip", "..", "C:\\a.zip"]
    good = entry(f"{evil.files_url}packages/{NAME}")
    say(evil, *map(entry, odd), *({**good, "filename": name} for name in names), good, "text", 1, None, {}, [])
    (file,) = page(daemon)["files"]
    assert file["filename"] == NAME
    assert file["url"].startswith(f"../../files/http:{urlsplit(evil.files_url).netloc}/packages/")


def test_a_link_at_a_path_of_ours_is_a_file_like_any_other(evil: Upstream, daemon: Daemon) -> None:
    own = ["/+status", "/metrics", "/healthz", "/cache/list", "/simple/good/", "/packages/../../+status"]
    say(evil, *(entry(path, filename=f"evil-{number}.zip") for number, path in enumerate(own)))
    assert {file["url"] for file in page(daemon)["files"]} == {
        f"../../files/http:{evil.host}{path}" for path in ("/+status", "/metrics", "/healthz", "/cache/list")
    } | {f"../../files/http:{evil.host}/+status"}


class Tags(HTMLParser):
    """What a browser sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}


def test_texts_stay_texts_in_either_form(evil: Upstream, daemon: Daemon) -> None:
    texts = dict.fromkeys(("requires-python", "yanked", "provenance", "new-key"), MARKUP)
    file = entry(f"{evil.files_url}packages/{NAME}?{MARKUP}", **texts)
    say(evil, file, **{"project-status": {"status": MARKUP, "reason": MARKUP}, "versions": [MARKUP]})
    assert page(daemon)["files"][0]["yanked"] == MARKUP
    answer = ask(daemon, PAGE, Accept="text/html")
    found = Tags(answer.body.decode())
    assert found.tags == {"html", "head", "meta", "title", "body", "h1", "a", "br"}
    assert {name for name in found.names if not name.startswith("data-")} == {"charset", "name", "content", "href"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


def test_nothing_in_upstreams_headers_reaches_a_client_unread(evil: Upstream, daemon: Daemon) -> None:
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "evil", "files": []}).encode()
    hostile = {
        "X-PyPI-Last-Serial": "1\x00\x1b[2J",
        "Content-Type": 'text/html; charset=evil"\x07',
        "Cache-Status": "parent\x0b; hit\x1b[2J",
        "ETag": '"\x1b' + "x" * 9000 + '"',
        "Last-Modified": "\x7f" * 3000,
        "Set-Cookie": "session=1",
        "Location": "https://o.example/",
        "Retry-After": "\x1b9",
        "X-Frame-Options": "x",
    }
    evil.fault(PAGE, reply(200, hostile, body), times=1)
    request = f"GET {PAGE} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    head = exchange(daemon, request).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 200 ")
    for line in head.split(b"\r\n"):
        assert line.decode("ascii").isprintable()
        assert not line.lower().startswith((b"set-cookie", b"location", b"x-frame", b"x-pypi-last-serial", b"retry"))
    evil.fault(PAGE, reply(503, hostile, body))
    head = exchange(daemon, request.replace(b"evil", b"other")).partition(b"\r\n\r\n")[0]
    assert all(line.decode("ascii").isprintable() for line in head.split(b"\r\n"))


async def endless(exchange: Exchange) -> None:
    """A page that never ends."""
    exchange.keep = False
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"<a href=evil-1.0.tar.gz>" * 4096
    while True:
        exchange.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await exchange.writer.drain()
        await asyncio.sleep(0)


def many(entry: bytes, count: int) -> bytes:
    return b'{"meta":{"api-version":"1.0"},"name":"evil","files":[' + b",".join([entry] * count) + b"]}"


NESTED = gzip.compress(gzip.compress(bytes(80 << 20)))
TOO_MUCH = {
    "gzip bomb": ("gzip", gzip.compress(bytes(80 << 20)), "larger than"),
    "bomb in a bomb": ("gzip, gzip", NESTED, "unknown content coding"),
    "unknown coding": ("br", b"x" * 1000, "unknown content coding"),
    "empty members": ("gzip", gzip.compress(b"") * 20_000, "more than 5000 members"),
    "a million files": ("identity", many(b'{"url":"a-1.zip"}', 1_000_000), "more than 2000000 values"),
    "twenty million values": ("identity", many(b"1", 20_000_000), "more than 2000000 values"),
    "nested": ("identity", many(b"[" * 200 + b"]" * 200, 1).replace(b"[[", b"[" * 300, 1), "not JSON"),
    "nested a little less": ("identity", many(b'{"url":"a-1.zip","x":' + b"[" * 300 + b"]" * 300 + b"}", 1), "JSON"),
    "not a number": ("identity", many(b'{"url":"a-1.zip","size":NaN}', 1), "not JSON"),
    "no characters": ("identity", many(b'{"url":"a-1.zip","x":"\xff\xfe"}', 1), "not JSON"),
}


@pytest.mark.parametrize("kind", [*TOO_MUCH, "endless"])
def test_too_much_is_refused_and_what_was_there_stays(kind: str, evil: Upstream, daemon: Daemon) -> None:
    daemon.restart("--stale-wait", "60s")
    before = page(daemon)
    if kind == "endless":
        evil.fault(PAGE, endless)
        reason = "larger than"
    else:
        coding, body, reason = TOO_MUCH[kind]
        evil.fault(PAGE, reply(200, {"Content-Type": JSON_TYPE, "Content-Encoding": coding}, body))
    answer = ask(daemon, PAGE, Accept=JSON_TYPE)
    assert (answer.state, answer.json()) == ("STALE", before)
    assert reason in answer.headers["cache-status"]
    unharmed(daemon)


def test_a_list_of_projects_that_is_a_bomb(upstream: Upstream, daemon: Daemon, start: Start) -> None:
    alone = start(name="alone")
    for body in (b'{"projects":[' + b"[" * 200_000, b'{"projects":[{"name":"a","b":[' + b"1," * 9_000_000):
        upstream.fault("/simple/", reply(200, {"Content-Type": JSON_TYPE}, body), times=1)
        assert ask(alone, "/simple/").status == 503
        upstream.fault("/simple/", reply(200, {"Content-Type": JSON_TYPE}, body), times=1)
        assert "without" in ask(daemon, "/simple/").headers["cache-status"]
    upstream.heal()
    unharmed(daemon)


@pytest.mark.parametrize(
    "html",
    [
        "<meta http-equiv=refresh content='0;url=http://169.254.169.254/'>",
        "<!DOCTYPE html [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><p>&b;</p>",
        "<title>Sign in</title><form action=https://o.example><input type=password></form>",
    ],
)
def test_pages_that_are_no_index(html: str, evil: Upstream, daemon: Daemon) -> None:
    evil.fault(PAGE, reply(200, {"Content-Type": "text/html"}, f"{html}</html>".encode()))
    assert ask(daemon, PAGE).status == 503


def test_a_base_elsewhere_leads_elsewhere_under_the_same_rules(evil: Upstream, daemon: Daemon) -> None:
    html = (
        f'<base href="http://169.254.169.254/latest/"><title>Links for evil</title><a href="{NAME}">{NAME}</a></html>'
    )
    evil.fault(PAGE, reply(200, {"Content-Type": "text/html"}, html.encode()))
    assert page(daemon)["files"][0]["url"] == f"../../files/http:169.254.169.254/latest/{NAME}"
    assert "forbidden address" in served(daemon).reason


def test_a_page_that_lies_of_sizes_and_times_harms_itself_alone(evil: Upstream, daemon: Daemon) -> None:
    (file,) = evil.catalogue.projects["evil"].files
    said = evil.catalogue.file_json(file)
    for lie in ({"size": 1}, {"size": 1 << 62}, {"size": 1 << 63}, {"size": -1}, {"upload-time": "soon"}):
        say(evil, {**said, **lie})
        answer = served(daemon)
        assert (answer.status, answer.body) == (200, file.data)
    assert "upload-time" not in page(daemon)["files"][0]


def test_another_indexs_file_cannot_be_blocked_evicted_or_replaced(
    upstream: Upstream, evil: Upstream, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs = wheel("good", size=1 << 20)
    upstream.project("good", [theirs])
    said = upstream.catalogue.file_json(theirs)
    say(evil, {**said, "filename": NAME, "hashes": {"sha256": "0" * 64}, "size": 3, "core-metadata": False})
    config = tmp_path_factory.mktemp("two") / "two.toml"
    config.write_text(f'[[index]]\nname = "evil"\nurl = "{evil.index_url}"\n')
    daemon = start("--config", str(config))
    lie = resolve(page(daemon)["files"][0]["url"])
    for path in (lie, f"/evil{lie}"):
        refused(daemon, path)
    assert ask(daemon, links(daemon, "good")[theirs.name]).body == theirs.data
    for path in (lie, f"/evil{lie}"):
        refused(daemon, path)
    fetched = upstream.count(theirs.path, "GET")
    assert ask(daemon, links(daemon, "good")[theirs.name]).body == theirs.data
    assert upstream.count(theirs.path, "GET") == fetched


def refused(daemon: Daemon, path: str) -> None:
    """Whatever comes, it is nothing that is complete and wrong."""
    try:
        answer = ask(daemon, path)
    except (OSError, asyncio.IncompleteReadError):
        return
    assert answer.status != 200 or answer.body[:2] == b"PK"


@pytest.mark.parametrize("serial", ["-5", "1e9", "9" * 40, "0x10", "\u0665", "", "1 2"])
def test_a_serial_that_is_no_number_is_ignored(serial: str, evil: Upstream, daemon: Daemon) -> None:
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": "evil", "files": []}).encode()
    evil.fault(
        PAGE, reply(200, {"Content-Type": JSON_TYPE, "X-PyPI-Last-Serial": serial.encode().decode("latin-1")}, body)
    )
    answer = ask(daemon, PAGE)
    assert answer.status == 200
    assert "x-pypi-last-serial" not in answer.headers
