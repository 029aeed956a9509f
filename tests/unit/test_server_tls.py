"""TLS towards clients: what a certificate must be, what is agreed upon, and how it is replaced."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import DNSName
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from e2e.tls import DAY, Pair, issue
from twisted_pypi.server_tls import TICKETS, ServerCertificate, ServerTls, utc_now
from twisted_pypi.web.deadlines import RECENT
from twisted_pypi.web.patience import REQUEST_TIMEOUT
from twisted_pypi.web.site import KEEP_ALIVE
from unit.certificates import issue as issue_locked
from unit.web_doubles import Web, parse

HOST = "cache.example"
AUTHORITY = issue("authority")


def served(issuer: Pair | None = AUTHORITY, end: timedelta = 100 * DAY) -> ServerCertificate:
    pair = issue(HOST, DNSName(HOST), issuer, end)
    return ServerCertificate(pair.public() + AUTHORITY.public(), pair.pem())


CERTIFICATE = served()


class Line(StringTransport):
    """The server's end of a TCP connection, which a client in memory reads."""

    aborted = ended = False

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        pass

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True
        super().abortConnection()

    def loseConnection(self) -> None:  # noqa: N802
        self.ended = True
        super().loseConnection()


class Client:
    """A client's TLS, over a connection to a site that is wrapped in `tls`."""

    def __init__(self, web: Web, tls: ServerTls, adapt: Callable[[ssl.SSLContext], object] = lambda context: None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=AUTHORITY.public().decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        adapt(context)
        self.web = web
        self.line = Line(peerAddress=IPv4Address("TCP", "192.0.2.7", 4000))
        self.protocol = TLSMemoryBIOFactory(tls, False, web.site, web.clock).buildProtocol(None)
        self.protocol.makeConnection(self.line)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=HOST)

    def pump(self) -> None:
        if data := self._out.read():
            self.protocol.dataReceived(data)
        self.web.turn()
        self._in.write(self.line.value())
        self.line.clear()

    def shake_hands(self) -> None:
        for _ in range(4):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.pump()
        self.pump()

    def ask(self, path: str = "/simple/six/", *lines: str) -> bytes:
        self.tls.write("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}", *lines, "", ""]).encode())
        self.pump()
        return self.tls.read(1 << 20)


def hello(tls: ServerTls, adapt: Callable[[ssl.SSLContext], object] = lambda context: None) -> ssl.SSLObject:
    """What a client and the server agree upon."""
    client = Client(Web(), tls, adapt)
    client.shake_hands()
    return client.tls


def tls_of(certificate: ServerCertificate = CERTIFICATE) -> ServerTls:
    return ServerTls(certificate, Clock())


def at_most(version: ssl.TLSVersion) -> Callable[[ssl.SSLContext], object]:
    def adapt(context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version

    return adapt


# -- what is agreed upon -----------------------------------------------------------------------------------------------


def test_a_client_that_knows_the_authority_is_served() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    answer = parse(client.ask())
    assert answer.status == 200
    assert client.tls.version() == "TLSv1.3"
    assert client.tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError):
        hello(tls_of(), lambda context: (at_most(version)(context), context.set_ciphers("ALL:@SECLEVEL=0")))


def test_the_version_before_has_forward_secrecy_and_no_cbc() -> None:
    agreed = hello(tls_of(), at_most(ssl.TLSVersion.TLSv1_2))
    name, version, _ = agreed.cipher()
    assert version == "TLSv1.2"
    assert name.startswith("ECDHE-")
    assert "GCM" in name or "CHACHA20" in name


@pytest.mark.parametrize("ciphers", ["ECDHE+AES:!AESGCM:!AESCCM", "kRSA"])
def test_other_ciphers_are_refused(ciphers: str) -> None:
    def adapt(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)

    with pytest.raises(ssl.SSLError):
        hello(tls_of(), adapt)


def test_the_chain_is_sent() -> None:
    root, middle = issue("root"), None
    middle = issue("middle", None, root)
    pair = issue(HOST, DNSName(HOST), middle)
    tls = tls_of(ServerCertificate(pair.public() + middle.public(), pair.pem()))
    agreed = hello(tls, lambda context: context.load_verify_locations(cadata=root.public().decode()))
    assert agreed.version() == "TLSv1.3"


def test_absolute_links_say_https() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    assert f"https://{HOST}/".encode() in parse(client.ask("/")).body


# -- how it is replaced ------------------------------------------------------------------------------------------------


def serial(agreed: ssl.SSLObject) -> object:
    return agreed.getpeercert()["serialNumber"]


