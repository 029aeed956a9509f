"""`--tls-certificate`: clients over TLS, and a certificate that is replaced while they are there."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.clients import BIN, Installer, succeeded
from e2e.daemon import Daemon, Start, clean_environment
from e2e.packages import wheel
from e2e.single import MB
from e2e.tls import DAY, HERE, Pair, issue
from e2e.upstream import Upstream
from e2e.waiting import DEADLINE, wait_for

PAGE = "/simple/app/"
AUTHORITY = issue("Office authority")
MIDDLE = issue("Office machines", None, AUTHORITY)


@pytest.fixture(autouse=True)
def published(upstream: Upstream) -> None:
    upstream.project("app", [wheel("app")])
    upstream.project("big", [wheel("big", size=24 * MB)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.public())
    show(tmp_path)
    return tmp_path


@pytest.fixture
def secured(start: Start, place: Path) -> Daemon:
    return start("--tls-certificate", str(place / "chain.pem"), "--tls-key", str(place / "key.pem"))


def show(place: Path, pair: Pair | None = None) -> Pair:
    """Have the daemon show this certificate, which its chain leads to the authority, from its next reload on."""
    pair = pair or issue("cache", HERE, MIDDLE)
    (place / "chain.pem").write_bytes(pair.public() + MIDDLE.public())
    (place / "key.pem").write_bytes(pair.pem())
    (place / "key.pem").chmod(0o600)
    return pair


def trusting(place: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(place / "ca.pem"))


def connect(daemon: Daemon, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, timeout=DEADLINE, context=context)
    connection.connect()
    return connection


def status(connection: http.client.HTTPSConnection, path: str = PAGE) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def serial(connection: http.client.HTTPSConnection) -> int:
    assert isinstance(connection.sock, ssl.SSLSocket)
    shown = connection.sock.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)


def reload(daemon: Daemon, said: str) -> None:
    before = daemon.log.count(said)
    daemon.signal(signal.SIGHUP)
    wait_for(f"{said!r} in the log", lambda: daemon.log.count(said) > before)


def test_pip_and_uv_install_from_it(secured: Daemon, place: Path, installer: Installer) -> None:
    assert secured.index_url.startswith("https://")
    installer.pip(secured, "p", "--cert", str(place / "ca.pem"), "app")
    environment = {"SSL_CERT_FILE": str(place / "ca.pem"), **installer.environment()}
    command = [
        str(BIN / "uv"),
        "pip",
        "install",
        "--python",
        sys.executable,
        "--target",
        str(installer.directory / "u"),
    ]
    done = subprocess.run(
        [*command, "--index-url", secured.index_url, "app"],
        env=environment,
        cwd=installer.directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    succeeded(done)
    assert installer.installed("p") == installer.installed("u") == {"app": "1.0"}


def test_another_certificate_for_new_connections_while_old_ones_go_on(secured: Daemon, place: Path) -> None:
    context = trusting(place)
    old = connect(secured, context)
    assert status(old) == 200
    pair = show(place)
    reload(secured, "changed: tls-certificate")
    new = connect(secured, context)
    assert serial(new) == pair.certificate.serial_number != serial(old)
    assert [status(new), status(old)] == [200, 200]
    (place / "key.pem").write_text("broken")
    reload(secured, "the configuration stays as it was: --tls-key")
    assert serial(connect(secured, context)) == pair.certificate.serial_number


def test_a_download_outlives_the_certificate_that_it_began_with(secured: Daemon, place: Path) -> None:
    connection = connect(secured, trusting(place))
    connection.request("GET", "/simple/big/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    (path,) = (line.split('"')[0] for line in connection.getresponse().read().decode().split('"url":"../..')[1:])
    connection.request("GET", path)
    answer = connection.getresponse()
    begun = answer.read(MB)
    show(place)
    reload(secured, "changed: tls-certificate")
    assert begun + answer.read() == wheel("big", size=24 * MB).data


def test_a_client_that_reads_slowly_costs_no_memory(secured: Daemon, place: Path) -> None:
    context = trusting(place)
    connection = connect(secured, context)
    connection.request("GET", "/simple/big/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    (path,) = (line.split('"')[0] for line in connection.getresponse().read().decode().split('"url":"../..')[1:])
    assert status(connection, path) == 200
    before = secured.memory()
    slow = [connect(secured, context) for _ in range(10)]
    for each in slow:
        each.request("GET", path)
    answers = [each.getresponse() for each in slow]
    assert status(connection) == 200
    assert secured.memory() - before < 10 * 4 * MB
    assert {len(answer.read()) for answer in answers} == {len(wheel("big", size=24 * MB).data)}


def test_the_end_does_not_wait_for_clients_that_keep_their_connections(secured: Daemon, place: Path) -> None:
    kept = [connect(secured, trusting(place)) for _ in range(3)]
    assert [status(each) for each in kept] == [200] * 3
    assert secured.stop() == 0
    assert "broken off" not in secured.log


def test_what_is_no_tls_gets_no_answer(secured: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=DEADLINE) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP/")
    assert "Traceback" not in secured.log


def test_an_expired_one_is_warned_about_and_shown(start: Start, place: Path) -> None:
    show(place, issue("cache", HERE, MIDDLE, -DAY))
    daemon = start("--tls-certificate", str(place / "chain.pem"), "--tls-key", str(place / "key.pem"))
    assert "has expired at" in daemon.log
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        connect(daemon, trusting(place))


def refused(place: Path, *arguments: str, **environment: str) -> str:
    """The one line with which a daemon ends at once."""
    daemon = Daemon(place / f"refused-{len(list(place.iterdir()))}", arguments, environment)
    daemon.spawn()
    assert daemon.wait() == 1
    (line,) = daemon.log.splitlines()
    return line


def test_what_can_t_be_used_ends_the_start(place: Path) -> None:
    chain, key = str(place / "chain.pem"), str(place / "key.pem")
    other = place / "other.pem"
    other.write_bytes(issue("cache", HERE).pem())
    assert refused(place, "--tls-certificate", chain) == (
        f"pypicache: --tls-certificate: {chain}: holds no private key without a passphrase"
    )
    assert "the key is another certificate's" in refused(place, "--tls-certificate", chain, "--tls-key", str(other))
    assert "can't be read" in refused(place, "--tls-certificate", str(place / "none"))
    assert refused(place, "--tls-key", key) == "pypicache: --tls-key: a key without --tls-certificate"
    assert refused(place, "--tls-certificate", chain, "--tls-key", key, "--workers", "2").startswith(
        "pypicache: --workers: more than one can't share --tls-certificate"
    )


def test_credentials_of_systemd_are_found_by_name(start: Start, place: Path) -> None:
    daemon = start("--tls-certificate", "chain.pem", "--tls-key", "key.pem", CREDENTIALS_DIRECTORY=str(place))
    assert status(connect(daemon, trusting(place))) == 200


def test_a_socket_of_systemd_speaks_tls_too(place: Path, upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        options = ["--index-url", upstream.index_url, "--cache-dir", str(place / "cache"), "--min-free", "0"]
        options += ["--tls-certificate", str(place / "chain.pem"), "--tls-key", str(place / "key.pem")]
        command = [str(BIN / "twistd"), "-n", "--pidfile=", "pypicache", "--listen", "systemd:domain=INET:name=web"]
        script = 'exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec "$@"'
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", script, "sh", *command, *options],
                env=clean_environment(place),
                cwd=place,
                stdin=listening.fileno(),
                stdout=log,
                stderr=log,
            )
    try:
        wait_for("it listens", lambda: "listening on https://" in (place / "log").read_text())
        daemon = Daemon(place, ())
        daemon.port = port
        assert status(connect(daemon, trusting(place))) == 200
    finally:
        process.kill()
        process.wait(DEADLINE)


def test_openssl_itself_agrees(secured: Daemon, place: Path) -> None:
    command = ["openssl", "s_client", "-connect", secured.address, "-CAfile", str(place / "ca.pem"), "-brief"]
    done = subprocess.run(
        [*command, "-verify_return_error", "-alpn", "http/1.1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={"PATH": os.defpath},
    )
    assert "Verification: OK" in done.stderr


def test_the_commands_ask_it_by_https(secured: Daemon) -> None:
    environment = {
        "PYPICACHE_PORT": str(secured.port),
        "PYPICACHE_CACHE_DIR": str(secured.cache),
        "PYPICACHE_TLS_CERTIFICATE": "chain.pem",
    }
    done = subprocess.run(
        [sys.executable, "-m", "twisted_pypi", "status"],
        env=clean_environment(secured.directory, **environment),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert "entries" in succeeded(done)
