"""Whose certificates are believed: real handshakes, in memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.identity import TlsIdentity
from twisted_pypi.fetching.tls import KEPT, TlsPolicy
from twisted_pypi.urls import Origin
from unit.certificates import issue

HOST = "files.example"


class Site:
    """A server with a certificate of its own, that tells which name it was asked for."""

    def __init__(self, host: str = HOST) -> None:
        self.certificate, key = issue(host)
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.use_privatekey(load_pem_private_key(key, None))
        self.context.use_certificate(load_pem_x509_certificate(self.certificate))
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        self.asked: list[bytes | None] = []
        self.met: list[str] = []
        self.context.set_tlsext_servername_callback(lambda connection: self.asked.append(connection.get_servername()))

    def pem(self) -> bytes:
        return self.certificate

    def shakes_hands(self, policy: TlsPolicy, origin: Origin) -> bool:
        """Whether the client that `policy` makes for `origin` accepts this server."""
        factory = TLSMemoryBIOFactory(policy.creator_for(origin), True, Factory.forProtocol(Listener), Clock())
        client, wire = factory.buildProtocol(None), StringTransport()
        client.makeConnection(wire)
        server = SSL.Connection(self.context)
        server.set_accept_state()
        for _ in range(5):
            if wire.value() and not wire.disconnecting:
                server.bio_write(wire.value())
                wire.clear()
                with suppress(SSL.Error):
                    server.do_handshake()
                with suppress(SSL.WantReadError):
                    client.dataReceived(server.bio_read(1 << 16))
        shown = server.get_peer_certificate(as_cryptography=True)
        self.met = [shown.subject.rfc4514_string()] if shown is not None else []
        return client.wrappedProtocol.done and not wire.disconnecting


@implementer(IHandshakeListener)
class Listener(Protocol):
    """Notes that the handshake succeeded."""

    done = False

    def handshakeCompleted(self) -> None:  # noqa: N802
        self.done = True


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@pytest.fixture
def bundle(site: Site, tmp_path: Path) -> str:
    path = tmp_path / "bundle.pem"
    path.write_bytes(b"A comment\n" + Site("other.example").pem() + b"\n# and\n" + site.pem())
    return str(path)


ORIGIN = Origin("https", HOST, 443)


def test_system_trust_refuses_a_stranger(site: Site) -> None:
    assert not site.shakes_hands(TlsPolicy(), ORIGIN)


def test_bundle_is_trusted_and_the_name_is_sent(site: Site, bundle: str) -> None:
    site.asked.clear()
    assert site.shakes_hands(TlsPolicy(bundle), ORIGIN)
    assert site.asked == [HOST.encode()]


def test_another_name_is_refused(site: Site, bundle: str) -> None:
    assert not site.shakes_hands(TlsPolicy(bundle), Origin("https", "elsewhere.example", 443))


@pytest.mark.parametrize("insecure", [HOST, HOST.upper(), f"{HOST}:443"])
def test_insecure_hosts_are_not_verified_but_named(site: Site, insecure: str) -> None:
    site.asked.clear()
    assert site.shakes_hands(TlsPolicy(None, [insecure]), ORIGIN)
    assert site.asked == [HOST.encode()]


@pytest.mark.parametrize(
    ("insecure", "origin", "verified"),
    [
        (f"{HOST}:8443", ORIGIN, True),
        ("other.example", ORIGIN, True),
        ("[::1]:8443", Origin("https", "::1", 8443), False),
        ("[::1]:8443", Origin("https", "::1", 443), True),
        ("::1", Origin("https", "::1", 443), False),
        ("[::1]", Origin("https", "::1", 443), False),
    ],
)
def test_insecure_names(insecure: str, origin: Origin, verified: bool) -> None:
    assert TlsPolicy(None, [insecure]).verifies(origin) is verified


def test_addresses_are_not_sent_as_names(site: Site) -> None:
    site.asked.clear()
    assert site.shakes_hands(TlsPolicy(None, ["127.0.0.1"]), Origin("https", "127.0.0.1", 443))
    assert site.asked == [None]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "no PEM certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be read"),
    ],
)
def test_bad_bundles(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        TlsPolicy(str(path))
    assert caught.value.option == "--ca-file"


def test_contexts_are_kept_but_not_for_ever(bundle: str) -> None:
    policy = TlsPolicy(bundle)
    first = policy.creator_for(ORIGIN)
    assert policy.creator_for(ORIGIN) is first
    for number in range(KEPT):
        policy.creator_for(Origin("https", f"h{number}.example", 443))
    assert policy.creator_for(ORIGIN) is not first


@pytest.fixture
def client(tmp_path: Path) -> tuple[str, str, str]:
    """Paths of our certificate, its key, and both in one file."""
    certificate, key = issue("client.example")
    for name, content in (("certificate", certificate), ("key", key), ("both", key + certificate)):
        (tmp_path / name).write_bytes(content)
    return str(tmp_path / "certificate"), str(tmp_path / "key"), str(tmp_path / "both")


@pytest.mark.parametrize("insecure", [False, True])
def test_our_certificate_is_shown_to_whoever_asks(
    insecure: bool, site: Site, bundle: str, client: tuple[str, str, str]
) -> None:
    certificate, key, both = client
    authorities = "" if insecure else bundle
    for pair in ((certificate, key), (both, "")):
        identity = TlsIdentity(authorities, *pair, insecure)
        assert site.shakes_hands(TlsPolicy(identity=identity), ORIGIN)
        assert site.met == ["CN=client.example"]
    assert site.shakes_hands(TlsPolicy(bundle), ORIGIN)
    assert site.met == []


def test_the_authorities_of_an_index_take_the_place_of_the_common_ones(site: Site, bundle: str, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(issue("other.example")[0])
    assert site.shakes_hands(TlsPolicy(str(other), identity=TlsIdentity(bundle)), ORIGIN)
    assert not site.shakes_hands(TlsPolicy(bundle, identity=TlsIdentity(str(other))), ORIGIN)


def test_an_insecure_index_believes_anybody(site: Site) -> None:
    assert site.shakes_hands(TlsPolicy(identity=TlsIdentity(insecure=True)), Origin("https", "any.example", 1))


@pytest.mark.parametrize(("certificate", "key"), [(0, ""), (1, ""), (0, 0), ("/none", ""), (0, "/none")])
def test_bad_certificates(certificate: int | str, key: int | str, client: tuple[str, str, str]) -> None:
    paths = [client[path] if isinstance(path, int) else path for path in (certificate, key)]
    with pytest.raises(ConfigError) as caught:
        TlsPolicy(identity=TlsIdentity(certificate=paths[0], key=paths[1]))
    assert caught.value.option == "client-certificate"
