"""TLS towards clients: TLS 1.2 and 1.3 with forward secrecy alone, and a certificate that can be replaced.

What is set here beyond Twisted's own choice follows RFC 9325 (recommendations for TLS): no static RSA, no CBC, and keys
of session tickets that don't live for ever.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from attrs import define, field, frozen
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, X509, PKey, load_certificate, load_privatekey
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

TICKETS = 86_400.0
"""Seconds for which session tickets are made with one key: whoever learns it can read what was said meanwhile."""

SOON = timedelta(days=14)
"""A certificate that has less than this left is warned about."""

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"  # for TLS 1.2; those of 1.3 are all of that kind
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@frozen
class ServerCertificate:
    """A certificate with the chain that leads to its authority, and its key, both PEM. Nothing shows in the repr."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def certificates(self) -> list[X509]:
        """The certificate, and those behind it. Raises `ValueError` if there is none, or one that can't be read."""
        try:
            found = [load_certificate(FILETYPE_PEM, block) for block in _PEM.findall(self.chain)]
        except Exception as error:  # what the parser raises differs between versions of cryptography
            raise ValueError("holds a certificate that can't be read") from error
        if not found:
            raise ValueError("holds no PEM certificate")
        return found

    def private_key(self) -> PKey:
        """The key. Raises `ValueError` if there is none, or if it is locked."""
        try:
            # With a passphrase at hand, though it be none, OpenSSL doesn't ask on the terminal.
            return load_privatekey(FILETYPE_PEM, self.key, b"")
        except Exception as error:  # as above
            raise ValueError("holds no private key without a passphrase") from error

    def context(self) -> SSL.Context:
        """A new context with session tickets of its own. Raises `ValueError` if the two don't belong together."""
        certificate, *chain = self.certificates()
        options = CertificateOptions(
            privateKey=self.private_key(),
            certificate=certificate,
            extraCertChain=chain,
            raiseMinimumTo=TLSVersion.TLSv1_2,
            acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(_CIPHERS),  # type: ignore[no-untyped-call]
            acceptableProtocols=[b"http/1.1"],
            enableSessionTickets=True,
            enableSessions=False,  # clients keep theirs, in tickets
        )
        try:
            return options.getContext()
        except SSL.Error as error:
            raise ValueError("the key is another certificate's, or OpenSSL takes it for too weak") from error

    def warning(self, now: datetime) -> str:
        """What is wrong with its time, "" for nothing."""
        certificate = self.certificates()[0].to_cryptography()
        first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now < first:
            return f"is not valid before {first:%Y-%m-%d %H:%M} UTC"
        if now > last:
            return f"has expired at {last:%Y-%m-%d %H:%M} UTC"
        return f"expires at {last:%Y-%m-%d %H:%M} UTC" if last - now < SOON else ""


@implementer(IOpenSSLServerConnectionCreator)
@define(eq=False)
class ServerTls:
    """Makes the TLS side of new connections. Those that are there go on as they began, whatever `use` brings."""

    certificate: ServerCertificate
    clock: IReactorTime
    _context: SSL.Context | None = field(default=None, init=False)
    _made: float = field(default=0.0, init=False)

    def use(self, certificate: ServerCertificate) -> None:
        """New connections see this one. Raises `ValueError`, and then nothing is changed."""
        if certificate != self.certificate:
            self._context, self._made = certificate.context(), self.clock.seconds()
            self.certificate = certificate

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        now = self.clock.seconds()
        if self._context is None or now - self._made >= TICKETS:
            self._context, self._made = self.certificate.context(), now
        return SSL.Connection(self._context, None)


def utc_now() -> datetime:
    """By the system's clock."""
    return datetime.now(UTC)
