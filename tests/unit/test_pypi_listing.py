"""The project list, streamed."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.model import PageBody
from twisted_pypi.pypi import listing
from twisted_pypi.pypi.listing import ListUnion, ProjectList, interpret, union


def read(data: bytes | str, delimited: bool = True) -> ProjectList:
    raw = data if isinstance(data, bytes) else data.encode()
    return interpret(PageBody(io.BytesIO(raw), "", "https://index.example/simple/", delimited))


def as_json(document: ProjectList | ListUnion) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(b"".join(document.render("json")))
    return value


def as_html(document: ProjectList | ListUnion) -> str:
    return b"".join(document.render("html")).decode()


PROJECTS = [{"name": "Flask", "_last-serial": 7}, {"name": "zope.interface", "new": {"a": [1, 2.5]}}]
META = {"api-version": "1.3", "_last-serial": 99}


@pytest.mark.parametrize(
    "data",
    [
        orjson.dumps({"meta": META, "projects": PROJECTS}),
        orjson.dumps({"projects": PROJECTS, "x": {"meta": 1}, "meta": META}),
        b"\xef\xbb\xbf" + orjson.dumps({"meta": META, "projects": PROJECTS}),
    ],
)
def test_json_keeps_what_it_does_not_know(data: bytes) -> None:
    document = read(data)
    assert as_json(document) == {"meta": META, "projects": PROJECTS}
    assert document.version == 99
    assert list(document.links()) == []


def test_json_becomes_html() -> None:
    html = as_html(read(orjson.dumps({"meta": META, "projects": PROJECTS})))
    assert '<a href="flask/">Flask</a>' in html
    assert '<a href="zope-interface/">zope.interface</a>' in html
    assert '<meta name="pypi:repository-version" content="1.3">' in html
    assert "<!--SERIAL 99-->" in html


def test_entries_without_a_usable_name_are_left_out() -> None:
    bad = [{"name": "a/b"}, {"name": "<b>"}, {"name": 1}, {}, "text", {"name": ""}, {"name": "é"}, {"name": "_x"}]
    document = read(orjson.dumps({"projects": [*bad, {"name": "ok"}]}))
    assert as_json(document) == {"meta": {"api-version": "1.0"}, "projects": [{"name": "ok"}]}
    assert as_html(document).count("<a ") == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"meta": {}}', "projects"),
        (b'{"projects": {"a": []}}', "projects"),
        (b'{"x": {"projects": []}}', "projects"),
        (b'{"meta": {"api-version": "2.0"}, "projects": []}', "api-version"),
        (b'{"meta": 1, "projects": []}', "meta"),
        (b'{"projects": [{"name": "a"}', "JSON"),
        (b'{"projects": [{"name": "a"}]} x', "JSON"),
        (b'{"projects": [{"name": "a"},]}', "JSON"),
        (b"", "neither"),
    ],
)
def test_json_that_is_no_list_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data)


def html_list(*anchors: str, head: str = "<title>Simple index</title>", after: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(anchors)}</body></html>{after}"


def test_html_is_read_by_text_and_by_link() -> None:
    anchors = (
        '<a href="/simple/flask/">Flask</a>',
        '<a href="zope-interface/">a link</a>',
        '<a href="../">Up here</a>',
        '<a href="x y/">&lt;</a>',
        '<a href="https://o.example/simple/b%2Ec?x#y">&gt;</a>',
    )
    document = read(html_list(*anchors, after="<!--SERIAL 5-->\n"))
    assert as_json(document) == {
        "meta": {"api-version": "1.0", "_last-serial": 5},
        "projects": [{"name": "Flask"}, {"name": "zope-interface"}, {"name": "b-c"}],
    }
    assert document.version == 5


@pytest.mark.parametrize(
    "html",
    [
        html_list('<form><input type="password"></form><a href="/register">Register</a>', head=""),
        html_list('<form><input type="password"></form>'),
        html_list('<a href="/help/">Get help</a><a href="/register">Register</a>', head=""),
        html_list('<a href="/register">Register</a><script></script>', head=""),
        html_list("we are down", head=""),
    ],
)
def test_pages_for_people_are_refused(html: str) -> None:
    with pytest.raises(ValueError, match="not a project list"):
        read(html)


@pytest.mark.parametrize(
    "html",
    [
        html_list(),
        html_list(head=""),
        html_list('<a href="flask/">Flask</a><a href="b-c/">b.c</a><a href="../">Go up</a>', head="<title>x</title>"),
        html_list(
            '<a href="flask/">Flask</a>', "<p>welcome</p>", head='<meta name="pypi:repository-version" content="1.1">'
        ),
    ],
)
def test_lists_are_recognised(html: str) -> None:
    assert len(as_json(read(html))["projects"]) == html.count("flask") + html.count("b.c")


def test_html_of_an_unknown_version_or_truncated_is_refused() -> None:
    with pytest.raises(ValueError, match="api-version"):
        read(html_list(head='<meta name="pypi:repository-version" content="2.0">'))
    with pytest.raises(ValueError, match="truncated"):
        read(html_list()[:-20], delimited=False)


def test_a_long_list_comes_in_small_pieces_and_can_be_rendered_again() -> None:
    names = [f"project-{number}" for number in range(30_000)]
    document = read(orjson.dumps({"meta": META, "projects": [{"name": name} for name in names]}))
    pieces = list(document.render("json"))
    assert max(map(len, pieces)) < 100_000
    assert [project["name"] for project in orjson.loads(b"".join(pieces))["projects"]] == names
    html = list(document.render("html"))
    assert max(map(len, html)) < 200_000
    assert as_json(read(b"".join(html)))["projects"] == [{"name": name} for name in names]


def test_what_lists_usually_are_costs_no_parser_of_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_items", None)
    data = b"".join(read(orjson.dumps({"meta": META, "projects": [{"name": "Flask"}]})).render("json"))
    both = union(everything, {"a": io.BytesIO(data), "b": stored("b", serial=7)})
    assert as_json(both)["projects"] == [{"name": "Flask"}, {"name": "b", "serial": 7}]


class Pieces(io.BytesIO):
    """Reads short, so that names are torn."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size and 0 < size <= 1 << 16 and size != 4096 else size)


