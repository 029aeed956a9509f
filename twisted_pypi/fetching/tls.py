"""Whose certificates are believed."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import define
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, load_privatekey
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from twisted_pypi.errors import ConfigError
from twisted_pypi.fetching.identity import COMMON, TlsIdentity
from twisted_pypi.urls import Origin

KEPT = 64
"""Hosts whose context is kept: each holds the whole trust store, about a megabyte."""

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False)
class _Unverified:
    """TLS with anybody. The name is sent all the same: virtual hosts need it."""

    host: str
    _options: CertificateOptions

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        connection = SSL.Connection(self._options.getContext())
        if not isIPAddress(self.host) and not isIPv6Address(self.host):
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        return connection


class TlsPolicy:
    """Trusts the system's authorities, or instead those in a bundle, and some hosts without a question.

    `ca_file` is the path of a PEM bundle ("" or None: the system's), unless the `identity` names another. `insecure`
    are `host` or `host:port`. The identity's certificate is shown to whoever asks for one. Files are read now: raises
    `ConfigError` when they can't be, or hold nothing that can be used.
    """

    def __init__(
        self, ca_file: str | None = None, insecure: Iterable[str] = (), identity: TlsIdentity = COMMON
    ) -> None:
        bundle = identity.ca_file or ca_file
        self._trust = trustRootFromCertificates(_bundle(bundle)) if bundle else None  # type: ignore[no-untyped-call]
        self._insecure = frozenset(_host_and_port(name) for name in insecure)
        self._identity = identity
        self._shown = _shown(identity) if identity.certificate else {}
        self._creators: OrderedDict[tuple[str, bool], IOpenSSLClientConnectionCreator] = OrderedDict()

    def creator_for(self, origin: Origin) -> IOpenSSLClientConnectionCreator:
        """What makes the TLS connections to this origin."""
        key = (origin.host, self.verifies(origin))
        if key not in self._creators:
            if len(self._creators) >= KEPT:
                self._creators.popitem(last=False)
            self._creators[key] = self._make(*key)
        self._creators.move_to_end(key)
        return self._creators[key]

    def verifies(self, origin: Origin) -> bool:
        """Whether the origin's certificate is checked."""
        names = {(origin.host, ""), (origin.host, str(origin.port))}
        return not self._identity.insecure and self._insecure.isdisjoint(names)

    def _make(self, host: str, verified: bool) -> IOpenSSLClientConnectionCreator:
        if not verified:
            return _Unverified(host, CertificateOptions(**self._shown))
        return optionsForClientTLS(host, self._trust, extraCertificateOptions=self._shown)


def _host_and_port(name: str) -> tuple[str, str]:
    """Host and port ("" for any) of `host`, `host:port`, `[address]`, `[address]:port` or a bare IPv6 address."""
    if name.startswith("["):
        host, _, port = name[1:].partition("]")
        return host.lower(), port.lstrip(":")
    if name.count(":") != 1:
        return name.lower(), ""
    host, _, port = name.partition(":")
    return host.lower(), port


def _shown(identity: TlsIdentity) -> dict[str, Any]:
    """The certificate, its key and its chain, as `CertificateOptions` takes them. Raises `ConfigError`."""
    try:
        certificate, *chain = (block.original for block in _certificates(identity.certificate))
        key = load_privatekey(FILETYPE_PEM, Path(identity.key or identity.certificate).read_bytes(), b"")
    except OSError as error:
        raise ConfigError("client-certificate", f"{error.filename}: {error.strerror}") from error
    except Exception as error:  # as in `_bundle`
        problem = f"{identity.certificate}: no certificate, or no key without a passphrase"
        raise ConfigError("client-certificate", problem) from error
    return {"privateKey": key, "certificate": certificate, "extraCertChain": chain}


def _certificates(path: str) -> list[Certificate]:
    return [Certificate.loadPEM(block) for block in _PEM.findall(Path(path).read_bytes())]


def _bundle(path: str) -> list[Certificate]:
    try:
        certificates = _certificates(path)
    except OSError as error:
        raise ConfigError("--ca-file", f"{path}: {error.strerror}") from error
    except Exception as error:  # what the parser raises differs between versions of cryptography
        raise ConfigError("--ca-file", f"{path}: holds a certificate that can't be read") from error
    if not certificates:
        raise ConfigError("--ca-file", f"{path}: holds no PEM certificate")
    return certificates
