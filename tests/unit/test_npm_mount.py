"""The mount: which route every path is."""

from __future__ import annotations

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath, CacheError
from twisted_pypi.model import Alternatives, FileRoute, PageRoute, Redirect
from twisted_pypi.npm.mount import NpmMount
from twisted_pypi.npm.packument import ABBREVIATED

URL = "https://registry.example/api/"


@frozen
class Spec:
    name: str = URL
    url: str = URL
    ttl: float = 300.0
    not_found_ttl: float = 60.0
    absent_status: frozenset[int] = frozenset({404})


MOUNT = NpmMount("/npm/", Spec())


def packument(path: str) -> tuple[PageRoute, PageRoute]:
    route = MOUNT.resolve(path)
    assert isinstance(route, Alternatives)
    short, full = route.pages
    return short, full


@pytest.mark.parametrize(
    ("path", "name", "asked"),
    [
        ("/npm/left", "left", "left"),
        ("/npm/left/", "left", "left"),
        ("/npm//left", "left", "left"),
        ("//npm/left", "left", "left"),
        ("/npm/JSONStream", "JSONStream", "JSONStream"),
        ("/npm/-", "-", "-"),
        ("/npm/@a/b", "@a/b", "@a%2fb"),
        ("/npm/@a%2fb", "@a/b", "@a%2fb"),
        ("/npm/%40a%2Fb", "@a/b", "@a%2fb"),
    ],
)
def test_packuments(path: str, name: str, asked: str) -> None:
    short, full = packument(path)
    assert short.name == full.name == name
    assert [source.url for page in (short, full) for source in page.sources] == [URL + asked] * 2
    assert short.key == f"{URL}{name}"
    assert ABBREVIATED in short.sources[0].accept
    assert full.sources[0].accept == "application/json"
    assert [page.sources[0].ttl for page in (short, full)] == [300.0, 300.0]
    assert short.sources[0].key != full.sources[0].key
    assert urls.key_of(full.key) == full.key


def test_names_that_differ_in_case_are_two() -> None:
    assert packument("/npm/Left")[0].key != packument("/npm/left")[0].key


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/npm/left/1.0.0", "left/1.0.0"),
        ("/npm/left/latest/", "left/latest"),
        ("/npm/left/%5E1.0.0", "left/%5E1.0.0"),
        ("/npm/@a/b/1.0.0", "@a%2fb/1.0.0"),
        ("/npm/@a%2fb/1.0.0", "@a%2fb/1.0.0"),
        ("/npm/-/ping", "-/ping"),
        ("/npm/-/package/left/dist-tags", "-/package/left/dist-tags"),
        ("/npm/-/package/@a%2fb/dist-tags", "-/package/@a%2fb/dist-tags"),
        ("/npm/-/package/@a/b/dist-tags", "-/package/@a%2fb/dist-tags"),
    ],
)
def test_other_documents(path: str, asked: str) -> None:
    route = MOUNT.resolve(path)
    assert isinstance(route, PageRoute)
    assert [source.url for source in route.sources] == [URL + asked]


@pytest.mark.parametrize(
    ("path", "key", "name"),
    [
        ("/npm/left/-/left-1.0.0.tgz", f"{URL}left/-/left-1.0.0.tgz", "left"),
        ("/npm/@a/b/-/b-1.0.0.tgz", f"{URL}@a/b/-/b-1.0.0.tgz", "@a/b"),
        ("/npm/@a%2fb/-/b-1.0.0.tgz", f"{URL}@a/b/-/b-1.0.0.tgz", "@a/b"),
        ("/npm/-/-/--0.0.1.tgz", f"{URL}-/-/--0.0.1.tgz", "-"),
    ],
)
def test_tarballs_are_looked_for_in_their_packument(path: str, key: str, name: str) -> None:
    route = MOUNT.resolve(path)
    assert isinstance(route, FileRoute)
    assert (route.key, route.index, route.open) == (key, URL, True)
    of_url = MOUNT.page_of(URL, route.url)
    assert route.pages is not None
    assert of_url is not None
    assert route.pages.key == of_url.key == packument(f"/npm/{name}")[0].key


def test_tarballs_elsewhere_count_only_if_a_packument_named_them() -> None:
    for path in ("/npm/-/files/files.example/a.tgz", "/npm/-/files/registry.example/a%2fb//c.tgz"):
        route = MOUNT.resolve(path)
        assert isinstance(route, FileRoute)
        assert (route.open, route.pages) == (False, None)
        assert route.alone  # nor if that of another registry did
    assert not MOUNT.resolve("/npm/left/-/%252e%252e/x.tgz").open  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/npmx",
        "/simple/left/",
        "/npm/",
        "/npm/.left",
        "/npm/_left",
        "/npm/@a",
        "/npm/@a/b/1.0.0/x",
        "/npm/left/a%2fb",
        "/npm/left/-/",
        "/npm/-/v1/search",
        "/npm/-/whoami",
        "/npm/-/all",
        "/npm/-/files/",
        "/npm/-/files/host.example/",
        "/npm/-/package/.a/dist-tags",
    ],
)
def test_what_there_is_not(path: str) -> None:
    with pytest.raises(Absent):
        MOUNT.resolve(path)


@pytest.mark.parametrize("path", ["/npm/left/..", "/npm/left/%2e%2e/x", "/npm/a%00", "/npm/-/files/a%20b/c.tgz"])
def test_what_no_path_is(path: str) -> None:
    with pytest.raises(BadPath):
        MOUNT.resolve(path)


def test_its_own_path_without_the_slash() -> None:
    assert MOUNT.resolve("/npm") == Redirect("/npm/")


@given(st.text("abA@%2fF.-_~/ :[]é\x00", max_size=40))
def test_any_path_is_a_route_or_an_error(path: str) -> None:
    try:
        route = MOUNT.resolve(f"/npm/{path}")
    except CacheError:
        return
    pages = route.pages if isinstance(route, Alternatives) else [route]
    for page in pages:
        if isinstance(page, PageRoute | FileRoute):
            assert urls.key_of(page.key) == page.key
            assert page.key.startswith(URL) or isinstance(page, FileRoute)


def test_a_purge_means_all_pages_of_a_package() -> None:
    keys = [page.key for page in MOUNT.pages_of("@a/b")]
    assert keys == [*(page.key for page in packument("/npm/@a/b")), f"{URL}-/package/@a/b/dist-tags"]
    with pytest.raises(Absent):
        MOUNT.pages_of("../etc")


def test_what_its_packuments_may_name() -> None:
    assert MOUNT.permits(URL, "https://anywhere.example/a.tgz")
    assert not MOUNT.permits("another", "https://anywhere.example/a.tgz")
    assert MOUNT.at_home(URL, "https://registry.example/else/a.tgz")
    assert not MOUNT.at_home(URL, "https://anywhere.example/a.tgz")
    assert MOUNT.page_of("another", f"{URL}left/-/left.tgz") is None
    assert MOUNT.page_of(URL, "https://anywhere.example/left/-/left.tgz") is None
