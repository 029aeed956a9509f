"""Raw requests as hostile, broken and odd clients send them, and what they must get. Data only.

Each asks for a project's page that is in the cache, or for nothing that exists: none may reach upstream. `SMUGGLED` is
in the place where another recipient would begin the next request; nobody may ever answer it.
"""

from __future__ import annotations

from attrs import frozen

PAGE = "/simple/six/"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
FOLLOWING = b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@frozen
class Case:
    """`raw` is answered with one of `statuses`, perhaps after `CONTINUE`.

    Then the connection ends (`closes`) or answers `FOLLOWING` (not), or either will do (None).
    """

    name: str
    raw: bytes
    statuses: frozenset[int]
    closes: bool | None = True


def _refused(name: str, raw: bytes, *statuses: int) -> Case:
    return Case(name, raw, frozenset(statuses or (400,)))


def _kept(name: str, raw: bytes, *statuses: int) -> Case:
    return Case(name, raw, frozenset(statuses or (200,)), closes=False)


def _get(*lines: bytes, target: bytes = PAGE.encode(), body: bytes = b"", host: bytes = b"Host: h") -> bytes:
    return b"\r\n".join((b"GET %s HTTP/1.1" % target, *((host,) if host else ()), *lines, b"", body))


def _chunked(body: bytes) -> bytes:
    return _get(b"Transfer-Encoding: chunked", body=body)


