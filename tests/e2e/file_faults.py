"""Faults of the files' origin, and what follows from each: the rows that `ordeal.undergo` goes through."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from e2e.faults import (
    Fault,
    bad_chunks,
    corrupt,
    disconnect,
    hang,
    large_head,
    redirect,
    reply,
    reset,
    short_body,
    slow_head,
    surplus,
    truncated,
    with_headers,
)
from e2e.malformed import changed, cut_chunks, gzipped, headed, long_line, no_length_cut, slow_end, wire
from e2e.ordeal import SIZE, Row
from e2e.packages import blob

MID = 100_000
FAILURES = 'pypicache_upstream_failures_total{kind="file"}'
FAILED: dict[str, float] = {FAILURES: 1}
BREAKS, WRONG = "pypicache_transfer_breaks_total", "pypicache_integrity_failures_total"


def refused(name: str, fault: Fault | None, reason: str, fetches: int = 1, retry_after: str = "2") -> Row:
    """No usable answer: a 503 that says why, for all who wait; logged and counted once."""
    faults = () if fault is None else (fault,)
    lines = {f"upstream failed, {reason}": 1}
    return Row(name, faults, 503, reason, retry_after, fetches, lines, FAILED)


def wrong(name: str, fault: Fault, **more: Any) -> Row:
    """Not the file that was announced: a broken transfer, an error in the log, nothing kept."""
    row = Row(name, (fault,), 0, lines={"not what was announced, sha256": 1}, counts={WRONG: 1})
    return evolve(row, **more)


def told(name: str, fault: Fault, what: str, **more: Any) -> Row:
    """Likewise, but known before a client got anything: a 503."""
    row = wrong(name, fault, status=503, reason="not what was announced", retry_after="2", **more)
    return evolve(row, lines={f"not what was announced, {what}": 1})


def overcome(name: str, *faults: Fault, line: str, breaks: int = 1) -> Row:
    """A break that no client notices."""
    return Row(name, (*faults, HEALTHY), fetches=breaks + 1, lines={line: 1}, counts={BREAKS: breaks})


def given_up(name: str, *faults: Fault, line: str, breaks: int = 1, resumes: bool = True, **more: Any) -> Row:
    """A transfer that doesn't come to its end: it breaks for all clients, before the last piece."""
    counts = {BREAKS: breaks, FAILURES: breaks}
    row = Row(name, faults, 0, fetches=breaks + 1, lines={line: breaks}, counts=counts, resumes=resumes)
    return evolve(row, **more)


HEALTHY = changed(lambda response: response)
TOO_LARGE = "the headers of the answer are too large"
LOGIN = reply(200, {"Content-Type": "text/html"}, b"<html><form>log in</form></html>")
IMPROPER = "the answer is not proper HTTP"

BEFORE_HEADERS = [
    refused("refused", None, "connection refused", fetches=0),
    refused("hang", hang(), "no answer within 5 s"),
    refused("one byte a second", slow_head(0.5), "no answer within 5 s"),
    refused("reset", reset(), "connection reset", fetches=2),
    refused("closed", disconnect(), "connection closed", fetches=2),
    Row("a kept connection that is closed", (disconnect(), HEALTHY), fetches=2),
    Row("a kept connection that is reset", (reset(), HEALTHY), fetches=2),
    refused("closed in headers", wire(lambda response: response.head()[:40]), "connection closed", fetches=2),
    refused("garbage status line", wire(lambda response: b"!!!\r\n\r\n"), IMPROPER),
    refused("no HTTP at all", wire(lambda response: b"\x15\x03\x01\x00\x02\x02\x50\r\n"), IMPROPER),
    refused("garbage Content-Length", headed("Content-Length: many"), IMPROPER),
    refused("negative Content-Length", headed(f"Content-Length: -{SIZE}"), IMPROPER),
    refused("two Content-Lengths", headed(f"Content-Length: {SIZE}", "Content-Length: 7"), IMPROPER),
    refused("unknown transfer coding", headed("Transfer-Encoding: rot13"), IMPROPER),
    refused("one MB of headers", large_head(1 << 20), TOO_LARGE),
    refused("one MB in one header", long_line(1 << 20), TOO_LARGE),
    refused("bogus 304", reply(304), "answered 304"),
    refused("bogus 206", reply(206, {"Content-Range": "bytes 0-9/10"}, bytes(10)), "answered 206"),
    refused("bogus 416", reply(416), "answered 416"),
    refused("no content", reply(204), "answered 204"),
    *(refused(f"status {status}", reply(status), f"answered {status}") for status in (400, 401, 403, 407, 451)),
    *(refused(f"status {status}", reply(status), f"answered {status}") for status in (500, 502, 503, 504, 599, 999)),
    refused("429 with Retry-After", reply(429, {"Retry-After": "7"}), "answered 429", retry_after="7"),
    refused("503 with Retry-After", reply(503, {"Retry-After": "3600"}), "answered 503", retry_after="30"),
    refused("503 with a date", reply(503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), "answered 503", 1, "1"),
    refused("redirect without a place", reply(302), "redirects to no usable URL"),
    refused("redirect to a script", redirect("javascript:alert(1)"), "redirects to no usable URL"),
    refused("redirect to itself", redirect("?again"), "more than 5 redirects", fetches=6),
]


