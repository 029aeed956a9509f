"""`--htpasswd` and `--tls-certificate`: where the files are found, and what is said of those that can't be used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from cryptography.x509 import DNSName
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory

from e2e.tls import DAY, issue
from twisted_pypi.access import is_open
from twisted_pypi.commands.check_config import check, option_lines
from twisted_pypi.errors import ConfigError
from twisted_pypi.listening import Listeners
from twisted_pypi.preflight import check_tls
from twisted_pypi.reloading import Reloader
from twisted_pypi.settings import Loaded, Settings
from unit.certificates import issue as issue_locked
from unit.storage_doubles import now
from unit.test_config import failure, load, settings

TAIL = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
USERS = f"ci:$2y$10${TAIL}\n"
PAIR = issue("cache.example", DNSName("cache.example"))
CHAIN, KEY = PAIR.public().decode(), PAIR.pem().decode().removesuffix(PAIR.public().decode())
BOTH = CHAIN + KEY
NEW = issue("cache.example", DNSName("cache.example"))
HERE = os.getcwd()


def with_users(interface: str = "127.0.0.1", **more: Any) -> dict[str, Any]:
    return {"htpasswd": "/h", "interface": interface} | {key.replace("_", "-"): value for key, value in more.items()}


def warnings(given: Mapping[str, Any], mode: int = 0o600) -> tuple[str, ...]:
    return load(given, files={"/h": USERS, "/c.pem": BOTH}, mode=mode).warnings


# -- where they are ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/run/credentials/pypicache/users", "/etc/users", f"{HERE}/users"], ids=["systemd", "beside", "here"]
)
def test_names_of_a_file_are_looked_for_among_credentials_and_then_beside_it(path: str) -> None:
    environ = {"CREDENTIALS_DIRECTORY": "/run/credentials/pypicache"}
    given: dict[str, Any] = {"toml": "htpasswd = 'users'"}
    if path.startswith(HERE):
        given = {"given": {"htpasswd": "users"}, "toml": "htpasswd = 'other'"}
    got = settings(environ=environ, files={path: USERS}, **given)
    assert got.htpasswd is not None
    assert list(got.htpasswd.hashes) == [b"ci"]


def test_a_variable_names_it_as_a_flag_does() -> None:
    assert settings(environ={"PYPICACHE_HTPASSWD": "users"}, files={f"{HERE}/users": USERS}).htpasswd is not None


def test_without_them_anybody_is_served_over_plain_http() -> None:
    assert (settings().htpasswd, settings().tls_certificate) == (None, None)


@pytest.mark.parametrize(("chain", "key"), [(BOTH, None), (KEY + CHAIN, None), (CHAIN, KEY), (CHAIN, BOTH)])
def test_a_certificate_with_its_key_in_one_file_or_two(chain: str, key: str | None) -> None:
    given = {"tls-certificate": "/c.pem"} | ({"tls-key": "/k.pem"} if key else {})
    certificate = settings(given, files={"/c.pem": chain, "/k.pem": key or ""}).tls_certificate
    assert certificate is not None
    assert certificate.context() is not None


# -- what can't be used ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "--htpasswd: /h can't be read: No such file or directory"),
        ("ci:$apr1$hunter2", "--htpasswd: /h: line 1: is not bcrypt: htpasswd -B makes that"),
        (f"{USERS}x", "--htpasswd: /h: line 2: is not NAME:HASH"),
        ("", "--htpasswd: /h: holds no user: htpasswd -nB NAME makes a line"),
    ],
)
def test_users_that_can_t_be_used(text: str | None, problem: str) -> None:
    assert failure({"htpasswd": "/h"}, files={} if text is None else {"/h": text}) == problem


def test_the_key_of_the_file_is_named() -> None:
    assert failure(toml="htpasswd = '/h'").startswith("/etc/pypicache.toml: htpasswd: /h can't be read")
    assert failure(toml="tls-key = '/k'", files={"/k": KEY}) == (
        "/etc/pypicache.toml: tls-key: a key without --tls-certificate"
    )


@pytest.mark.parametrize(
    ("chain", "key", "problem"),
    [
        (None, None, "--tls-certificate: /c.pem can't be read: No such file or directory"),
        (CHAIN, None, "--tls-certificate: /c.pem: holds no private key without a passphrase"),
        (KEY, None, "--tls-certificate: /c.pem: holds no PEM certificate"),
        ("", KEY, "--tls-certificate: /c.pem: holds no PEM certificate"),
        (CHAIN, "", "--tls-key: /k.pem: holds no private key without a passphrase"),
        (CHAIN, CHAIN, "--tls-key: /k.pem: holds no private key without a passphrase"),
        (CHAIN, issue_locked("h", b"p")[1].decode(), "--tls-key: /k.pem: holds no private key without a passphrase"),
        (CHAIN, NEW.pem().decode(), "--tls-key: /k.pem: the key is another certificate's"),
    ],
)
def test_certificates_that_can_t_be_used(chain: str | None, key: str | None, problem: str) -> None:
    files = ({} if chain is None else {"/c.pem": chain}) | ({} if key is None else {"/k.pem": key})
    given = {"tls-certificate": "/c.pem"} | ({} if key is None else {"tls-key": "/k.pem"})
    assert failure(given, files=files).startswith(problem)


def secured(*listen: str, **changes: Any) -> Settings:
    given = {"tls-certificate": "/c.pem", "listen": list(listen)}
    return evolve(settings(given, files={"/c.pem": BOTH}), **changes)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (secured(workers=2), "--workers: more than one can't share --tls-certificate"),
        (secured("unix:/s", "ssl:443"), "--tls-certificate: none of --listen takes it, only tcp:, tcp6:, systemd: do"),
    ],
)
def test_what_does_not_go_together(given: Settings, problem: str) -> None:
    for judge in (check_tls, check):
        with pytest.raises(ConfigError) as caught:
            judge(given)
        assert str(caught.value).startswith(problem)


def test_check_config_shows_neither_users_nor_key(capsys: pytest.CaptureFixture[str]) -> None:
    files = {"/h": USERS, "/c.pem": BOTH}
    text = "\n".join(option_lines(load({"htpasswd": "/h", "tls-certificate": "/c.pem"}, files=files)))
    assert "htpasswd = /h  # --htpasswd" in text
    assert "tls-certificate = /c.pem  # --tls-certificate" in text
    assert "tls-key = in --tls-certificate  # default" in text
    assert TAIL not in text
    assert "PRIVATE" not in text


def test_nothing_of_them_shows_in_a_repr() -> None:
    loaded = load({"htpasswd": "/h", "tls-certificate": "/c.pem"}, files={"/h": USERS, "/c.pem": BOTH})
    assert TAIL not in repr(loaded)
    assert "BEGIN" not in repr(loaded)


# -- what works, but is hardly meant -----------------------------------------------------------------------------------

CLEAR = "--htpasswd: passwords come over plain HTTP"


@pytest.mark.parametrize(
    "given",
    [
        with_users("0.0.0.0"),
        with_users("::"),
        with_users("192.0.2.1"),
        with_users(listen=["tcp:80"]),
        with_users(listen=["tcp:80:interface=0.0.0.0:backlog=5", "unix:/s"]),
        with_users(listen=["systemd:domain=INET:index=0"]),
        with_users("0.0.0.0", listen=["tcp6:80:interface=\\:\\:"]),
    ],
)
def test_passwords_over_plain_http_are_warned_about_once(given: dict[str, Any]) -> None:
    (warning,) = warnings(given)
    assert warning.startswith(CLEAR)


@pytest.mark.parametrize(
    "given",
    [
        with_users(),
        with_users("::1"),
        with_users("0.0.0.0", tls_certificate="/c.pem"),
        with_users("0.0.0.0", trusted_proxy=["192.0.2.1"]),
        with_users("0.0.0.0", listen=["unix:/s", "ssl:443"]),
        with_users(listen=["tcp:80:interface=127.0.0.1"]),
        with_users(listen=["tcp6:80:interface=\\:\\:1"]),
        with_users(listen=["tcp:80", "systemd:index=0"], tls_certificate="/c.pem"),
        {"interface": "0.0.0.0"},
    ],
)
def test_otherwise_nothing_is_said(given: dict[str, Any]) -> None:
    assert warnings(given) == ()


def test_a_host_name_is_no_loopback_address_but_for_one() -> None:
    assert is_open("tcp:80:interface=cache.example")
    assert not is_open("tcp:80:interface=localhost")


def test_what_anybody_can_read() -> None:
    assert warnings(with_users(tls_certificate="/c.pem"), 0o644) == (
        "--htpasswd: anybody on this machine can read /h",
        "--tls-certificate: anybody on this machine can read /c.pem",
    )
    assert warnings(with_users(tls_certificate="/c.pem"), 0o640) == ()


@pytest.mark.parametrize(("days", "problem"), [(-1, "has expired at"), (5, "expires at")])
def test_a_certificate_s_time_is_told_and_it_is_used(days: int, problem: str) -> None:
    text = issue("cache.example", DNSName("cache.example"), None, days * DAY).pem().decode()
    loaded = load({"tls-certificate": "/c.pem"}, files={"/c.pem": text})
    assert loaded.settings.tls_certificate is not None
    (warning,) = loaded.warnings
    assert warning.startswith(f"--tls-certificate: the certificate in /c.pem {problem} 20")


# -- what is listened on -----------------------------------------------------------------------------------------------


def listening(settings: Settings) -> tuple[Listeners, MemoryReactorClock]:
    reactor = MemoryReactorClock()
    listeners = Listeners(reactor, settings)
    listeners.bind(Factory())
    return listeners, reactor


def test_port_and_interface_serve_https() -> None:
    listeners, reactor = listening(secured())
    ((port, factory, *_),) = reactor.tcpServers
    assert (port, type(factory)) == (8080, TLSMemoryBIOFactory)
    assert listeners.addresses()[0].startswith("https://")


def test_so_do_endpoints_that_can_and_no_others() -> None:
    listeners, reactor = listening(secured("tcp:80", "tcp6:81", "unix:/s"))
    kinds = [type(factory) is TLSMemoryBIOFactory for _, factory, *_ in (*reactor.tcpServers, *reactor.unixServers)]
    assert kinds == [True, True, False]
    assert [address.partition(":")[0] for address in listeners.addresses()] == ["https", "https", "the socket /s"]


def test_without_a_certificate_nothing_is_wrapped() -> None:
    listeners, reactor = listening(settings())
    assert type(reactor.tcpServers[0][1]) is Factory
    assert listeners.addresses()[0].startswith("http://")


# -- SIGHUP ------------------------------------------------------------------------------------------------------------


def reloaded(old: Settings, new: Settings) -> Settings:
    reloader = Reloader(old, lambda: Loaded(new), lambda _: None)
    now(reloader.reload())
    return reloader.settings


def test_other_users_and_another_certificate_come_into_force() -> None:
    old = evolve(secured(), htpasswd=settings({"htpasswd": "/h"}, files={"/h": USERS}).htpasswd)
    both = {"/c.pem": NEW.pem().decode(), "/h": USERS + USERS.replace("ci", "new")}
    new = settings({"tls-certificate": "/c.pem", "htpasswd": "/h"}, files=both)
    assert reloaded(old, new) == new
    listeners, _ = listening(old)
    listeners.use(new)
    assert listeners._tls is not None
    assert listeners._tls.certificate == new.tls_certificate


def test_whether_there_is_tls_at_all_needs_a_restart() -> None:
    for old, new in ((settings(), secured()), (secured(), settings())):
        assert reloaded(old, evolve(new, memory=7)) == evolve(old, memory=7)