def test_new_connections_see_the_new_one_and_old_ones_go_on() -> None:
    tls = tls_of()
    before = Client(Web(), tls)
    before.shake_hands()
    tls.use(served())
    after = hello(tls)
    assert serial(before.tls) != serial(after)
    assert parse(before.ask()).status == 200
    assert serial(hello(tls)) == serial(after)


def test_one_that_can_t_be_used_changes_nothing() -> None:
    tls = tls_of()
    before = serial(hello(tls))
    with pytest.raises(ValueError, match="no PEM certificate"):
        tls.use(ServerCertificate(b"", CERTIFICATE.key))
    assert serial(hello(tls)) == before


def test_sessions_are_resumed_for_a_day_and_not_longer() -> None:
    tls = tls_of()
    context = ssl.create_default_context(cadata=AUTHORITY.public().decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def resumed(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession]:
        client = Client(Web(), tls)
        client.tls = context.wrap_bio(client._in, client._out, server_hostname=HOST, session=session)
        client.shake_hands()
        return client.tls.session_reused, client.tls.session

    _, session = resumed(None)
    assert resumed(session)[0]
    tls.clock.advance(TICKETS)
    assert not resumed(session)[0]


# -- clients that don't go on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [0, 100])
def test_a_handshake_that_is_not_finished_is_swept(sent: int) -> None:
    client = Client(Web(), tls_of())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    if data := client._out.read()[:sent]:
        client.protocol.dataReceived(data)
    client.web.clock.advance(REQUEST_TIMEOUT - 1)
    assert not client.line.aborted
    client.web.clock.advance(1)
    assert client.line.aborted


def test_one_that_is_finished_idles_as_long_as_any() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    client.web.clock.advance(REQUEST_TIMEOUT + 2)
    assert parse(client.ask()).status == 200
    client.web.clock.advance(KEEP_ALIVE - 2)
    assert not client.line.ended
    for _ in range(4):
        client.web.clock.advance(1)
    assert client.line.ended


def test_bytes_in_between_earn_no_time() -> None:
    client = Client(Web(), tls_of())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    for byte in client._out.read()[: REQUEST_TIMEOUT + 2]:
        client.protocol.dataReceived(bytes((byte,)))
        client.web.clock.advance(1)
    assert client.line.aborted


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01\x00\x05garbage", b"\0" * 100])
def test_what_is_no_tls_ends_the_connection(sent: bytes) -> None:
    client = Client(Web(), tls_of())
    client.protocol.dataReceived(sent)
    assert client.line.ended
    assert client.web.events == []


def test_the_end_of_the_daemon_waits_for_no_answer_to_its_own() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    client.ask()
    client.web.clock.advance(RECENT)  # sooner, its next request is awaited
    client.web.site.drain()
    assert client.line.ended
    assert not client.line.aborted


def test_nor_does_the_last_answer_of_a_connection() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    assert b"Connection: close" in client.ask("/simple/six/", "Connection: close")
    assert client.line.ended


def test_a_refused_client_may_go_on_sending_for_a_moment() -> None:
    client = Client(Web(), tls_of())
    client.shake_hands()
    assert parse(client.ask("/simple/six/", "Content-Length: -1")).status == 400
    assert not client.line.ended
    client.web.clock.advance(6)
    assert client.line.aborted


# -- what a certificate must be ----------------------------------------------------------------------------------------


def test_what_can_t_be_used() -> None:
    locked = issue_locked(HOST, b"passphrase")
    cases = {
        "no PEM certificate": ServerCertificate(b"", CERTIFICATE.key),
        "can't be read": ServerCertificate(CERTIFICATE.chain.replace(b"MI", b"!!", 1), CERTIFICATE.key),
        "no private key": ServerCertificate(CERTIFICATE.chain, CERTIFICATE.chain),
        "without a passphrase": ServerCertificate(*locked),
        "another certificate's": ServerCertificate(CERTIFICATE.chain, served().key),
    }
    for reason, certificate in cases.items():
        with pytest.raises(ValueError, match=reason):
            certificate.context()


def test_the_key_may_be_in_the_same_file_before_or_behind(tmp_path: Path) -> None:
    pair = issue(HOST, DNSName(HOST))
    key = pair.pem().removesuffix(pair.public())
    for text in (key + pair.public(), pair.public() + key):
        assert ServerCertificate(text, text).context() is not None


@pytest.mark.parametrize(
    ("end", "warning"), [(-DAY, "has expired at"), (7 * DAY, "expires at"), (30 * DAY, ""), (7400 * DAY, "not valid")]
)
def test_its_time(end: timedelta, warning: str) -> None:
    assert warning in served(end=end).warning(utc_now())
    assert bool(warning) == bool(served(end=end).warning(utc_now()))


def test_nothing_of_it_shows() -> None:
    assert repr(CERTIFICATE) == "ServerCertificate()"