GONE = (401, 403, 404, 410, 451)
BEFORE_HEADERS += [
    Row(f"status {status}", (reply(status),), 404, f"answered {status}", lines={f"answered {status}": 1}, counts=FAILED)
    for status in (404, 410)
]


BETWEEN_HEADERS_AND_BODY = [
    overcome("headers then reset", reset(0), line="transfer broke at byte 0, connection broke"),
    overcome("headers then closed", short_body(0), line="transfer broke at byte 0, connection broke"),
    overcome("headers then hang", hang(0), line="transfer broke at byte 0, no data within 5 s"),
    overcome(
        "headers then bad chunk",
        headed("Transfer-Encoding: chunked"),
        line="transfer broke at byte 0, connection broke",
    ),
    given_up("headers then forbidden", short_body(0), reply(403), line="upstream failed, answered 403", resumes=False),
]


BROKE = f"transfer broke at byte {MID}, connection broke"

IN_MID_BODY = [
    overcome("mid reset", reset(MID), line="transfer broke at byte"),
    overcome("mid short", short_body(MID), line=BROKE),
    overcome("mid hang", hang(MID), line=f"transfer broke at byte {MID}, no data within 5 s"),
    overcome("mid bad chunk", bad_chunks(MID), line=BROKE),
    overcome("mid cut chunks", cut_chunks(MID), line=BROKE),
    Row("one byte a second in the body", (slow_end(3),)),
    Row("more than announced", (surplus(bytes(1000)),)),
    Row("encoded in name only", (with_headers({"Content-Encoding": "x-gzip"}),)),
    Row("a type of a page", (with_headers({"Content-Type": "text/html"}),)),
    Row("a size that the page has wrong", (HEALTHY,), page=lambda entry: {**entry, "size": SIZE - 1}),
    wrong("wrong digest", corrupt()),
    wrong("well-formed and short", truncated()),
    wrong("well-formed and long", changed(lambda response: evolve(response, body=response.body + b"more"))),
    wrong("really encoded", gzipped()),
    told("empty", reply(200), "sha256"),
    told("login page", LOGIN, "sha256"),
    told("login page for what has no digest", LOGIN, "size", page=lambda entry: {**entry, "hashes": {}}),
    wrong("without length and cut", no_length_cut(MID)),
]


OTHER_PIECE = f"transfer broke at byte {MID}, answered with another piece than was asked for"


def resumed(name: str, answer: Fault, line: str = OTHER_PIECE, failures: int = 0) -> Row:
    """A break, and an answer to the resumption that is of no use: the one after it makes the file whole."""
    row = overcome(f"resumed with {name}", short_body(MID), answer, line=line, breaks=2)
    return evolve(row, counts={BREAKS: 2, **({FAILURES: failures} if failures else {})})


def named_part(text: str) -> Fault:
    """The right piece, called another."""
    return with_headers({"Content-Range": text})


def replaced(name: str, data: bytes, line: str) -> Row:
    """Upstream has another file when the first breaks."""
    answer = reply(200, {"ETag": '"other"'}, data)
    return Row(name, (short_body(MID), answer), 0, fetches=2, lines={line: 1}, counts={BREAKS: 1, WRONG: 1})


ON_A_RESUME = [
    resumed("a piece from before", named_part(f"bytes {MID - 1}-{SIZE - 2}/{SIZE}")),
    resumed("a piece from behind", named_part(f"bytes {MID + 1}-{SIZE - 1}/{SIZE}")),
    resumed("another total", named_part(f"bytes {MID}-{SIZE - 1}/{SIZE + 1}")),
    resumed("garbage for a range", named_part("bytes about the end")),
    resumed("another ETag", with_headers({"ETag": '"other"'})),
    resumed("an encoded piece", with_headers({"Content-Encoding": "gzip"})),
    resumed("416", reply(416, {"Content-Range": f"bytes */{SIZE}"})),
    resumed("429", reply(429, {"Retry-After": "7"}), "upstream failed, answered 429", failures=1),
    resumed("garbage", wire(lambda response: b"!!!\r\n\r\n"), f"upstream failed, {IMPROPER}", failures=1),
    resumed("a few bytes", short_body(10), f"transfer broke at byte {MID + 10}, connection broke"),
    overcome("resumed with 200", short_body(MID), reply(200, {}, blob("resumed-with-200", SIZE).data), line=BROKE),
    replaced("changed in between", bytes(SIZE), f"not what was announced, sha256 of the first {MID} bytes"),
    replaced("another length in between", bytes(SIZE - 1), "not what was announced, length"),
    *(
        given_up(f"resumed with {status}", short_body(MID), reply(status), line=f"upstream failed, answered {status}")
        for status in GONE
    ),
    given_up("resumed with 503", short_body(MID), reply(503), line="upstream failed, answered 503", breaks=3),
    given_up("never resumed", short_body(MID), disconnect(), line="failed, connection closed", breaks=3, fetches=7),
]
