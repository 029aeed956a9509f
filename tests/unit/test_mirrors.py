"""Whatever is at a mirror is known by the URL that it has at the index."""

from __future__ import annotations

from io import BytesIO

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.mirrors import canonical
from twisted_pypi.model import PageBody
from twisted_pypi.pypi.api import interpret_api
from twisted_pypi.pypi.mirroring import mirrors_of, root_of
from twisted_pypi.pypi.project import interpret
from twisted_pypi.settings import Remote

FILES = "https://files.example/"
HASH = "0" * 64


@frozen
class Spec:
    url: str = "https://index.example/simple/"
    files_url: str = FILES
    mirrors: tuple[Remote, ...] = (
        Remote("https://m.example/pypi/simple/"),
        Remote("https://public.example/simple/", files_url="https://cdn.example/"),
        Remote("http://cache.example:8080/simple/"),
    )


MIRRORS = mirrors_of(Spec())


@pytest.mark.parametrize(
    ("url", "there"),
    [
        (
            "https://index.example/simple/a/",
            (
                "https://m.example/pypi/simple/a/",
                "https://public.example/simple/a/",
                "http://cache.example:8080/simple/a/",
            ),
        ),
        (
            "https://index.example/pypi/a/json",
            (
                "https://m.example/pypi/pypi/a/json",
                "https://public.example/pypi/a/json",
                "http://cache.example:8080/pypi/a/json",
            ),
        ),
        (
            "https://files.example/packages/ab/a.whl",
            (
                "https://m.example/pypi/packages/ab/a.whl",
                "https://cdn.example/packages/ab/a.whl",
                "http://cache.example:8080/packages/ab/a.whl",
            ),
        ),
        ("https://files.example/other/a.whl", (None, None, None)),
        ("https://index.example.evil/simple/a/", (None, None, None)),
        ("https://elsewhere.example/packages/a.whl", (None, None, None)),
    ],
)
def test_there_and_back(url: str, there: tuple[str | None, ...]) -> None:
    assert tuple(mirror.there(url) for mirror in MIRRORS) == there
    assert {canonical(MIRRORS, found) for found in there if found} <= {url}
    assert canonical(MIRRORS, url) == url


def test_a_signature_stays_where_it_is_from() -> None:
    signed = "https://files.example/packages/a.whl?sig=secret"
    assert [mirror.there(signed) for mirror in MIRRORS] == [
        mirror.there(signed.partition("?")[0]) for mirror in MIRRORS
    ]
    theirs = "https://m.example/pypi/packages/a.whl?sig=secret"
    assert canonical(MIRRORS, theirs) == theirs


def test_files_beside_the_index_are_beside_the_mirror() -> None:
    (mirror,) = mirrors_of(
        Spec("https://a.example/x/simple/", "https://a.example/", (Remote("https://b.example/simple/"),))
    )
    assert mirror.there("https://a.example/x/packages/a.whl") == "https://b.example/packages/a.whl"


def test_an_index_root_of_another_name() -> None:
    (mirror,) = mirrors_of(
        Spec("https://a.example/whl/cpu/", "https://a.example/", (Remote("https://b.example/whl/cpu/"),))
    )
    assert mirror.there("https://a.example/whl/cpu/torch/") == "https://b.example/whl/cpu/torch/"
    assert mirror.there("https://a.example/whl/torch.whl") == "https://b.example/whl/torch.whl"
    assert root_of("https://a.example/whl/cpu") == "https://a.example/"


def test_a_mirror_that_lies_around_or_below_the_index_takes_nothing_away_from_it() -> None:
    around = mirrors_of(Spec("https://a.example/x/simple/", "https://a.example/", (Remote("https://a.example/root/"),)))
    assert canonical(around, "https://a.example/x/packages/f.whl") == "https://a.example/x/packages/f.whl"
    below = mirrors_of(
        Spec("https://a.example/simple/", "https://a.example/", (Remote("https://a.example/m/simple/"),))
    )
    assert canonical(below, "https://a.example/m/packages/f.whl") == "https://a.example/packages/f.whl"
    assert canonical(below, "https://a.example/packages/f.whl") == "https://a.example/packages/f.whl"


@given(st.text(alphabet="ab/%.", max_size=12))
def test_what_is_mapped_comes_back(path: str) -> None:
    for url in (
        f"https://index.example/simple/{path}",
        f"{FILES}packages/{path}",
        f"https://index.example/pypi/{path}",
    ):
        for mirror in MIRRORS:
            there = mirror.there(url)
            assert there is not None
            assert canonical(MIRRORS, there) == url


@pytest.mark.parametrize(
    ("page", "link"),
    [
        ("https://m.example/pypi/simple/a/", "../../packages/ab/a-1.whl"),
        ("https://m.example/pypi/simple/a/", "/pypi/packages/ab/a-1.whl"),
        ("https://public.example/simple/a/", "https://cdn.example/packages/ab/a-1.whl"),
        ("http://cache.example:8080/simple/a/", "../../packages/ab/a-1.whl"),
        ("https://index.example/simple/a/", "https://files.example/packages/ab/a-1.whl"),
        ("https://m.example/pypi/simple/a/", "https://files.example/packages/ab/a-1.whl"),
    ],
)
def test_pages_of_all_places_say_the_same_of_a_file(page: str, link: str) -> None:
    html = f'<!DOCTYPE html><a href="{link}#sha256={HASH}">a-1.whl</a>'
    body = PageBody(BytesIO(html.encode()), "text/html", page)
    got = interpret(f"{FILES}packages/", "a", body, mirrors=MIRRORS)
    assert [file["url"] for file in got.files] == ["../../packages/ab/a-1.whl"]
    assert [found.url for found in got.links()] == ["https://files.example/packages/ab/a-1.whl"]
    api = PageBody(BytesIO(b'{"info": {}, "urls": [{"url": "%b"}]}' % link.encode()), "application/json", page)
    assert b'"http://pypicache.invalid/packages/ab/a-1.whl"' in interpret_api(f"{FILES}packages/", api, MIRRORS).data


def test_a_link_elsewhere_stays_what_it_is() -> None:
    html = b'<!DOCTYPE html><a href="https://third.example/a-1.whl">a-1.whl</a>'
    got = interpret(
        f"{FILES}packages/", "a", PageBody(BytesIO(html), "text/html", "https://m.example/pypi/simple/a/"), MIRRORS
    )
    assert [found.url for found in got.links()] == ["https://third.example/a-1.whl"]