@given(st.lists(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,3})?", fullmatch=True), max_size=20), st.booleans())
def test_both_forms_carry_the_same_names(names: list[str], html: bool) -> None:
    first = read(orjson.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": name} for name in names]}))
    data = as_html(first).encode() if html else b"".join(first.render("json"))
    again = interpret(PageBody(Pieces(data), "", "https://index.example/simple/"))
    assert as_json(again) == as_json(first)
    assert as_html(again) == as_html(first)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"projects": [' + b"[" * 60_000, "nested too deeply"),
        (b'{"meta": {"a": ' + b"[" * 51 + b"]" * 51 + b'}, "projects": []}', "nested too deeply"),
        (b'{"projects": [{"name": "a", "b": [' + b"1," * 20_000 + b"1]}]}", "entry is too large"),
        (b'{"meta": {"a": [' + b"1," * 20_000 + b'1]}, "projects": []}', "entry is too large"),
        (b'{"projects": [{"name": "' + b"a" * (2 << 20) + b'"}]}', "value is too long"),
    ],
)
def test_what_memory_has_no_room_for_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(data)


def test_what_is_left_out_may_be_large() -> None:
    many = b'"x": [' + b"1," * 20_000 + b"1], "
    document = read(b"{" + many + b'"meta": {"a": 1, "_last-serial": -1}, ' + many + b'"projects": [{"name": "a"}]}')
    assert as_json(document) == {"meta": {"a": 1, "api-version": "1.0"}, "projects": [{"name": "a"}]}


def everything(index: str, name: str) -> bool:
    return True


def stored(*names: str, version: str = "1.1", **more: Any) -> io.BytesIO:
    """A list as it is stored."""
    meta = {"api-version": version, "_last-serial": 7}
    return io.BytesIO(orjson.dumps({"meta": meta, "projects": [{"name": name, **more} for name in names]}))


def test_a_union_has_each_name_once() -> None:
    both = union(
        everything,
        {"public": stored("Flask", "b.c", "a-name-that-makes-it-long"), "mine": stored("flask", "acme", new=1)},
    )
    assert as_json(both) == {
        "meta": {"api-version": "1.1"},
        "projects": [
            {"name": "flask", "new": 1},
            {"name": "acme", "new": 1},
            {"name": "b.c"},
            {"name": "a-name-that-makes-it-long"},
        ],
    }
    assert as_html(both).count("<a ") == 4
    assert (both.version, list(both.links())) == (None, [])


def test_a_union_promises_what_all_its_lists_do() -> None:
    lists = {"a": stored("a", version="1.10"), "b": stored("b", version="1.4"), "c": stored("c", version="1.9")}
    assert as_json(union(everything, lists))["meta"] == {"api-version": "1.4"}


def test_a_name_that_an_index_is_not_asked_for_hides_nobody_elses() -> None:
    both = union(lambda index, name: index == "public", {"mine": stored("lib"), "public": stored("lib", "x", serial=2)})
    assert as_json(both)["projects"] == [{"name": "lib", "serial": 2}, {"name": "x", "serial": 2}]


def test_a_union_with_a_long_list_takes_the_memory_of_the_short_ones() -> None:
    public = stored(*(f"project-{number}" for number in range(200_000)))
    lists = {"mine": stored("acme", "project-5"), "public": public, "vendor": stored("torch")}
    tracemalloc.start()
    count = sum(piece.count(b'"name"') for piece in union(everything, lists).render("json"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_002
    assert peak < 3 << 20
