"""Why a request got no answer, in words, and what follows from it."""

from __future__ import annotations

import os

from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as net
from twisted.internet.defer import CancelledError
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed

from twisted_pypi.fetching.tunnel import ProxyRefused

_WRAPPERS = (ResponseFailed, RequestTransmissionFailed, RequestGenerationFailed)


class HeadTooLarge(Exception):
    """An answer's headers, or one line of them, are larger than anybody needs."""


@frozen
class Trouble:
    """`again`: it may go better on a fresh connection. `unreachable`: the origin's fault, not this answer's."""

    reason: str
    again: bool = False
    unreachable: bool = True


_KNOWN: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Trouble], ...] = (
    (net.ConnectionRefusedError, Trouble("connection refused", again=True)),
    ((net.TimeoutError, net.TCPTimedOutError), Trouble("connecting timed out")),
    (net.ConnectionLost, Trouble("connection reset", again=True)),
    (net.ConnectionClosed, Trouble("connection closed", again=True)),
    (net.DNSLookupError, Trouble("DNS: name not found")),
    (HeadTooLarge, Trouble("the headers of the answer are too large", unreachable=False)),
    (VerificationError, Trouble("TLS: certificate verify failed: it is for another name")),
)

_UNVERIFIED = "certificate verify failed"
_TLS_MEANING = {_UNVERIFIED: f"{_UNVERIFIED}: it has expired, is self-signed or of an authority that is not trusted"}
"""Which of these it is OpenSSL tells only to the verify callback, which is Twisted's: there the name is checked."""


def root_of(error: BaseException) -> BaseException:
    """The exception inside Twisted's wrappers for failed requests."""
    while isinstance(error, _WRAPPERS) and error.reasons:
        error = error.reasons[0].value
    return error


def cancelled(error: BaseException) -> bool:
    """Whether somebody cancelled the request."""
    return isinstance(root_of(error), (CancelledError, net.ConnectingCancelledError))


def explain(error: BaseException) -> Trouble:
    """What an exception of `IAgent.request` means."""
    cause = root_of(error)
    for kinds, trouble in _KNOWN:
        if isinstance(cause, kinds):
            return trouble
    if isinstance(cause, ProxyRefused):
        return Trouble(str(cause))
    if isinstance(cause, SSL.Error):
        return Trouble(f"TLS: {_tls_reason(cause)}")
    if isinstance(cause, net.ConnectError):
        number = cause.osError
        return Trouble(f"connecting failed: {os.strerror(number) if isinstance(number, int) else number}")
    return Trouble("the answer is not proper HTTP", unreachable=False)


def _tls_reason(error: SSL.Error) -> str:
    """The innermost of OpenSSL's (library, function, reason) triples."""
    records = error.args[0] if error.args else ()
    reason = str(records[-1][-1]) if isinstance(records, (list, tuple)) and records else "handshake failed"
    return _TLS_MEANING.get(reason, reason)
