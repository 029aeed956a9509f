"""Who is let in: HTTP Basic, and addresses behind proxies."""

from __future__ import annotations

import signal
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import bcrypt
import pytest

from e2e.clients import BIN, Installer, ask, links, succeeded
from e2e.daemon import Daemon, Start
from e2e.packages import wheel
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

PAGE = "/simple/app/"
PASSWORD = "pass:w@rd/hunter2"
QUOTED = "pass%3Aw%40rd%2Fhunter2"


def basic(user: str = "ci", password: str = PASSWORD) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def line(user: str, password: str = PASSWORD, cost: int = 4) -> str:
    return f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()}\n"


@pytest.fixture
def users(tmp_path: Path, upstream: Upstream) -> Path:
    upstream.project("app", [wheel("app")])
    path = tmp_path / "htpasswd"
    path.write_text(line("ci"))
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(start: Start, users: Path) -> Daemon:
    return start("--htpasswd", str(users))


def status(daemon: Daemon, authorization: str, path: str = PAGE, **headers: str) -> int:
    return ask(daemon, path, Authorization=authorization, **headers).status


def reload(daemon: Daemon, said: str) -> None:
    before = daemon.log.count(said)
    daemon.signal(signal.SIGHUP)
    wait_for(f"{said!r} in the log", lambda: daemon.log.count(said) > before)


# -- HTTP Basic --------------------------------------------------------------------------------------------------------


def test_pip_and_uv_log_in_and_nobody_else_learns_of_it(
    upstream: Upstream, guarded: Daemon, installer: Installer
) -> None:
    index = f"http://ci:{QUOTED}@{guarded.address}/simple/"
    pip = (sys.executable, "-m", "pip", "install", "--no-compile", "--target", str(installer.directory / "p"))
    uv = (str(BIN / "uv"), "pip", "install", "--python", sys.executable, "--target", str(installer.directory / "u"))
    for command in (pip, uv):
        succeeded(installer.run(*command, "--index-url", index, "app"))
    assert installer.installed("p") == installer.installed("u") == {"app": "1.0"}
    assert all("authorization" not in {name.lower() for name in request.headers} for request in upstream.requests)
    wait_for("the log names the user", lambda: '" ci\n' in guarded.log)
    everything = guarded.log + str(upstream.requests) + ask(guarded, "/metrics", Authorization=basic()).body.decode()
    assert not any(secret in everything for secret in ("hunter2", QUOTED, basic()[6:]))


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_netrc_logs_in_too(tool: str, guarded: Daemon, installer: Installer) -> None:
    netrc = installer.directory / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login ci password {PASSWORD}\n")
    netrc.chmod(0o600)
    getattr(installer, tool)(guarded, "t", "app")
    assert installer.installed("t") == {"app": "1.0"}


def test_a_wrong_password_is_an_error_that_says_so(guarded: Daemon, installer: Installer) -> None:
    index = f"http://ci:wrong@{guarded.address}/simple/"
    done = installer.run(str(BIN / "uv"), "pip", "install", "--target", "t", "--index-url", index, "app")
    assert done.returncode != 0
    assert "401" in done.stderr


def test_answers_are_private_and_repeated_for_their_user_alone(guarded: Daemon) -> None:
    ask(guarded, PAGE, Authorization=basic())
    for _ in range(5):
        answer = ask(guarded, PAGE, Authorization=basic())
        assert (answer.status, answer.headers["cache-control"].split(",")[0]) == (200, "private")
        assert status(guarded, basic(password="wrong")) == 401
        assert ask(guarded, PAGE).status == 401
    assert ask(guarded, "/healthz").status == 200


def test_users_are_read_anew_and_a_bad_file_changes_nothing(guarded: Daemon, users: Path) -> None:
    assert [status(guarded, basic()), status(guarded, basic("new"))] == [200, 401]
    users.write_text(line("new"))
    reload(guarded, "changed: htpasswd")
    assert [status(guarded, basic()), status(guarded, basic("new"))] == [401, 200]
    users.write_text("ci:hunter2\n")
    reload(guarded, "the configuration stays as it was: --htpasswd")
    assert [status(guarded, basic()), status(guarded, basic("new"))] == [401, 200]
    assert "hunter2" not in guarded.log


