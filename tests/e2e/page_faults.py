"""What an upstream can do to an index page, and what is told of it: the table that `test_faults_pages` goes through.

A row of `FAULTS` is a story: "when upstream does this, `asked` times, the client and the log are told that". Each is
proved for a page that is not in the cache, fresh in it, or expired in it; docs/faults.md is this table in prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from attrs import define, frozen

from e2e.clients import Reply, ask
from e2e.content import JSON_TYPE
from e2e.daemon import Daemon
from e2e.faults import (
    Fault,
    announced,
    bad_chunks,
    chunked,
    disconnect,
    early_hints,
    encoded,
    hang,
    large_head,
    no_length,
    raw,
    redirect,
    reply,
    reset,
    short_body,
    slow_head,
    surplus,
    truncated,
    with_headers,
)
from e2e.tls import Certificates
from e2e.upstream import Upstream

HTML, JSON = {"Content-Type": "text/html"}, {"Content-Type": JSON_TYPE}
PACKED = {**JSON, "Content-Encoding": "gzip"}
LOGIN = b"<!DOCTYPE html><html><body><form action='/login'><input name='password' type='password'></form></body></html>"
PAGE = b'{"meta": {"api-version": "1.0"}, "name": "%s", "files": []}'
FOREIGN = PAGE % b"another"
FUTURE = PAGE.replace(b"1.0", b"9.0") % b"app"
LISTING = b"<html><body><a href='app-1.0.tar.gz'>app-1.0.tar.gz</a><a href='app-2.0.tar.gz'>app-2</a></body></html>"
UNSIZED = b"HTTP/1.1 200 OK\r\n\r\n"
READ_TIMEOUT = "2"


@define
class Bench:
    """A daemon that waits long for upstream before it serves a stale copy, so that the fault decides, not the clock."""

    upstream: Upstream
    daemon: Daemon
    certificates: Certificates | None = None

    def page(self, project: str) -> Reply:
        """What a client gets."""
        return ask(self.daemon, f"/simple/{project}/", Accept=JSON_TYPE)

    def url(self, project: str) -> str:
        """Where the daemon asks, as it may be told to anybody."""
        return f"{self.upstream.index_url}{project}/"

    def cure(self) -> None:
        """Upstream is well again."""
        self.upstream.heal()
        self.upstream.listen()
        if self.certificates:
            self.certificates.present("good")
            self.upstream.hang_up()

    def complaints(self, project: str) -> list[str]:
        """The lines that the log has about the page, without their time."""
        pattern = rf"\[pypicache#(?:warn|error|critical)\] (.*{re.escape(self.url(project))}.*)"
        return re.findall(pattern, self.daemon.log)

    def counted(self) -> dict[str, float]:
        """What the metrics say of failures so far."""
        text = ask(self.daemon, "/metrics").body.decode()
        found = re.findall(r"^pypicache_(upstream_failures|pages_rejected|store_trouble)_total\S* (\S+)$", text, re.M)
        totals = {"upstream_failures": 0.0, "pages_rejected": 0.0, "store_trouble": 0.0}
        for name, value in found:
            totals[name] += float(value)
        return totals


Act = Callable[[Bench, str], None]
"""Bring a fault about, for the page at this path."""


def met(fault: Callable[[], Fault]) -> Act:
    """Requests for the page meet a fault."""
    return lambda bench, path: bench.upstream.fault(path, fault())


def refuse(bench: Bench, path: str) -> None:
    """Nobody listens."""
    bench.upstream.refuse()


def present(certificate: str) -> Act:
    """From now on upstream shows a bad certificate."""

    def act(bench: Bench, path: str) -> None:
        assert bench.certificates is not None
        bench.certificates.present(certificate)
        bench.upstream.hang_up()

    return act


def to_itself(bench: Bench, path: str) -> None:
    """The page redirects to itself."""
    bench.upstream.fault(path, redirect(path))


def to_plain_http(bench: Bench, path: str) -> None:
    """The page redirects from https to http."""
    bench.upstream.fault(path, redirect(bench.url("app").replace("https:", "http:")))


@frozen
class Row:
    """A fault, and what is told of it.

    `reason` is a pattern of the words that client and log get; upstream is asked `asked` times for one page. `status`
    is upstream's own, if it got so far. `retry_after` is what the client is told, in seconds. `rejected` says that a
    whole answer came which was no page. `tls`: over https.
    """

    act: Act
    reason: str
    asked: int = 1
    status: int | None = None
    retry_after: int = 2
    rejected: bool = False
    tls: bool = False


def at_http(fault: Callable[[], Fault], tls: bool = False) -> Row:
    """What comes is no HTTP."""
    return Row(met(fault), "the answer is not proper HTTP", tls=tls)


def silent(fault: Callable[[], Fault], tls: bool = False) -> Row:
    """No headers in time."""
    return Row(met(fault), f"no answer within {READ_TIMEOUT} s", tls=tls)


def closed(fault: Callable[[], Fault], tls: bool = False) -> Row:
    """The connection ends before the headers do: worth a second try."""
    return Row(met(fault), "connection (reset|closed)", asked=2, tls=tls)


def broken(fault: Callable[[], Fault], reason: str = r"connection broke after \d+ bytes", tls: bool = False) -> Row:
    """The body isn't whole, or isn't what its coding says."""
    return Row(met(fault), reason, status=200, tls=tls)


def no_page(fault: Callable[[], Fault], reason: str) -> Row:
    """A whole body that is not the page."""
    return Row(met(fault), f"sent no usable page: {reason}", status=200, rejected=True)


def body(data: bytes, headers: dict[str, str] = JSON) -> Callable[[], Fault]:
    """These bytes with status 200."""
    return partial(reply, 200, headers, data)


def answered(status: int, told: int = 2, **headers: str) -> Row:
    """A status that is no answer to the question; the client is told to come back after `told` seconds."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Row(met(partial(reply, status, named)), f"answered {status}", status=status, retry_after=told)