def _framing() -> tuple[Case, ...]:
    length, chunked = b"Content-Length: ", b"Transfer-Encoding: chunked"
    lengths = (
        b"+5",
        b"-0",
        b"-5",
        b"0x0",
        b"0x5",
        b"0_0",
        b"1_0",
        b"5 5",
        b"5, 5",
        b"5,5",
        b"5;a",
        b"",
        b"5.0",
        b"5e0",
    )
    return (
        _refused("CL and TE", _get(length + b"5", chunked, body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("TE and CL", _get(chunked, length + b"5", body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("TE and CL of 0", _get(chunked, length + b"0", body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("two different CLs", _get(length + b"0", length + b"5", body=SMUGGLED)),
        _refused("two equal CLs", _get(length + b"5", length + b"5", body=b"12345" + SMUGGLED)),
        *(_refused(f"CL {value!r}", _get(length + value, body=SMUGGLED)) for value in lengths),
        _refused("CL in other digits", _get(length + "٥".encode(), body=SMUGGLED)),
        _refused("CL with NUL", _get(length + b"5\0", body=b"12345")),
        _refused("CL folded", _get(b"Content-Length:", b" 5", body=b"12345")),
        _refused("CL with a blank before the colon", _get(b"Content-Length : 5", body=b"12345")),
        _refused("CL, huge", _get(length + b"9" * 30), 413),
        _refused("CL of 5000 digits", _get(length + b"9" * 5000), 413),
        _refused("CL over the limit", _get(length + b"1048577"), 413),
        _refused("TE identity", _get(b"Transfer-Encoding: identity", body=SMUGGLED), 400, 501),
        _refused("TE xchunked", _get(b"Transfer-Encoding: xchunked", body=SMUGGLED), 400, 501),
        _refused("TE gzip", _get(b"Transfer-Encoding: gzip", body=SMUGGLED), 400, 501),
        _refused("TE empty", _get(b"Transfer-Encoding:", body=SMUGGLED), 400, 501),
        _refused("TE with parameter", _get(b"Transfer-Encoding: chunked;q=1", body=SMUGGLED), 400, 501),
        _refused("TE quoted", _get(b'Transfer-Encoding: "chunked"', body=SMUGGLED), 400, 501),
        _refused("TE chunked, identity", _get(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("TE gzip, chunked", _get(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + SMUGGLED), 400, 501),
        _refused("TE chunked twice", _get(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("two TEs", _get(chunked, chunked, body=b"0\r\n\r\n" + SMUGGLED)),
        _refused("TE with vertical tab", _get(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n" + SMUGGLED)),
        _refused(
            "TE with a blank before the colon", _get(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED)
        ),
        _refused("TE in HTTP/1.0", b"GET / HTTP/1.0\r\n%s\r\n\r\n0\r\n\r\n" % chunked + SMUGGLED),
        _kept("TE with tab", _get(b"Transfer-Encoding:\tchunked\t", body=b"0\r\n\r\n")),
        _kept("TE in capitals", _get(b"TRANSFER-ENCODING: CHUNKED", body=b"0\r\n\r\n")),
        _kept("GET with a body", _get(length + b"%d" % len(SMUGGLED), body=SMUGGLED)),
        _kept("CL with zeros", _get(length + b"0005", body=b"12345")),
        _kept("CL of 0", _get(length + b"0")),
        _kept("a body that is expected", _get(length + b"5", b"Expect: 100-continue", body=b"12345")),
    )


def _chunks() -> tuple[Case, ...]:
    sizes = (b"0x0", b"-0", b"+0", b"0_0", b" 0", b"g", b"", b"0 0", b"\t0", b"0\t", b"0\0", b"0\x0b", b"1_0", b"0x5")
    return (
        *(_refused(f"chunk size {size!r}", _chunked(size + b"\r\n\r\n" + SMUGGLED)) for size in sizes),
        _refused("chunk size, huge", _chunked(b"f" * 17 + b"\r\n")),
        _refused("chunk size, endless", _chunked(b"0" * 5000)),
        _refused("chunk extension, endless", _chunked(b"0;" + b"a" * 5000)),
        _refused("chunk extension with CR", _chunked(b"0;a\rb\r\n\r\n")),
        _refused("chunk longer than it says", _chunked(b"1\r\nab\r\n0\r\n\r\n" + SMUGGLED)),
        _refused("chunk shorter than it says", _chunked(b"5\r\nab\r\n0\r\n\r\n" + SMUGGLED)),
        _refused("chunk ends in LF", _chunked(b"1\r\na\n0\r\n\r\n" + SMUGGLED)),
        _refused("chunk size ends in LF", _chunked(b"0\n\r\n" + SMUGGLED)),
        _refused("chunk size ends in CR", _chunked(b"0\r\r\n\r\n" + SMUGGLED)),
        _refused("chunks over the limit", _chunked(b"110000\r\n" + b"x" * 0x110000), 413),
        _refused("chunks whose framing is over the limit", _chunked(b"1;%s\r\nx\r\n" % (b"a" * 900) * 1200), 413),
        _refused("trailer that is none", _chunked(b"0\r\nno trailer\r\n\r\n")),
        _kept("chunks", _chunked(b"3\r\nabc\r\n0\r\n\r\n")),
        _kept("chunks that look like a request", _chunked(b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))),
        _kept("chunks with zeros", _chunked(b"0003\r\nabc\r\n000\r\n\r\n")),
        _kept("chunks with extensions", _chunked(b'3;a=b;c="d"\r\nabc\r\n0 ;e\r\n\r\n')),
        _kept("chunks with trailers", _chunked(b"0\r\nContent-Length: 5\r\nX: y\r\n\r\n")),
    )


def _lines() -> tuple[Case, ...]:
    fields = {
        "folded": b"X: a\r\n b",
        "folded with tab": b"X: a\r\n\tb",
        "NUL in a value": b"X: a\0b",
        "CR in a value": b"X: a\rb",
        "LF in a value": b"X: a\nGET /smuggled HTTP/1.1",
        "escape in a value": b"User-Agent: \x1b[2J",
        "DEL in a value": b"X: \x7f",
        "blank before the colon": b"X : a",
        "tab before the colon": b"X\t: a",
        "empty name": b": a",
        "no colon": b"X",
        "blank in a name": b"X Y: a",
        "NUL in a name": b"X\0: a",
        "CR before a name": b"\rX: a",
        "name in UTF-8": "Ü: a".encode(),
        "name in parentheses": b"(X): a",
    }
    return (
        *(_refused(name, _get(field)) for name, field in fields.items()),
        _refused("first header folded", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
        _refused("bare line feeds", b"GET /smuggled HTTP/1.1\nHost: h\n\n"),
        _refused("bare line feed after the head", b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
        _refused("bare carriage returns", b"GET / HTTP/1.1\rHost: h\r\r\n"),
        _refused("two carriage returns", b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
        _refused("many empty lines first", b"\r\n\r\n\r\n" + _get()),
        _kept("an empty line first", b"\r\n" + _get()),
        _kept("a value in UTF-8", _get("X: Ü".encode())),
        _kept("an empty value", _get(b"X:")),
        _kept("an upgrade", _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA")),
        _kept("an upgrade to websocket", _get(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x")),
        Case("close in a list", _get(b"Connection: close,TE"), frozenset((200,))),
        Case("close in the second line", _get(b"Connection: TE", b"Connection: Close"), frozenset((200,))),
    )


def _limits() -> tuple[Case, ...]:
    return (
        _refused("a long request line", _get(target=b"/" + b"a" * 8200), 414),
        _refused("a request line without end", b"GET /" + b"a" * 20000, 414),
        _refused("a method without end", b"G" * 20000, 414),
        _refused("a long header line", _get(b"Cookie: " + b"a" * 8200), 431),
        _refused("a header line without end", _get()[:-2] + b"Cookie: " + b"a" * 20000, 431),
        _refused("much header", _get(*(b"X: " + b"a" * 8000,) * 5), 431),
        _refused("many headers", _get(*(b"X: a",) * 101), 431),
        _kept("a longish header", _get(*(b"X: " + b"a" * 7900,) * 4)),
        _kept("a longish target", _get(target=b"/simple/six/?" + b"a" * 8000)),
    )


def _request_lines() -> tuple[Case, ...]:
    lines = (
        b"GET /smuggled", b"GET", b"GET  / HTTP/1.1", b"GET /\tHTTP/1.1", b"GET\t/ HTTP/1.1", b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ", b"GET / a HTTP/1.1", b"GET / http/1.1", b"GET / HTTP/1", b"GET / HTTP/1.10",
        b"GET / HTTP/11.1", b"GET / HTTP/ 1.1", b"GET / FTP/1.1", b"G(T / HTTP/1.1", b"G\0T / HTTP/1.1",
        b"GET /\0 HTTP/1.1", b"GET /\x1b[2J HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET /\xc3\xbc HTTP/1.1",
        b"GET /\xb1 HTTP/1.1", b"GET /\r HTTP/1.1", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r",
        b"SSH-2.0-OpenSSH_9.2", b"-", b'GET /" "x" HTTP/1.1',
    )  # fmt: skip
    return (
        *(_refused(f"request line {line!r}", line + b"\r\nHost: h\r\n\r\n") for line in lines),
        _refused("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        _refused("HTTP/0.9 by name", b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505),
        _refused("HTTP/2.0 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    )


def _methods() -> tuple[Case, ...]:
    methods = (b"get", b"POST", b"TRACE", b"PROPFIND", b"M" * 2000, b"!", b"OPTIONS")
    return tuple(
        _kept(f"method {method[:9]!r}", b"%s %s HTTP/1.1\r\nHost: h\r\n\r\n" % (method, PAGE.encode()), 405)
        for method in methods
    )


def _hosts() -> tuple[Case, ...]:
    hosts = (b"", b"a b", b"a,b", b"a/b", b"user@a", b"a:b", b"a:123456", b"<a>", b"a\\b", b"[::1", b'"a"', b"a" * 300)
    return (
        _refused("no Host", _get(host=b"")),
        _refused("two Hosts", _get(b"Host: other")),
        _refused("two equal Hosts", _get(b"Host: h")),
        _refused("Host folded away", _get(host=b"Host: h\r\n other")),
        *(_refused(f"Host {host[:9]!r}", _get(host=b"Host: " + host)) for host in hosts),
    )


def _targets() -> tuple[Case, ...]:
    malformed = (
        b"http://h/simple/six/", b"http://other.example/simple/six/", b"HTTP://h/", b"h:80", b"simple/six/",
        b"*", b"?", b"/simple/six/#fragment", b"/simple/six%00/", b"/simple/six%0d%0aX:%20y/", b"/simple/%1b[2J/",
        b"/packages/%7f",
    )  # fmt: skip
    climbing = (
        b"/../../etc/passwd", b"/packages/../../../etc/passwd", b"/packages/%2e%2e/%2e%2e/etc/passwd",
        b"/packages/%2E%2E/x", b"/packages/.%2e/x", b"/packages/%252e%252e/x", b"/packages/..%2f..%2fx",
        b"/packages/..%5c..%5cx", b"/packages/..\\..\\x", b"/packages/%c0%ae%c0%ae/x", b"/packages/%e0%80%ae/x",
        b"/packages/..;/x", b"/packages/;/../x", b"/packages/./x", b"/packages/x/..", b"/packages//etc/passwd",
        b"/packages/%2fetc%2fpasswd", b"/simple/../packages/", b"/simple/..%2fsix/", b"/simple/%2e%2e/",
        b"/simple/six/../../x", b"/simple/.../", b"/simple/~/", b"/files/127.0.0.1/../x", b"/files/127.0.0.1/x",
        b"/files/169.254.169.254/latest/meta-data/", b"/files/http:localhost:22/x", b"/files/user@h/x", b"/files/",
        b"/files/h%2f/x", b"/files/[::1]/x", b"/files/file:/etc/passwd", b"/integrity/../x", b"/pypi/../json",
        b"/pypi/%2e%2e/json", b"/index/%2E%2e/", b"/%2e%2e/", b"/..", b"/;/", b"/simple%2fsix%2f",
    )  # fmt: skip
    odd = (
        b"/simple/six%2f/", b"/simple/six%ff/", b"/simple/%zz/", b"/simple/six;a=b/", b"/simple/" + b"-" * 5000 + b"/",
        b"/simple/" + b"a-" * 2500 + b"!/", b"/simple/" + b"%C3%BC" * 900 + b"/", b"/simple/six/x/", b"/simple/six./",
        b"/simple/-six/", b"/simple/six%20/", b"/simple/s%C4%B1x/", b"/packages/", b"/packages/x%00", b"/nowhere",
    )  # fmt: skip
    return (
        *(_refused(f"target {target!r}", _get(target=target)) for target in malformed),
        _refused("CONNECT", b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n"),
        _refused("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
        *(_any(target) for target in (*climbing, *odd)),
    )


def _any(target: bytes) -> Case:
    """Nothing is there; whether for its grammar or for its name doesn't matter, nor whether the connection is kept."""
    return Case(f"target {target[:40]!r}", _get(target=target), frozenset((301, 400, 403, 404)), closes=None)


CORPUS = (
    *_framing(), *_chunks(), *_lines(), *_limits(), *_request_lines(), *_methods(), *_hosts(), *_targets(),
    _kept("plain", _get()),
)  # fmt: skip