@pytest.mark.parametrize("workers", ["2"])
def test_workers_repeat_to_nobody_what_they_were_lent_for_another(guarded: Daemon, users: Path) -> None:
    def head(authorization: str) -> bytes:
        return f"GET {PAGE} HTTP/1.1\r\nHost: cache\r\nAuthorization: {authorization}\r\n\r\n".encode()

    with socket.create_connection(("127.0.0.1", guarded.port), timeout=DEADLINE) as connection:
        reader = connection.makefile("rb")

        def exchange(data: bytes) -> bytes:
            connection.sendall(data)
            first, size = reader.readline(), 0
            while (header := reader.readline()) != b"\r\n":
                if header.lower().startswith(b"content-length:"):
                    size = int(header.split(b":")[1])
            reader.read(size)
            return first.split(b" ")[1]

        for _ in range(3):
            assert {exchange(head(basic())) for _ in range(100)} == {b"200"}
            assert exchange(head(basic("ci", "wrong"))) == b"401"
            assert exchange(f"GET {PAGE} HTTP/1.1\r\nHost: cache\r\n\r\n".encode()) == b"401"
        users.write_text(line("new"))
        reload(guarded, "changed: htpasswd")
        wait_for("the user is refused", lambda: exchange(head(basic())) == b"401")
        assert {exchange(head(basic())) for _ in range(100)} == {b"401"}
    wait_for("the workers' lines are there", lambda: guarded.log.count('" ci\n') == 300)


def test_others_are_served_while_a_password_is_checked(start: Start, users: Path) -> None:
    users.write_text(line("ci") + line("slow", cost=14))
    daemon = start("--htpasswd", str(users))
    assert status(daemon, basic()) == 200
    with ThreadPoolExecutor(1) as threads:
        checked = threads.submit(status, daemon, basic("slow"))
        served = 0
        while not checked.done():
            assert [ask(daemon, "/healthz").status, status(daemon, basic())] == [200, 200]
            served += 1
        assert checked.result() == 200
    assert served >= 5  # of a check that takes about a second


def test_a_flood_of_guesses_is_turned_back_and_keeps_nobody_out(start: Start, users: Path) -> None:
    users.write_text(line("ci", cost=10) + line("other", cost=10))
    daemon = start("--htpasswd", str(users), "--trusted-proxy", "127.0.0.1")
    over = Event()

    def guess(number: int) -> Iterator[int]:
        count = 0
        while not over.is_set():
            count += 1
            yield status(daemon, basic("ci", f"{number}-{count}"), X_Forwarded_For="192.0.2.66")

    assert status(daemon, basic(), X_Forwarded_For="192.0.2.66") == 200
    with ThreadPoolExecutor(4) as threads:
        floods = [threads.submit(lambda number: list(guess(number)), number) for number in range(4)]
        try:
            wait_for("guesses are turned back", lambda: " 429 " in daemon.log)
            for number in range(20):
                assert status(daemon, basic(), X_Forwarded_For="192.0.2.66") == 200
                assert status(daemon, basic("other"), X_Forwarded_For="192.0.2.66") == 200
                assert status(daemon, basic("other"), X_Forwarded_For=f"198.51.100.{number}") == 200
        finally:
            over.set()
        answers = [answer for flood in floods for answer in flood.result()]
    assert set(answers) == {401, 429}
    assert answers.count(429) > answers.count(401)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "--htpasswd: {} can't be read: No such file or directory"),
        ("ci:{{SHA}}hunter2\n", "--htpasswd: {}: line 1: is not bcrypt: htpasswd -B makes that"),
    ],
)
def test_users_that_can_t_be_used_end_the_start(
    text: str | None, problem: str, start: Start, tmp_path: Path, upstream: Upstream
) -> None:
    path = tmp_path / "users"
    if text is not None:
        path.write_text(text)
    daemon = Daemon(tmp_path / "refused", ("--index-url", upstream.index_url, "--htpasswd", str(path)))
    daemon.spawn()
    assert daemon.wait() == 1
    assert daemon.log.strip() == f"pypicache: {problem.format(path)}"


