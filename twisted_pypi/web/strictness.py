"""A channel that is as strict as RFC 9112 where twisted.web's is lax, and that answers what it refuses properly.

twisted.web unfolds folded headers, waits for ever on bare line feeds, splits `Connection` at blanks, and answers what
it can't parse with a bare "400" that nobody hears of. Here `RequestHead` reads each line; twisted.web sees the request
line, `Expect`, and where the head ends. Framing (Content-Length, Transfer-Encoding) stays here altogether.

Laws: a refused connection reads no further request; its client gets the answer even if it is still sending; a client
that only closed its sending side is answered; one that doesn't read its answers gets no more of them.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol, IReactorTime
from twisted.web import http
from zope.interface import implementer

from twisted_pypi.events import RequestRefused, Served
from twisted_pypi.http.request_body import Body, body_of
from twisted_pypi.http.request_head import MAX_LINE, Refused, RequestHead, RequestLine, too_long
from twisted_pypi.interfaces import Observer
from twisted_pypi.web.patience import PatientChannel
from twisted_pypi.web.problems import Problem, problem_body, reason_phrase

LINGER = 5.0
"""Seconds for which a refused client may go on sending (and is not heard) before its connection is cut."""

_NOT_A_LINE = RequestLine("-", "-", "-")


class StrictSite(Protocol):
    """What the channel needs of its site."""

    observer: Observer
    reactor: IReactorTime

    def common_lines(self) -> bytes:
        """The header lines of every answer."""


@implementer(IHalfCloseableProtocol)
class StrictChannel(PatientChannel):
    """One connection of a client, up to the point where a request is complete."""

    # A line that ends in a bare line feed is seen at once, instead of waiting for a CRLF that never comes.
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE - 1

    requests: list[Any]
    site: StrictSite
    _body: Body | None = None
    _blank = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._head = RequestHead()

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return not any(request.received for request in self.requests)

    @property
    def has_body(self) -> bool:
        """Whether the head that was read last announces a body."""
        return self._body is not None

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Take a line up to its line feed."""
        try:
            if line[-1:] != b"\r":
                raise Refused(400, "Lines end in CR and LF")
            if self._head.line is not None and line != b"\r":
                self._head.take(line[:-1])
            else:
                self._begin_or_end(line[:-1])
        except Refused as refused:
            self.refuse(refused)

    def _begin_or_end(self, line: bytes) -> None:
        """Take the request line, or the empty line behind the head, and let twisted.web know."""
        head = self._head
        if head.line is not None:
            head.end()
        elif line or self._blank:
            head.start(line)
        else:
            self._blank = True  # RFC 9112, 2.2: one empty line is ignored
            return
        super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        """Refuse a request line (414) or header line (431) that is too long."""
        self.refuse(too_long(self._head.line))

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:  # noqa: N802
        """Whether the connection goes on after this request (RFC 9112, 9.3). HTTP/1.0's keep-alive isn't spoken."""
        options = self._head.fields.get("connection", "").lower().split(",")
        return version == b"HTTP/1.1" and "close" not in [option.strip(" \t") for option in options]

    def allHeadersReceived(self) -> None:  # noqa: N802
        """The head is complete: read the body that it announces, if any."""
        request, fields = self.requests[-1], self._head.fields
        request.fields = fields
        if "expect" in fields:
            # The one field that twisted.web looks for.
            request.requestHeaders.addRawHeader("expect", fields["expect"].partition(",")[0])
        self._body, self._blank = body_of(self._head), False
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if self._body is None:
            self._head = RequestHead()
        else:
            self.length = None  # any but 0: twisted.web goes into raw mode

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take a piece of a body; or, while a request is being answered, of what comes after it."""
        if self._body is None:
            super().rawDataReceived(data)
            return
        try:
            rest = self._body.take(data)
        except Refused as refused:
            self.refuse(refused)
            return
        if rest is not None:
            self._body = None
            self._head = RequestHead()
            self.allContentReceived()
            if rest:
                self.dataReceived(rest)

    def refuse(self, refused: Refused) -> None:
        """Answer, and hear nothing more of this connection. Only while `idle`: an answer under way comes first."""
        self.persistent = 0
        self._body = None
        line = self._head.line
        accept = self._head.fields.get("accept", "")
        content_type, body = problem_body(Problem(refused.status, refused.reason), accept)
        if line is not None and line.method == "HEAD":
            body = b""
        head = b"HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
            refused.status,
            reason_phrase(refused.reason),
            self.site.common_lines(),
            content_type.encode("ascii"),
            len(body),
        )
        self.write(head + body)  # type: ignore[no-untyped-call]
        self.clearLineBuffer()  # type: ignore[no-untyped-call]
        self.dataReceived = _ignore  # type: ignore[method-assign]
        self._report(line or _NOT_A_LINE, refused, len(body))
        self._linger()

    def _linger(self) -> None:
        transport: Any = self.transport
        self.cut_after(LINGER)
        # Closed with unread bytes, a socket is reset, and the client may lose the answer (RFC 9112, 9.6).
        if IHalfCloseableDescriptor.providedBy(self.transport) and not self.isSecure():
            transport.loseWriteConnection()
        else:
            super().loseConnection()  # type: ignore[no-untyped-call]

    def _report(self, line: RequestLine, refused: Refused, size: int) -> None:
        client = self.peer
        self.site.observer(RequestRefused(client, refused.status, refused.reason))
        self.site.observer(
            Served(
                client=client,
                method=line.method,
                target=line.target.partition("?")[0],
                host="",
                status=refused.status,
                size=size,
                state=None,
                kind="error",
                upstream_seconds=None,
                seconds=0.0,
                agent="",
                protocol=line.protocol,
            )
        )

    def readConnectionLost(self) -> None:  # noqa: N802
        """The client sends no more. What it asked for is answered; after that, reading fails here once more."""
        if self.idle and not self.paused:
            self.loseConnection()  # type: ignore[no-untyped-call]

    def writeConnectionLost(self) -> None:  # noqa: N802
        """Our side is closed: nothing to do."""


def _ignore(data: bytes) -> None:
    """Data that comes after a refusal."""
