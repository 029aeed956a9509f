"""The head of an answer is bounded, however it comes in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.fetching.heads import LIMIT, HeadMeter, HeadTooLarge

STATUS = b"HTTP/1.1 200 OK\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"


def head(size: int) -> bytes:
    """A head of exactly so many bytes, in many lines."""
    lines = [b"X-Filler: " + b"x" * 88 + b"\r\n"] * ((size - len(STATUS) - 2) // 100)
    rest = size - len(STATUS) - 2 - 100 * len(lines)
    return STATUS + b"".join(lines) + (b"Y: " + b"y" * (rest - 5) + b"\r\n" if rest else b"") + b"\r\n"


def fits(pieces: Iterable[bytes]) -> bool:
    """Whether it passes when it comes in these pieces."""
    meter = HeadMeter()
    try:
        for piece in pieces:
            meter.take(piece)
    except HeadTooLarge:
        return False
    return True


@given(st.lists(st.integers(1, LIMIT), max_size=5), st.sampled_from([LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT]))
def test_it_may_be_as_long_as_the_limit_in_any_pieces(cuts: list[int], size: int) -> None:
    data = head(size)
    assert len(data) == size
    edges = [0, *sorted(cuts), size]
    assert fits(data[begin:end] for begin, end in pairwise(edges)) is (size <= LIMIT)


def test_a_body_does_not_count() -> None:
    assert fits([head(1000) + b"x\n\n" * LIMIT, b"x" * LIMIT])
    assert fits([head(1000), b"x" * (2 * LIMIT)])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_either_line_end_ends_it(line_end: bytes) -> None:
    assert fits([STATUS + line_end, b"x" * (2 * LIMIT)])


def test_interim_answers_count_and_do_not_end_it() -> None:
    assert fits([EARLY * 3 + head(1000), b"x" * (2 * LIMIT)])
    assert not fits([EARLY] * (LIMIT // len(EARLY) + 1))
    assert not fits([EARLY, head(LIMIT)])


def test_what_never_ends_is_too_large() -> None:
    assert not fits([b"x" * 1000] * 17)
