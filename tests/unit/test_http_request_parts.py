"""The grammar of requests: lines, limits, and where bodies end."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.http.request_body import MAX_CHUNK_LINE, ChunkedBody, SizedBody, body_of
from twisted_pypi.http.request_head import (
    MAX_BODY,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_LINE,
    Refused,
    RequestHead,
    RequestLine,
    request_line,
    too_long,
)


def head_of(*fields: bytes, protocol: bytes = b"HTTP/1.1") -> RequestHead:
    head = RequestHead()
    head.start(b"GET / " + protocol)
    for field in fields:
        head.take(field)
    head.end()
    return head


def status(*fields: bytes, protocol: bytes = b"HTTP/1.1") -> int:
    with pytest.raises(Refused) as caught:
        head_of(*fields, protocol=protocol)
    return caught.value.status


def test_a_request_line() -> None:
    assert request_line(b"PURGE /a?b HTTP/1.0") == RequestLine("PURGE", "/a?b", "HTTP/1.0")


@given(st.binary(max_size=80))
def test_a_request_line_is_read_in_one_way_or_not_at_all(line: bytes) -> None:
    with suppress(Refused):
        read = request_line(line)
        assert f"{read.method} {read.target} {read.protocol}".encode() == line


class TestFields:
    def test_have_a_name_and_a_value(self) -> None:
        head = head_of(b"X-A:\t b: c \t", b"x:", b"Y:\xe9 \xa0")
        assert head.fields == {"x-a": "b: c", "x": "", "y": "\xe9 \xa0"}

    def test_repeated_ones_are_joined_as_a_list(self) -> None:
        assert head_of(b"a: 1", b"B: x", b"A: 2", b"a:").fields == {"a": "1, 2, ", "b": "x"}

    def test_names_that_only_look_like_framing_are_not(self) -> None:
        head = head_of(b"Content-Length: 7", b"Content-Lengths: 5", b"Transfer-Encodings: x", b"Content-Type: y")
        assert (head.length, head.chunked) == (7, False)

    @pytest.mark.parametrize("character", [bytes([code]) for code in (*range(9), *range(10, 32), 127)])
    def test_control_characters_are_refused(self, character: bytes) -> None:
        assert status(b"X: a" + character + b"b") == 400
        assert status(b"X" + character + b": a") == 400

    def test_are_counted(self) -> None:
        head_of(*[b"X: y"] * MAX_FIELDS)
        assert status(*[b"X: y"] * (MAX_FIELDS + 1)) == 431

    def test_have_a_size_together(self) -> None:
        line = b"X: " + b"y" * (MAX_LINE - 5)
        head_of(*[line] * (MAX_HEAD // MAX_LINE - 1))
        assert status(*[line] * (MAX_HEAD // MAX_LINE + 1)) == 431

    def test_lines_that_are_too_long(self) -> None:
        assert too_long(None).status == 414
        assert too_long(RequestLine("GET", "/", "HTTP/1.1")).status == 431


class TestFraming:
    def test_none(self) -> None:
        assert body_of(head_of()) is None
        assert body_of(head_of(b"Content-Length: 0")) is None

    def test_a_length(self) -> None:
        assert body_of(head_of(b"content-length:\t007 ")) == SizedBody(7)

    def test_the_limit(self) -> None:
        assert head_of(b"Content-Length: %d" % MAX_BODY).length == MAX_BODY
        assert status(b"Content-Length: %d" % (MAX_BODY + 1)) == 413
        assert status(b"Content-Length: " + b"1" * 8000) == 413

    def test_chunked(self) -> None:
        assert isinstance(body_of(head_of(b"transfer-encoding: Chunked")), ChunkedBody)
        assert status(b"Transfer-Encoding: chunked", protocol=b"HTTP/1.0") == 400

    @pytest.mark.parametrize("length", [b"0", b"5"])
    def test_both_in_either_order(self, length: bytes) -> None:
        fields = b"Content-Length: " + length, b"Transfer-Encoding: chunked"
        assert status(*fields) == status(*reversed(fields)) == 400


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(
    chunks=st.lists(
        st.tuples(st.binary(min_size=1, max_size=40), st.sampled_from([b"", b";a", b' ; b="c"'])), max_size=5
    ),
    trailer=st.sampled_from([b"", b"X: y\r\n"]),
    following=st.binary(max_size=40),
    sizes=st.lists(st.integers(0, 9), max_size=30),
)
def test_what_follows_a_chunked_body_comes_out_as_it_went_in(
    chunks: list[tuple[bytes, bytes]], trailer: bytes, following: bytes, sizes: list[int]
) -> None:
    coded = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk, extension in chunks)
    pieces = cut(coded + b"0\r\n" + trailer + b"\r\n" + following, sizes)
    body = ChunkedBody()
    for number, piece in enumerate(pieces):
        rest = body.take(piece)
        if rest is not None:
            assert rest + b"".join(pieces[number + 1 :]) == following
            return
    raise AssertionError("the body did not end")


@given(st.binary(max_size=60), st.lists(st.integers(0, 9), max_size=30))
def test_garbage_is_refused_however_it_is_cut(data: bytes, sizes: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> int | bytes | None:
        body = ChunkedBody()
        for number, piece in enumerate(pieces):
            try:
                rest = body.take(piece)
            except Refused as refused:
                return refused.status
            if rest is not None:
                return rest + b"".join(pieces[number + 1 :])
        return None

    assert outcome([data]) == outcome(cut(data, sizes))


def test_lines_in_chunked_bodies_have_a_limit() -> None:
    assert ChunkedBody().take(b"0" * (MAX_CHUNK_LINE - 1)) is None
    with pytest.raises(Refused):
        ChunkedBody().take(b"0" * MAX_CHUNK_LINE)


def test_the_limit_counts_framing_too() -> None:
    body = ChunkedBody()
    chunk = b"1;%s\r\nx\r\n" % (b"a" * 900)
    for _ in range(MAX_BODY // len(chunk)):
        assert body.take(chunk) is None
    with pytest.raises(Refused) as caught:
        body.take(chunk * 2)
    assert caught.value.status == 413


def test_what_follows_does_not_count() -> None:
    assert len(ChunkedBody().take(b"0\r\n\r\n" + b"x" * 2 * MAX_BODY) or b"") == 2 * MAX_BODY


def test_a_chunk_that_announces_too_much_is_not_waited_for() -> None:
    with pytest.raises(Refused) as caught:
        ChunkedBody().take(b"%x\r\nx" % (MAX_BODY + 1))
    assert caught.value.status == 413
