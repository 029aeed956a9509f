"""A large JSON object read in pieces is the object that it is read at once."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twisted_pypi.pypi import json_pieces
from twisted_pypi.pypi.json_pieces import load_object, load_pieces


def taken(data: bytes, size: int) -> tuple[list[list[Any]], dict[str, Any]]:
    pieces: list[list[Any]] = []
    page = load_pieces(data, "files", pieces.append, size)
    return pieces, page


def whole(data: bytes, size: int) -> dict[str, Any]:
    """The object, put together again where it was taken apart."""
    pieces, page = taken(data, size)
    if pieces:
        page["files"] = [file for piece in pieces for file in piece] + page["files"]
    return page


TEXTS = st.text(max_size=4) | st.sampled_from(["files", '},{"a":', '"files":[{"a":1},{"a":', "a", "\\"])
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
FILES = st.lists(st.fixed_dictionaries({"a": VALUES}, optional={"b": VALUES, "files": VALUES}) | VALUES, max_size=5)
OBJECTS = st.dictionaries(TEXTS, VALUES | FILES, max_size=4) | st.fixed_dictionaries(
    {"meta": VALUES, "files": FILES}, optional={"name": VALUES, "other": FILES}
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\n")])


@given(OBJECTS, st.integers(0, 60), SEPARATORS, st.booleans())
def test_pieces_are_the_whole(value: dict[str, Any], size: int, separators: tuple[str, str], mark: bool) -> None:
    data = b"\xef\xbb\xbf" * mark + json.dumps(value, separators=separators).encode("utf-8", "surrogatepass")
    assert whole(data, size) == value


@example(b'{"files":[{"a":1},{"a":2}],"x":[{"a":3},{"a":4}]}')
@example(b'{"files":[{"a":[{"a":1},{"a":2}]},{"a":3}]}')
@example(b'{"m":{"files":[{"a":1},{"a":2}]}}')
@example(b'{"files":[{"a":1},{"a":2}],"files":[{"a":3},{"a":4}]}')
@example(b'{"files":[{"a":1},{"a":"},{\\"a\\":1"},{"a":2}]}')
@example(b'{"files":[{"a":1},{"a":2}]')
@example(b'{"files":[{"a":1}}{"a":2}]}')
@example(b'{"files":[{"a":1}],{"a":2}]}')
@example(b'[{"files":[{"a":1},{"a":2}]}]')
@given(st.text('{}[]",:a\\1 ', max_size=40).map(lambda text: b'{"files":[{"a":1},{"a":' + text.encode()))
def test_what_is_no_object_is_none_in_pieces_either(data: bytes) -> None:
    try:
        expected = load_object(data)
    except ValueError:
        with pytest.raises(ValueError, match="JSON"):
            taken(data, 0)
    else:
        assert whole(data, 0) == expected


def test_a_large_page_is_taken_apart() -> None:
    files = [{"filename": f"flask-{number}.whl", "hashes": {}, "x": [{"filename": 1}]} for number in range(5000)]
    data = orjson.dumps({"files": files, "meta": {"api-version": "1.0"}, "name": "flask"})
    pieces, page = taken(data, 10_000)
    assert all(len(orjson.dumps(piece)) < 11_000 for piece in pieces)
    assert len(pieces) > 20
    assert len(page["files"]) < 250
    assert page["name"] == "flask"


def test_the_values_of_all_pieces_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = orjson.dumps({"files": [{"a": number} for number in range(100)]})
    number = sum(map(data.count, (b",", b"{", b"[")))
    monkeypatch.setattr(json_pieces, "MAX_VALUES", number)
    assert len(whole(data, 100)["files"]) == 100
    monkeypatch.setattr(json_pieces, "MAX_VALUES", number - 1)
    with pytest.raises(ValueError, match="values"):
        whole(data, 100)
    with pytest.raises(ValueError, match="values"):
        whole(data, 1 << 20)
