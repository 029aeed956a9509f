"""Clients that attack, break or never heard of HTTP: what they get, what others get, what the operator sees."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from e2e.clients import Reply, ask, exchange, links, receive, status_of
from e2e.corpus import CONTINUE, CORPUS, FOLLOWING, PAGE
from e2e.daemon import Daemon, Start
from e2e.packages import blob, wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

ACCESS = re.compile(r'\S+ \[[0-9TZ:-]+\] "(\S+) (\S+) (\S+)" \S+ (\d{3}) \d+ \S+ \S+ [0-9.]+ "[^"]*"')
GET = f"GET {PAGE} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
MB = 1 << 20


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("six", [wheel("six")])


@pytest.fixture
def quiet(start: Start, upstream: Upstream) -> Daemon:
    """A daemon that holds the page, with its access log in `access.log`; upstream has forgotten that it was asked."""
    daemon = start("--access-log", "access.log")
    assert ask(daemon, PAGE).status == 200
    upstream.requests.clear()
    return daemon


def access_lines(daemon: Daemon, count: int) -> list[str]:
    """The access log, once it has `count` lines, as the rest of each may still be in a buffer."""
    path = daemon.directory / "access.log"
    wait_for(f"{count} lines in the access log", lambda: path.read_bytes().count(b"\n") >= count)
    return path.read_text("ascii").splitlines()


def held(daemon: Daemon) -> set[Path]:
    """What is in the cache: pages and files, whole ones."""
    found = (path.relative_to(daemon.cache) for path in daemon.stored("*"))
    return {path for path in found if path.parts[0] in ("pages", "files")}


def test_the_corpus(quiet: Daemon, upstream: Upstream) -> None:
    """Each request is answered, or refused and its connection closed; upstream hears nothing; all of it is logged."""
    before = held(quiet)
    wrong, expected = [], 1
    for case in CORPUS:
        answer = exchange(quiet, case.raw + FOLLOWING).removeprefix(CONTINUE)
        answers = len(re.findall(rb"HTTP/1\.1 \d+ [^\r]*\r\nServer: pypicache\r\n", answer))
        expected += answers
        good = status_of(answer) in case.statuses and answers == (case.closes is not True) + 1
        if not (good or (case.closes is None and answers == 1)) or upstream.requests:
            wrong.append((case.name, answer[:60], answers, list(upstream.requests)))
            upstream.requests.clear()
    assert wrong == []
    assert held(quiet) == before
    lines = access_lines(quiet, expected)
    assert [line for line in lines if not ACCESS.fullmatch(line)] == []
    assert len(lines) == expected
    assert not [line for line in lines if "smuggled" in line and " 400 " not in line]
    assert '"- - -"' in "".join(lines)
    assert "Traceback" not in quiet.log
    assert quiet.log.count("refused a request of 127.0.0.1") == 1, "a client is named once a minute"
    metrics = ask(quiet, "/metrics").body.decode()
    assert 'pypicache_requests_refused_total{status="400"}' in metrics


class TestInjection:
    @pytest.mark.parametrize(
        "agent",
        [
            b'" 200 1 HIT - 0.0 "x',
            b"\\x22\\",
            b"\xff\xfe",
            "\u2028\u202e".encode(),
            b"a" * 8000,
            b"\xc2\x9b2J",
            b"%0d%0a",
        ],
        ids=["quotes", "backslashes", "bytes", "separators", "long", "control", "encoded"],
    )
    def test_each_request_is_one_line_of_the_log(self, agent: bytes, quiet: Daemon) -> None:
        target = b"/simple/\";\\'[x]%22%5C{}/"
        raw = b"GET %s HTTP/1.1\r\nHost: h\r\nUser-Agent: %s\r\nReferer: %s\r\nConnection: close\r\n\r\n"
        assert status_of(exchange(quiet, raw % (target, agent, agent))) == 404
        lines = access_lines(quiet, 2)
        assert len(lines) == 2
        found = ACCESS.fullmatch(lines[1])
        assert found is not None
        assert found[4] == "404"
        assert len(lines[1]) < 10000

    @pytest.mark.parametrize(
        "path",
        ["/simple/a%0d%0aSet-Cookie:x/", "/simple/Six%0d%0aX:y", "//evil.example/%2e%2e", "/\\evil.example/simple"],
    )
    def test_nothing_of_a_path_becomes_a_header_or_leads_away(self, path: str, quiet: Daemon) -> None:
        answer = exchange(quiet, f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nset-cookie" not in head
        assert b"\r\nx:" not in head
        location = re.search(rb"\r\nlocation: (\S*)", head)
        assert location is None or not re.match(rb"[/\\]{2}|[a-z]+:", location[1])


class TestPoisoning:
    """What one client claims to be called reaches no other client."""

    CLAIMS = (
        "Host: evil.example",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: evil",
        "X-Forwarded-For: 203.0.113.9",
        "X-Original-URL: /evil.example",
        "X-Rewrite-URL: /evil.example",
        "X-Forwarded-Prefix: /evil.example",
        "Forwarded: host=evil.example;proto=https",
    )

    def claim(self, daemon: Daemon, path: str) -> bytes:
        lines = "\r\n".join(self.CLAIMS)
        return exchange(daemon, f"GET {path} HTTP/1.1\r\n{lines}\r\nConnection: close\r\n\r\n".encode())

    @pytest.mark.parametrize(
        "path", [PAGE, "/simple/", "/pypi/six/json", "/", "/simple/six", "//simple/six/", "/nothing"]
    )
    def test_a_claim_reaches_nobody_else(self, path: str, daemon: Daemon) -> None:
        claimed = self.claim(daemon, path)
        assert claimed
        after = exchange(daemon, f"GET {path} HTTP/1.1\r\nHost: good.example\r\nConnection: close\r\n\r\n".encode())
        assert b"evil" not in after
        assert b"evil" not in b"".join(path.read_bytes() for path in daemon.stored("*"))

    def test_only_what_is_for_that_client_alone_names_its_host(self, daemon: Daemon) -> None:
        assert b"evil" not in self.claim(daemon, PAGE)
        assert b"evil" not in self.claim(daemon, "//simple//six")
        document = self.claim(daemon, "/pypi/six/json")
        assert b"http://evil.example/packages/" in document
        assert b"\r\nCache-Control: private" in document
        assert b"https:" not in document.partition(b'"urls"')[2]

    def test_an_address_that_is_claimed_is_not_believed(self, start: Start) -> None:
        daemon = start("--allow", "203.0.113.0/24")
        assert status_of(self.claim(daemon, PAGE)) == 403

    def test_nothing_of_a_client_goes_upstream(self, upstream: Upstream, daemon: Daemon) -> None:
        secrets = {"Cookie": "evil=1", "Authorization": "Basic evil", "X_Forwarded_For": "evil", "Referer": "evil"}
        secrets["CDN_Loop"] = "evil, pypicache;id=evil"
        ask(daemon, f"{PAGE}?evil", Host="evil.example", User_Agent="evil", Accept_Language="evil", **secrets)
        assert upstream.requests
        assert not [request for request in upstream.requests if "evil" in repr(request)]


class TestKeys:
    """One thing has one key, and nothing else has it."""

    def test_spellings_of_a_page_are_one(self, quiet: Daemon, upstream: Upstream) -> None:
        before = held(quiet)
        for path in (
            "/simple/SIX/", "/simple/s%69x/", "/simple/six/?a=b", "/simple/six/?format=x&format=y", "//simple///six/",
            "/simple/six", "/index/Six/", "/simple/s%49X/",
        ):  # fmt: skip
            assert ask(quiet, path).status in (200, 301), path
        assert upstream.requests == []
        assert held(quiet) == before

    def test_spellings_of_a_file_are_one_or_nothing(self, daemon: Daemon, upstream: Upstream) -> None:
        (path,) = links(daemon, "six").values()
        whole = ask(daemon, path).body
        wait_for("page and file are stored", lambda: len(held(daemon)) == 2)
        before, asked = held(daemon), upstream.count("/packages/")
        for same in (f"{path}?x=y", path.replace("six", "s%69x"), path.replace("packages/", "pack%61ges/")):
            answer = ask(daemon, same)
            assert answer.status in (200, 404)
            assert answer.status == 404 or answer.body == whole
        for other in (
            path.upper(), path.replace(".whl", "..whl"), f"{path}.", f"{path}%20", f"{path}%00", f"{path}/", f"/{path}",
            path.replace("/six", "//six"), path.replace("/six", "%2fsix"), path.replace("/six", "/./six"),
            path.replace("/six", "/x/../six"), path.replace("six", "ѕix").encode().decode("latin-1"),
        ):  # fmt: skip
            raw = f"GET {other} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode("latin-1")
            assert status_of(exchange(daemon, raw)) in (301, 400, 403, 404), other
        assert held(daemon) == before
        assert upstream.count("/packages/") <= asked + 3, "a name that could be a file's may be looked for"

    def test_a_head_says_what_the_answer_would(self, daemon: Daemon) -> None:
        (path,) = links(daemon, "six").values()
        for each in (
            PAGE,
            path,
            "/simple/six",
            "/simple/",
            "/pypi/six/json",
            "/",
            "/healthz",
            "/nothing",
            "/files/x/y",
        ):
            ask(daemon, each)
            get, head = comparable(ask(daemon, each)), comparable(ask(daemon, each, "HEAD"))
            assert (head.status, head.reason, head.headers) == (get.status, get.reason, get.headers), each
            assert head.body == b""


def comparable(answer: Reply) -> Reply:
    """An answer without what changes by the second."""
    for name in ("date", "cache-status", "cache-control"):
        answer.headers.pop(name, None)
    if answer.headers.get("content-type", "").startswith("text/html") and "etag" not in answer.headers:
        del answer.headers["content-length"]  # the status page counts
    return answer


class TestRanges:
    @pytest.fixture
    def path(self, daemon: Daemon, upstream: Upstream) -> str:
        upstream.project("data", [blob("data", MB)])
        (path,) = links(daemon, "data").values()
        assert len(ask(daemon, path).body) == MB
        return path

    @pytest.mark.parametrize(
        "value",
        [
            ",".join("0-" for _ in range(2600)),
            ",".join(f"{n}-{n}" for n in range(900)),
            "0-1048575,0-1048575",
            "-" * 7000,
            "5-1",
            "1-" + "9" * 7000,
            "9" * 7000 + "-",
            "-" + "9" * 7000,
            "0x0-0x5",
            "+0-5",
            "0-5;0-5",
        ],
        ids=lambda value: value[:12],
    )
    def test_bombs_get_the_file_once(self, value: str, path: str, daemon: Daemon) -> None:
        answer = ask(daemon, path, Range=f"bytes={value}")
        assert (answer.status, len(answer.body)) == (200, MB)

    def test_ten_thousand_ranges_are_too_much_header(self, path: str, daemon: Daemon) -> None:
        assert ask(daemon, path, Range="bytes=" + ",".join("0-0" for _ in range(10_000))).status == 431


class TestConnections:
    def connect(self, daemon: Daemon) -> socket.socket:
        return socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE)

    def rest(self, connection: socket.socket) -> bytes:
        return b"".join(iter(lambda: receive(connection), b""))

    def test_a_hundred_requests_at_once(self, quiet: Daemon) -> None:
        answer = exchange(quiet, GET * 99 + FOLLOWING)
        assert answer.count(b"HTTP/1.1 200 ") == 100

    def test_a_client_that_closed_its_side_is_answered(self, upstream: Upstream, daemon: Daemon) -> None:
        gate = upstream.gate(PAGE)
        with self.connect(daemon) as connection:
            connection.sendall(GET)
            connection.shutdown(socket.SHUT_WR)
            assert gate.arrived.wait(DEADLINE)
            gate.release()
            answer = self.rest(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"</html>\n") or b"</body>" in answer

    def test_a_client_that_closed_its_side_is_answered_every_request(self, quiet: Daemon) -> None:
        with self.connect(quiet) as connection:
            connection.sendall(GET * 3)
            connection.shutdown(socket.SHUT_WR)
            assert self.rest(connection).count(b"HTTP/1.1 200 ") == 3

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n", 413),
            (b"garbage\r\n", 400),
            (b"GET /" + b"a" * 9000, 414),
            (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, 431),
        ],
        ids=["body", "garbage", "target", "header"],
    )
    def test_a_client_that_goes_on_sending_gets_the_answer(self, head: bytes, status: int, daemon: Daemon) -> None:
        """Closed at once, with more to read, the socket would be reset, and the answer lost."""
        with self.connect(daemon) as connection:
            connection.sendall(head)
            for _ in range(3):
                connection.sendall(b"x" * MB)
            connection.shutdown(socket.SHUT_WR)
            assert status_of(self.rest(connection)) == status

    def test_a_client_that_reads_nothing_costs_no_memory(self, upstream: Upstream, daemon: Daemon) -> None:
        files = [blob(f"many-{number}", 10) for number in range(600)]
        upstream.project("many", files)
        page = len(ask(daemon, "/simple/many/").body)
        assert page > 50_000
        requests = GET.replace(b"six", b"many") * 20_000
        before = daemon.memory()
        with self.connect(daemon) as connection:
            connection.sendall(requests)
            for _ in range(20):  # turns of the reactor, in each of which it reads what there is
                assert ask(daemon, PAGE).status == 200
            assert daemon.memory("VmHWM") - before < 32 * MB
