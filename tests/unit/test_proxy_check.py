"""What the proxies that tables name say to CONNECT, asked once. Real sockets on the loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
from attrs import evolve

from twisted_pypi import proxy_check
from twisted_pypi.errors import ConfigError
from twisted_pypi.proxy_check import check_proxies, has_to_ask
from twisted_pypi.settings import Settings
from unit.test_config import SECRET, settings

asked: list[bytes] = []


@contextmanager
def proxy(answer: bytes | None) -> Iterator[int]:
    """One that says this to everybody, or nothing at all; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    asked.append(connection.recv(4096))
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()

        asked.clear()
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


def configured(port: int, keys: str = "", url: str = "https://strict.example/simple/", user: str = "") -> Settings:
    return settings(toml=f"[[index]]\nname = 'strict'\nurl = '{url}'\nproxy = 'http://{user}127.0.0.1:{port}'\n{keys}")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407: it wants credentials"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "answered 401: it wants credentials"),
        (b"HTTP/1.1 403 Filtered\r\n\r\n", "answered 403 to CONNECT: it does not lead to https://strict.example"),
    ],
)
def test_one_that_refuses_is_an_error(answer: bytes, told: str) -> None:
    with proxy(answer) as port, pytest.raises(ConfigError) as caught:
        check_proxies(configured(port))
    assert str(caught.value) == f"[[index]] strict: proxy: http://127.0.0.1:{port} {told}"
    assert asked[0].startswith(b"CONNECT strict.example:443 HTTP/1.1\r\n")


def test_credentials_are_shown_to_it_and_to_nobody_else() -> None:
    with proxy(b"HTTP/1.1 407 No\r\n\r\n") as port, pytest.raises(ConfigError) as caught:
        check_proxies(configured(port, user=f"me:{SECRET}@"))
    assert "does not take the credentials" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert b"Proxy-Authorization: Basic " in asked[0]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 to CONNECT"),
        (b"SSH-2.0\r\n", "gave no proper answer to CONNECT"),
        (b"", "gave no proper answer to CONNECT"),
        (b"x" * 5000, "gave no proper answer to CONNECT"),
    ],
)
def test_an_outage_is_a_warning(answer: bytes, told: str) -> None:
    with proxy(answer) as port:
        assert check_proxies(configured(port)) == (f"[[index]] strict: the proxy http://127.0.0.1:{port} {told}",)


def test_nobody_is_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_check, "PATIENCE", 0.05)
    with proxy(None) as port:
        (warning,) = check_proxies(configured(port))
    assert warning.startswith(f"[[index]] strict: the proxy http://127.0.0.1:{port} ")


def test_one_that_is_not_there_is_a_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (warning,) = check_proxies(configured(port))
    assert warning.endswith(f"http://127.0.0.1:{port} can't be reached: Connection refused")


def test_a_good_one_is_nothing_to_tell() -> None:
    with proxy(b"HTTP/1.1 200 Connection established\r\n\r\n") as port:
        assert check_proxies(configured(port)) == ()


def test_who_is_not_asked() -> None:
    good = configured(1)
    assert has_to_ask(good, settings())
    assert has_to_ask(good, evolve(good, offline=True))
    assert not has_to_ask(good, good)
    assert not has_to_ask(evolve(good, offline=True), settings())
    assert not has_to_ask(configured(1, url="http://strict.example/simple/"), settings())
    assert not has_to_ask(settings(environ={"HTTPS_PROXY": "http://127.0.0.1:1"}), settings())
