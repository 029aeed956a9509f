"""An upstream behind TLS: an authority of its own, and certificates good and bad, made at test time.

certificates = Certificates(directory)
with Upstream(tls=certificates.context) as upstream:
    start("--ca-file", str(certificates.ca_file), ...)
    certificates.present("expired")  # to connections from now on; `upstream.hang_up()` ends the old ones
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = x509.IPAddress(ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")
DAY = timedelta(days=1)


@frozen
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Both, as a server wants them."""
        private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.key.private_bytes(serialization.Encoding.PEM, *private) + self.public()

    def public(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def issue(
    name: str, host: x509.GeneralName | None = None, issuer: Pair | None = None, end: timedelta = 3650 * DAY
) -> Pair:
    """A certificate, valid until now + `end`: an authority's, or for a `host`; self-signed without `issuer`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = issuer.key if issuer else key
    until = datetime.now(UTC) + end
    builder = (
        x509.CertificateBuilder(issuer.certificate.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - 7300 * DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)


@define(eq=False)
class Certificates:
    """What an upstream may show: "good", "expired", "wrong name", "self-signed", "stranger" (nobody knows its issuer).

    `context` goes to `Upstream(tls=…)` and presents "good" until told otherwise; `ca_file` is for `--ca-file`.
    """

    directory: Path
    context: ssl.SSLContext = field(factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), init=False)

    def __attrs_post_init__(self) -> None:
        authority = issue("Test authority")
        self.ca_file.write_bytes(authority.public())
        for name, pair in {
            "good": issue("upstream", HERE, authority),
            "expired": issue("upstream", HERE, authority, -DAY),
            "wrong name": issue("upstream", ELSEWHERE, authority),
            "self-signed": issue("upstream", HERE),
            "stranger": issue("upstream", HERE, issue("Another authority")),
        }.items():
            self._path(name).write_bytes(pair.pem())
        self.present("good")

    @property
    def ca_file(self) -> Path:
        """The authority, for the daemon."""
        return self.directory / "authority.pem"

    def present(self, name: str) -> None:
        """Show this certificate on every connection from now on."""
        self.context.load_cert_chain(self._path(name))

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.pem"