def test_passwords_in_the_clear_are_warned_about_once(start: Start, users: Path) -> None:
    daemon = start("--htpasswd", str(users), "--interface", "0.0.0.0")
    assert daemon.log.count("passwords come over plain HTTP") == 1


# -- addresses behind proxies ------------------------------------------------------------------------------------------

FORWARDED = [
    ("192.0.2.7", "192.0.2.7"),
    ("203.0.113.1, 192.0.2.7", "192.0.2.7"),
    ("192.0.2.7, 10.1.2.3", "192.0.2.7"),
    ("192.0.2.7, 10.1.2.3,10.9.9.9", "192.0.2.7"),
    ("192.0.2.7:4711", "192.0.2.7"),
    ("::ffff:192.0.2.7", "192.0.2.7"),
    ("[2001:db8::7]:4711", "2001:db8::7"),
    ("2001:DB8::7", "2001:db8::7"),
    ("garbage, 192.0.2.7", "192.0.2.7"),
    ("192.0.2.7, garbage", "127.0.0.1"),
    ("192.0.2.7, unknown, 10.1.2.3", "10.1.2.3"),
    ("", "127.0.0.1"),
    ("10.1.2.3", "10.1.2.3"),
]
"""`X-Forwarded-For`, and who that is where 10.0.0.0/8 and loopback are trusted."""


def test_the_log_and_the_rules_have_the_client_and_not_the_proxy(start: Start, users: Path) -> None:
    trusted = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8")
    allowed = ("--allow", "192.0.2.0/24", "--allow", "2001:db8::/32")
    daemon = start(*trusted, *allowed)
    for number, (forwarded, client) in enumerate(FORWARDED):
        answer = ask(daemon, PAGE, X_Forwarded_For=forwarded, User_Agent=f"case-{number}")
        assert answer.status == (200 if client.startswith(("192.0.2.", "2001:db8:")) else 403), forwarded
    wait_for("all are in the log", lambda: daemon.log.count('"case-') == len(FORWARDED))
    logged = {row.rpartition('"case-')[2].rstrip('"'): row.split(" ")[0] for row in daemon.log.splitlines()}
    assert [logged[str(number)] for number in range(len(FORWARDED))] == [client for _, client in FORWARDED]


def test_nobody_else_s_word_counts(start: Start, users: Path) -> None:
    daemon = start("--allow", "192.0.2.0/24", "--trusted-proxy", "198.51.100.1")
    for header in ("X_Forwarded_For", "Forwarded", "X_Real_IP"):
        assert ask(daemon, PAGE, **{header: "192.0.2.7"}).status == 403


def test_forwarded_is_not_read_even_from_a_proxy(start: Start, users: Path) -> None:
    daemon = start("--allow", "192.0.2.0/24", "--trusted-proxy", "127.0.0.1")
    assert ask(daemon, PAGE, Forwarded="for=192.0.2.7").status == 403


def test_a_proxy_s_connections_are_not_one_client_s(start: Start, users: Path) -> None:
    daemon = start("--trusted-proxy", "127.0.0.1", "--max-client-connections", "2")
    addresses = [socket.create_connection(("127.0.0.1", daemon.port), timeout=DEADLINE) for _ in range(6)]
    try:
        for connection in addresses:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in addresses)
        assert "too many" not in daemon.log
    finally:
        for connection in addresses:
            connection.close()


def test_behind_a_proxy_nobody_purges_without_the_token(start: Start, users: Path) -> None:
    daemon = start("--trusted-proxy", "127.0.0.1")
    links(daemon, "app")
    assert ask(daemon, "/cache/app", "DELETE").status == 403
    assert ask(daemon, "/cache/app", "DELETE", X_Forwarded_For="127.0.0.1").status == 403
