"""The head of a request, line by line: its grammar (RFC 9112), its limits, and how its body is framed. Pure.

Laws: what one recipient could read in another way than the next one is refused, never repaired; a refused head stays
refused; the work for each line is linear in its length, the memory for the whole head constant.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

MAX_LINE = 8 << 10
"""Bytes of the request line, and of any other line, with its end (RFC 9112, 3, asks for 8000 at least)."""

MAX_HEAD = 32 << 10
"""Bytes of all lines together."""

MAX_FIELDS = 100
"""Header lines of one request."""

MAX_BODY = 1 << 20
"""Bytes of a body (with its chunked framing) that are read, and dropped: nothing here takes one."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"%s [!-~]+ HTTP/[0-9]\.[0-9]" % _TOKEN)
_FIELD = re.compile(rb"%s:[\t -~\x80-\xff]*" % _TOKEN)
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_LENGTH = re.compile(rb"[0-9]+")


@define(slots=False)
class Refused(Exception):
    """The request can't be answered, nor what follows it on the connection: `status`, and `reason` as a sentence."""

    status: int
    reason: str

    def __str__(self) -> str:
        return self.reason


@frozen
class RequestLine:
    """Method, target and protocol ("HTTP/1.1"), as they came."""

    method: str
    target: str
    protocol: str


def request_line(line: bytes) -> RequestLine:
    """A request line without its end. Raises `Refused`."""
    if _REQUEST_LINE.fullmatch(line) is None:
        raise Refused(400, "The request line is not one of HTTP")
    method, target, protocol = line.decode("ascii").split(" ")
    if protocol not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    return RequestLine(method, target, protocol)


def too_long(line: RequestLine | None) -> Refused:
    """What to answer to a line over `MAX_LINE`, `line` being the request line if that was not it."""
    if line is None:
        return Refused(414, f"The request line is longer than {MAX_LINE} bytes")
    return Refused(431, f"A header line is longer than {MAX_LINE} bytes")


@define
class RequestHead:
    """One head in the making: `start`, then `take` for each header line, then `end`. Each raises `Refused`.

    `line` is the request line once it is known, `length` the body's Content-Length, `chunked` how else it ends.
    `fields` are the header lines by lower-case name, repeated ones joined as a list (RFC 9110, 5.3).
    """

    line: RequestLine | None = None
    length: int | None = None
    chunked: bool = False
    fields: dict[str, str] = field(factory=dict)
    _count: int = 0
    _size: int = 0

    def start(self, line: bytes) -> None:
        """Take the request line."""
        self._size = len(line)
        self.line = request_line(line)

    def take(self, line: bytes) -> None:
        """Take a header line."""
        self._count += 1
        self._size += len(line)
        if self._count > MAX_FIELDS:
            raise Refused(431, f"The request has more than {MAX_FIELDS} header lines")
        if self._size > MAX_HEAD:
            raise Refused(431, f"The request's header is longer than {MAX_HEAD} bytes")
        # Folded lines, whitespace before the colon and a bare CR end here too.
        if _FIELD.fullmatch(line) is None:
            raise Refused(400, "A header line is not one of HTTP")
        name, _, value = line.decode("latin-1").partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in _FRAMING:
            self._framing(name, value.encode("latin-1"))
        before = self.fields.get(name)
        self.fields[name] = value if before is None else f"{before}, {value}"

    def end(self) -> None:
        """The empty line: whether the header lines agree on where the body ends (RFC 9112, 6)."""
        assert self.line is not None
        if not self.chunked:
            return
        if self.length is not None:
            raise Refused(400, "A request has either Content-Length or Transfer-Encoding")
        if self.line.protocol != "HTTP/1.1":
            raise Refused(400, "Transfer-Encoding is not part of HTTP/1.0")

    def _framing(self, name: str, value: bytes) -> None:
        if name == "content-length":
            self._content_length(value)
        else:
            self._transfer_encoding(value)

    def _content_length(self, value: bytes) -> None:
        if self.length is not None:
            raise Refused(400, "A request has only one Content-Length")
        if _LENGTH.fullmatch(value) is None:
            raise Refused(400, "Content-Length is a number of bytes")
        significant = value.lstrip(b"0")
        # int() gives up on thousands of digits.
        if len(significant) > len(str(MAX_BODY)) or int(significant or b"0") > MAX_BODY:
            raise body_too_large()
        self.length = int(significant or b"0")

    def _transfer_encoding(self, value: bytes) -> None:
        coding = value.lower()
        if self.chunked or (coding != b"chunked" and b"chunked" in coding.replace(b" ", b"").split(b",")):
            raise Refused(400, "Transfer-Encoding is chunked, once")
        if coding != b"chunked":
            raise Refused(501, "No Transfer-Encoding but chunked is understood here")
        self.chunked = True


def body_too_large() -> Refused:
    """What to answer to a body over `MAX_BODY`."""
    return Refused(413, f"Nothing here takes a body, and none over {MAX_BODY} bytes is read")
