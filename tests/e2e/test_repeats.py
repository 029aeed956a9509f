"""The same requests again and again, to daemons that are asked for the first time and ones that know the answer."""

from __future__ import annotations

import re
import socket
import time

import pytest

from e2e.clients import ask
from e2e.content import JSON_TYPE
from e2e.corpus import CONTINUE, CORPUS
from e2e.corpus import PAGE as ATTACKED
from e2e.daemon import Daemon, Start
from e2e.packages import blob, wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE

V1_HTML = "application/vnd.pypi.simple.v1+html"
TAG = re.compile(rb'\r\nETag: ("[^"]+")')

PAGE, API = "/simple/app/", "/pypi/app/json"

LINES = [
    "",
    "Connection: keep-alive",
    "Accept-Encoding: gzip",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Encoding: identity;q=0, *;q=0",
    "Accept: text/html",
    f"Accept: {JSON_TYPE}",
    f"Accept: {JSON_TYPE}, {V1_HTML};q=0.1, text/html;q=0.01\r\nAccept-Encoding: gzip",
    "Accept: image/png\r\naccept: text/html\r\nX-Odd:\tvalue \r\nCookie: a=b",
    "If-None-Match: {tag}",
    "If-None-Match: W/{tag}",
    'If-None-Match: "other"',
    "If-None-Match: *",
    "If-Modified-Since: Mon, 16 Sep 2024 10:00:00 GMT",
    "Range: bytes=0-9",
    "Range: bytes=-5",
    "Range: bytes=99999999-",
    "Range: bytes=0-1,3-4",
    "Range: lines=1-2",
    "Range: bytes=0-9\r\nIf-Range: {tag}",
    'Range: bytes=0-9\r\nIf-Range: "other"',
    "Cache-Control: max-age=0",
    "Content-Length: 0",
    'User-Agent: pip/25.0 {{"ci":true}}\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: elsewhere.example',
]
ODD = [
    "GET {path} HTTP/1.0\r\nHost: h\r\n\r\n",
    "GET {path} HTTP/1.0\r\n\r\n",
    "GET {path} HTTP/1.1\r\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
    "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
    "GET {path}?format=x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {path}%20 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h{path} HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde",
    "\r\nGET {path} HTTP/1.1\r\nHost: h\r\n\r\n",
]


