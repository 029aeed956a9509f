"""Conditions, ranges, dates and log escaping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.http.conditional import none_match, range_applies
from twisted_pypi.http.dates import http_date, iso_date
from twisted_pypi.http.escaping import escaped
from twisted_pypi.http.ranges import Part, Unsatisfiable, Whole, parse_range


@pytest.mark.parametrize(
    ("header", "etag", "matches"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"b", W/"c" , "a"', '"a"', True),
        ('"b,a"', '"a"', False),
        ('"A"', '"a"', False),
        ("*", '"a"', True),
        ("*", "", True),
        ("", '"a"', False),
        ('""', "", False),
        ("a", '"a"', False),
    ],
)
def test_if_none_match(header: str, etag: str, matches: bool) -> None:
    assert none_match(header, etag) is matches


@pytest.mark.parametrize(
    ("header", "applies"),
    [
        ("", True),
        ('"a"', True),
        (' "a" ', True),
        ('W/"a"', False),
        ('"b"', False),
        ("Sun, 06 Nov 1994 08:49:37 GMT", False),
    ],
)
def test_if_range(header: str, applies: bool) -> None:
    assert range_applies(header, '"a"') is applies


def test_if_range_never_applies_without_a_tag() -> None:
    assert not range_applies('""', "")


@pytest.mark.parametrize(
    ("header", "length", "expected"),
    [
        ("", 10, Whole()),
        ("bytes=0-0", 10, Part(0, 0)),
        ("bytes=2-", 10, Part(2, 9)),
        ("bytes=2-100", 10, Part(2, 9)),
        ("Bytes=2-3", 10, Part(2, 3)),
        ("bytes=-3", 10, Part(7, 9)),
        ("bytes=-30", 10, Part(0, 9)),
        ("bytes=-0", 10, Unsatisfiable()),
        ("bytes=10-", 10, Unsatisfiable()),
        ("bytes=10-20", 10, Unsatisfiable()),
        ("bytes=0-", 0, Unsatisfiable()),
        ("bytes=-1", 0, Unsatisfiable()),
        ("bytes=3-2", 10, Whole()),
        ("bytes=20-12", 10, Whole()),
        ("bytes=0-1,3-4", 10, Whole()),
        ("bytes=-", 10, Whole()),
        ("bytes=a-b", 10, Whole()),
        ("bytes=٣-", 10, Whole()),
        ("items=0-1", 10, Whole()),
        ("bytes=" + "9" * 5000 + "-", 10, Whole()),
    ],
)
def test_ranges(header: str, length: int, expected: object) -> None:
    assert parse_range(header, length) == expected


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_what_slicing_gives(length: int, first: int, last: int) -> None:
    body = bytes(range(length))
    match parse_range(f"bytes={first}-{last}", length):
        case Part() as part:
            assert 0 <= part.first <= part.last < length
            assert body[part.first : part.last + 1] == body[first : last + 1]
        case Unsatisfiable():
            assert first >= length
            assert first <= last
        case Whole():
            assert last < first


@given(st.integers(0, 50), st.integers(0, 60))
def test_a_suffix_is_what_slicing_gives(length: int, count: int) -> None:
    body = bytes(range(length))
    match parse_range(f"bytes=-{count}", length):
        case Part() as part:
            assert body[part.first : part.last + 1] == body[-count:]
        case other:
            assert other == Unsatisfiable()
            assert not count or not length


@given(st.text(alphabet="bytes=-,0123456789 \t", max_size=40), st.integers(0, 1000))
def test_hostile_ranges_stay_within_the_body(header: str, length: int) -> None:
    match parse_range(header, length):
        case Part(first, last):
            assert 0 <= first <= last < length


def test_dates() -> None:
    assert http_date(784_111_777.9) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert iso_date(784_111_777.9) == "1994-11-06T08:49:37Z"


@given(st.text())
def test_escaped_text_is_one_harmless_ascii_field(text: str) -> None:
    result = escaped(text)
    assert result.isascii()
    assert result == "" or result.isprintable()
    assert '"' not in result
    assert result.replace("\\x", "").count("\\") == 0


def test_escaping_is_of_utf8_bytes() -> None:
    assert escaped('a"b\\\n é') == r"a\x22b\x5c\x0a \xc3\xa9"
