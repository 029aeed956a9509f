"""What reads text from clients takes linear time, or looks at a bounded part: at this size anything else would hang."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from attrs import evolve

from twisted_pypi.errors import CacheError
from twisted_pypi.http.conditional import none_match, range_applies
from twisted_pypi.http.negotiation import choose_encoding, choose_form, takes_json
from twisted_pypi.http.ranges import parse_range
from twisted_pypi.http.request_body import ChunkedBody
from twisted_pypi.http.request_head import Refused, RequestHead, RequestLine, request_line
from twisted_pypi.pypi.mount import IndexMount
from twisted_pypi.pypi.names import LONGEST_NAME, projects_of
from twisted_pypi.web.access_lines import LINE_FORMS
from twisted_pypi.web.clients import Ask, check, effective_client
from unit.test_pypi_mount import BOTH
from unit.test_web_observers import SERVED
from unit.web_doubles import FORMS, NOW

SIZE = 1 << 18
SHAPES = (
    "a-", "1-", "-", ".", "..", "/", "%2F", "%", "~", ";", "0", "1.0-", "1!", "-py3", ".linux-x-", "1.post",
    "a/b;q=0.1,", "*/*,", ";q=", "q=1,", "0-,", '"', 'W/"', '"a",', " ", "\t", ",", "1.2.3.4,", "::1,", ":", "a:1,",
)  # fmt: skip


def field(text: str) -> None:
    RequestHead(RequestLine("GET", "/", "HTTP/1.1")).take(text.encode())


def ask(target: str = "/", host: str = "h") -> Ask:
    return Ask("GET", target, target, "", "HTTP/1.1", "", "", "http", host, {"host": host})


def line(text: str) -> str:
    event = evolve(SERVED, target=text, agent=text, host=text)
    return "".join(form.line(event, NOW) for form in LINE_FORMS.values())


def resolving(mount: IndexMount, before: str, after: str) -> Callable[[str], object]:
    return lambda text: mount.resolve(before + text + after)


READERS: dict[str, Callable[[str], object]] = {
    "Accept": lambda text: choose_form(FORMS, text),
    "format": lambda text: choose_form(FORMS, "", text),
    "Accept-Encoding": lambda text: choose_encoding(("gzip",), text),
    "Accept of errors": takes_json,
    "If-None-Match": lambda text: none_match(text, '"x"'),
    "If-Range": lambda text: range_applies(text, '"x"'),
    "Range": lambda text: parse_range(f"bytes={text}", 100),
    "Range with blanks": lambda text: parse_range(f"\t{text}", 100),
    "X-Forwarded-For": lambda text: effective_client("192.0.2.1", text, ()),
    "Host": lambda text: check(ask(host=text)),
    "target": lambda text: check(ask(target=f"/{text}")),
    "request line": lambda text: request_line(text.encode()),
    "target in the request line": lambda text: request_line(f"GET /{text}\0 HTTP/1.1".encode()),
    "header line": field,
    "header": lambda text: field(f"X:{text}\0"),
    "Content-Length": lambda text: field(f"Content-Length:{text}"),
    "Transfer-Encoding": lambda text: field(f"Transfer-Encoding:{text}"),
    "chunk size": lambda text: ChunkedBody().take(f"{text}\r\n".encode()),
    "chunk extension": lambda text: ChunkedBody().take(f"0;{text}\r\n".encode()),
    "access log": line,
    "file name": lambda text: projects_of(f"{text}.tar.gz"),
    "wheel name": lambda text: projects_of(f"{text}-1-py3-none-any.whl.metadata"),
    "project": resolving(BOTH, "/simple/", "/"),
    "file": resolving(BOTH, "/packages/", ".tar.gz"),
    "file elsewhere": resolving(BOTH, "/files/h/", ".egg"),
    "host elsewhere": resolving(BOTH, "/files/", "/x"),
    "JSON API": resolving(BOTH, "/pypi/", "/json"),
    "provenance": resolving(BOTH, "/integrity/x/1/", ".whl/provenance"),
}


@pytest.mark.parametrize("reader", READERS)
def test_length_is_no_weapon(reader: str) -> None:
    for shape in SHAPES:
        with suppress(CacheError, Refused):
            READERS[reader](shape * (SIZE // len(shape)))


def test_a_file_name_of_usual_length_is_read() -> None:
    name = "a" * (LONGEST_NAME - len("-1.0.tar.gz"))
    assert projects_of(f"{name}-1.0.tar.gz") == (name,)
    assert projects_of(f"a{name}-1.0.tar.gz") == ()
    assert projects_of(f"{name}-1.0.tar.gz.metadata") == (name,)