def redirected(location: str, reason: str) -> Row:
    """To where nobody should go."""
    return Row(met(partial(redirect, location)), reason)


UNTRUSTED = "TLS: certificate verify failed: it has expired, is self-signed or of an authority that is not trusted"
TOO_LARGE = "the headers of the answer are too large"
STALLED = f"no data within {READ_TIMEOUT} s"

FAULTS: dict[str, Row] = {
    # -- no connection -------------------------------------------------------------------------------------------------
    "refused": Row(refuse, "connection refused", asked=0),
    "tls-expired": Row(present("expired"), UNTRUSTED, asked=0, tls=True),
    "tls-self-signed": Row(present("self-signed"), UNTRUSTED, asked=0, tls=True),
    "tls-unknown-authority": Row(present("stranger"), UNTRUSTED, asked=0, tls=True),
    "tls-wrong-name": Row(
        present("wrong name"), "TLS: certificate verify failed: it is for another name", asked=0, tls=True
    ),
    # -- before the headers --------------------------------------------------------------------------------------------
    "hang": silent(hang),
    "hang-over-tls": silent(hang, tls=True),
    "head-byte-by-byte": silent(partial(slow_head, 0.1)),
    "reset": closed(reset),
    "closed": closed(disconnect),
    "closed-over-tls": closed(disconnect, tls=True),
    "closed-in-the-head": closed(partial(raw, b"HTTP/1.1 200 OK\r\nContent-Type: te")),
    "garbage-status-line": at_http(partial(raw, b"\x00\x01nonsense\r\n\r\n")),
    "garbage-version": at_http(partial(raw, b"HTTP/x 200 OK\r\nContent-Length: 0\r\n\r\n")),
    "garbage-header": at_http(partial(raw, b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")),
    "garbage-length": at_http(partial(announced, "many")),
    "negative-length": at_http(partial(announced, "-5")),
    "negative-length-over-tls": at_http(partial(announced, "-5"), tls=True),
    "two-lengths": at_http(partial(announced, "5, 6")),
    "unknown-framing": at_http(partial(with_headers, {"Transfer-Encoding": "magic"})),
    "head-of-a-megabyte": Row(met(partial(large_head, 1 << 20)), TOO_LARGE),
    "line-of-a-megabyte": Row(met(partial(with_headers, {"X-Filler": "x" * (1 << 20)})), TOO_LARGE),
    # -- between headers and body --------------------------------------------------------------------------------------
    "hang-behind-the-head": broken(partial(hang, 0), STALLED),
    "reset-behind-the-head": broken(partial(reset, 0)),
    "closed-behind-the-head": broken(partial(short_body, 0)),
    # -- in the body ---------------------------------------------------------------------------------------------------
    "hang-in-the-body": broken(partial(hang, 10), STALLED),
    "reset-in-the-body": broken(partial(reset, 10)),
    "closed-in-the-body": broken(partial(short_body, 10)),
    "closed-in-the-body-over-tls": broken(partial(short_body, 10), tls=True),
    "length-too-large": broken(partial(announced, lambda size: size + 1)),
    "length-too-small": broken(partial(announced, lambda size: size // 2), "truncated gzip"),
    "bad-chunk-size": broken(partial(bad_chunks, 10)),
    "json-ended-by-the-connection": no_page(partial(raw, UNSIZED + FOREIGN[:-5]), "not JSON: .*"),
    "html-ended-by-the-connection": no_page(partial(raw, UNSIZED + LISTING[:-20]), "the page may be truncated: .*"),
    # -- a whole answer that is not the page ---------------------------------------------------------------------------
    "truncated-document": broken(truncated, "truncated gzip"),
    "not-gzip": broken(body(FOREIGN, PACKED), "not what the content coding says: .*"),
    "unknown-coding": broken(body(FOREIGN, {**JSON, "Content-Encoding": "zip"}), "unknown content coding 'zip'"),
    "empty-body": no_page(body(b""), "neither JSON nor HTML, .*"),
    "empty-html": no_page(body(b"", HTML), "neither JSON nor HTML, but 'text/html'"),
    "garbage": no_page(body(b"\xff\xfe" * 500), "not an index page: .*"),
    "another-type": no_page(body(b"PK\3\4", {"Content-Type": "application/zip"}), "neither .* but 'application/zip'"),
    "unparsable-json": no_page(body(b'{"files": [}'), "not JSON: .*"),
    "another-document": no_page(body(b'{"error": "busy"}'), 'not a simple page: no "name"'),
    "another-project": no_page(body(FOREIGN), "it is the page of 'another'"),
    "unknown-major-version": no_page(body(FUTURE), "api-version '9.0' is not supported"),
    "login-page": no_page(body(LOGIN, HTML), "not an index page: .*"),
    # -- another status ------------------------------------------------------------------------------------------------
    **{str(status): answered(status) for status in (204, 400, 407, 429, 451, 500, 502, 503, 504, 600)},
    "206": answered(206, Content_Range="bytes 0-9/100"),
    "429-for-5-s": answered(429, told=5, Retry_After="5"),
    "429-for-an-hour": answered(429, told=30, Retry_After="3600"),
    "503-until-a-date": answered(503, told=30, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "503-until-yesterday": answered(503, told=1, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    "503-until-nonsense": answered(503, Retry_After="soon"),
    # -- a redirect ----------------------------------------------------------------------------------------------------
    "redirect-loop": Row(to_itself, "more than 5 redirects", asked=6),
    "redirect-to-nowhere": redirected("", "redirects to no usable URL"),
    "redirect-to-a-file": redirected("file:///etc/passwd", "redirects to no usable URL"),
    "redirect-to-plain-http": Row(to_plain_http, "redirects from https to http", tls=True),
}
"""By the id of the tests. TLS faults and refusals are met before upstream sees a request."""

HARMLESS: dict[str, Callable[[], Fault]] = {
    "in-chunks": chunked,
    "encoded-unasked": encoded,
    "ended-by-the-connection": no_length,
    "early-hints": early_hints,
    "longer-than-announced": partial(surplus, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"),
    "json-called-html": partial(with_headers, HTML),
    "json-called-nothing-known": partial(with_headers, {"Content-Type": "application/octet-stream"}),
    "large-but-bounded-head": partial(large_head, 8 << 10),
}
"""Oddities that are none of a page's business."""
