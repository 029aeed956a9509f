"""Project lists in slices: what is read so is what a parser of every token reads, and anything odd is left to that."""

from __future__ import annotations

import io
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.pypi.slices import Uneven, meta_of, slices


def read(data: bytes) -> tuple[Any, list[Any]]:
    stream = io.BytesIO(data)
    return meta_of(stream), [entry for entries in slices(stream) for entry in entries]


def dumped(value: object, separators: tuple[str, str] | None, indent: int | None = None) -> bytes:
    return json.dumps(value, separators=separators, indent=indent).encode()


TEXT = st.text(alphabet='ab{}[],":\\ é', max_size=6)
ENTRY = st.fixed_dictionaries({"name": TEXT}, optional={"_last-serial": st.integers(-9, 10**12), "x": TEXT})


@given(st.lists(ENTRY, max_size=30), st.sampled_from([None, (",", ":"), (",\n", ": ")]), st.sampled_from([1, 1, 300]))
def test_whatever_is_read_is_right(
    entries: list[dict[str, Any]], separators: tuple[str, str] | None, times: int
) -> None:
    many = entries * times
    try:
        meta, found = read(dumped({"meta": {"api-version": "1.1"}, "projects": many}, separators))
    except Uneven:
        texts = "".join(str(value) for entry in entries for value in entry.values())
        assert {"{", "["} & set(texts)
    else:
        assert (meta, found) == ({"api-version": "1.1"}, many)


def test_it_comes_in_slices() -> None:
    projects = [{"name": f"project-{number}"} for number in range(20_000)]
    for separators in ((",", ":"), (", ", ": "), (",\n", ":")):
        stream = io.BytesIO(b"\xef\xbb\xbf" + dumped({"meta": {}, "projects": projects}, separators) + b"\n")
        assert meta_of(stream) == {}
        found = list(slices(stream))
        assert max(map(len, found)) < 2000
        assert [project for entries in found for project in entries] == projects


ENTRIES = b",".join(orjson.dumps({"name": f"project-{number}"}) for number in range(5_000))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"projects": {}}',
        b'{"meta": {"projects": []}}',
        b'{"meta": {"projects": [{"name": "a"}]}, "projects": []}',
        b'{"projects": [{"name": "a"}], "meta": {}}',
        b'{"projects": [{"name": "a"}], "projects": []}',
        b'{"projects": [{"name": "a"}]',
        b'{"projects": [{"name": "a"}]}}',
        b'{"projects": [{"name": "a", "b": {}}]}',
        b'{"projects": [{"name": "a", "b": []}]}',
        b'{"projects": ["a"]}',
        b'{"projects": [{"name": "},{"}]}',
        b'{"projects": [{"name": "\xff"}]}',
        b'{"projects": [' + ENTRIES + b',{"name": "torn},{' + ENTRIES[9:] + b"]}",
        b'{"projects": [' + ENTRIES + b",," + ENTRIES + b"]}",
        b'{"projects": [' + ENTRIES,
        b'{"projects": [{"name": "' + b"a" * (1 << 20) + b'"}]}',
        b'{"projects": [{"name": "a"' + b"".join(b',"%d":1' % number for number in range(20_000)) + b"}]}",
        b'{"meta": "' + b" " * 5000 + b'", "projects": []}',
    ],
    ids=range(20),
)
def test_anything_odd_is_left_to_the_other_parser(data: bytes) -> None:
    with pytest.raises(Uneven):
        read(data)