@pytest.fixture(params=["1", "2"], ids=["one process", "two workers"])
def workers(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def paths(upstream: Upstream) -> dict[str, str]:
    """A project's page and API, a small file with its metadata, a file too large to be kept in memory."""
    small, large = wheel("app"), blob("large", 300_000)
    upstream.project("app", [small, large])
    file = small.path
    return {"page": PAGE, "api": API, "file": file, "metadata": f"{file}.metadata", "large": large.path}


def answer_to(connection: socket.socket, request: bytes) -> tuple[bytes, bool]:
    """Everything that comes back up to a health check behind it, and whether the connection ends instead."""
    probe = b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n"
    connection.sendall(request)
    received = b""
    head_only = request.lstrip().startswith(b"HEAD")
    while not is_whole(received, head_only):
        data = connection.recv(1 << 16)
        if not data:
            return received, True
        received += data
    connection.sendall(probe)
    rest = b""
    while not rest.endswith(b"\r\n\r\nok\n"):
        try:
            data = connection.recv(1 << 16)
        except ConnectionError:
            return received, True
        if not data:
            return received, True
        rest += data
    assert rest.startswith(b"HTTP/1.1 200 OK"), rest[:200]
    return received, False


def is_whole(received: bytes, head_only: bool) -> bool:
    """Whether one answer is complete."""
    head, end, body = received.removeprefix(CONTINUE).partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return head_only or length is None or len(body) >= int(length[1])


def without_time(answer: bytes) -> bytes:
    """The answer, but for the second in which it was made."""
    answer = re.sub(rb"\r\nDate: [^\r]+", b"\r\nDate: -", answer, count=1)
    return re.sub(rb"; ttl=\d+", b"; ttl=-", answer, count=1)


def wait_for_the_next_second() -> None:
    """What is remembered is made anew in each second."""
    now = int(time.time())
    while int(time.time()) == now:
        time.sleep(0.01)


def requests_for(path: str, tag: str) -> list[bytes]:
    plain = [
        f"{method} {path} HTTP/1.1\r\nHost: cache.example\r\n{lines.format(tag=tag)}".rstrip("\r\n") + "\r\n\r\n"
        for method in ("GET", "HEAD")
        for lines in LINES
    ]
    return [request.encode() for request in (*plain, *(odd.format(path=path) for odd in ODD))]


def replay(daemon: Daemon, requests: list[bytes], times: int) -> list[list[tuple[bytes, bool]]]:
    """What each request got, each time."""
    rounds = []
    for _ in range(times):
        answers = []
        connection: socket.socket | None = None
        for request in requests:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", daemon.port), DEADLINE)
            received, ended = answer_to(connection, request)
            answers.append((without_time(received), ended))
            if ended:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
        rounds.append(answers)
    return rounds


@pytest.mark.parametrize("kind", ["page", "api", "file", "metadata", "large"])
def test_the_answer_is_the_same_however_it_is_made(kind: str, paths: dict[str, str], start: Start) -> None:
    # Without it, a document with absolute links names the port, which is another one after the restart.
    daemon = start("--index-ttl", "1d", *(["--base-url", "http://cache.example/"] if kind == "api" else []))
    path = paths[kind]
    plain = f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    (((first, _),), ((again, _),)) = replay(daemon, [plain], 2)
    assert first.split(b"\r\n")[0] == again.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    tag = TAG.search(again)
    assert tag is not None
    requests = requests_for(path, tag[1].decode())
    replay(daemon, requests, 1)  # some of them have something fetched
    known = replay(daemon, requests, 4)
    wait_for_the_next_second()
    known += replay(daemon, requests, 2)
    # At this level every request is decided and parsed.
    daemon.restart("--log-level", "debug")
    replay(daemon, requests, 1)
    (ordinary,) = replay(daemon, requests, 1)
    for answers in known:
        for request, answer, expected in zip(requests, answers, ordinary, strict=True):
            assert answer == expected, request


def test_hostile_requests_get_the_same_answer_however_it_is_made(upstream: Upstream, start: Start) -> None:
    upstream.project("six", [wheel("six")])
    daemon = start("--index-ttl", "1d")
    assert ask(daemon, ATTACKED).status == 200
    requests = [case.raw for case in CORPUS]
    known = replay(daemon, requests, 4)  # what is remembered is so at its second time
    daemon.restart("--log-level", "debug")
    assert ask(daemon, ATTACKED).status == 200
    (ordinary,) = replay(daemon, requests, 1)
    for answers in known:
        for case, answer, expected in zip(CORPUS, answers, ordinary, strict=True):
            assert answer == expected, case.name
    statuses = {int(answer.removeprefix(CONTINUE)[9:12]) for answer, _ in ordinary}
    assert statuses >= {200, 400, 403, 404, 405, 413, 414, 431, 505}


def test_a_purge_a_new_release_and_a_lost_file_show_at_once(
    paths: dict[str, str], upstream: Upstream, start: Start
) -> None:
    daemon = start("--index-ttl", "1d", "--stale-wait", "30s")
    page, file = (f"GET {paths[kind]} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for kind in ("page", "file"))
    before = replay(daemon, [page, file], 4)[-1]
    upstream.release("app", wheel("app", "2.0"))
    assert replay(daemon, [page], 1)[0][0] == before[0]
    daemon.expire("app")
    (((after, _),),) = replay(daemon, [page], 1)
    assert b"app-2.0" in after
    fetched = upstream.count(paths["file"])
    for stored in daemon.stored("app-1.0*.whl"):
        stored.write_bytes(b"damaged")
    (((healed, _),),) = replay(daemon, [file], 1)
    assert healed.partition(b"\r\n\r\n")[2] == before[1][0].partition(b"\r\n\r\n")[2]
    assert upstream.count(paths["file"]) == fetched + 1
