"""The laws of `storage.layout`."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.storage.layout import FILES, PAGES, file_path, is_hashed, key_at, page_path
from twisted_pypi.urls import key_of

SEGMENTS = st.sampled_from(
    [
        *("", "a", "A", "b", "a.zip", "a.whl", "a.page", "page", "~", "~a", "a~file", "a~dir", "a~page", "a.zip~dir"),
        *("a%2Fb", "a%2520b", "a b", "%C3%A9", "%FF", "x" * 239, "x" * 240, "x" * 241, "x" * 300, "a.zip~file"),
        "~ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",  # what "a" would be hashed to
        "~ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb~file",
    ]
) | st.text(st.characters(min_codepoint=0x20, codec="utf-8"), max_size=5).filter(lambda text: "\x7f" not in text)
HOSTS = st.sampled_from(
    ["https://one.example", "http://one.example", "https://one.example:8443", "https://http:8443", "http://8443"]
)


@st.composite
def keys(draw):
    path = "/".join(draw(st.lists(SEGMENTS, min_size=1, max_size=5)))
    url = f"{draw(HOSTS)}/{path}".replace("?", "%3F").replace("#", "%23")
    try:
        return key_of(url)
    except ValueError:
        return f"{draw(HOSTS)}/a"


def assert_apart(paths):
    """No two are equal, and none is a folder on the way to another."""
    assert len(set(paths)) == len(paths)
    for one, two in combinations(sorted(paths), 2):
        assert two[: len(one)] != one


@given(st.sets(keys(), min_size=2, max_size=12))
def test_no_file_is_in_anothers_way(several):
    assert_apart([file_path(key) for key in several])


@given(st.sets(keys(), min_size=2, max_size=12))
def test_no_page_is_in_anothers_way(several):
    assert_apart([page_path(key) for key in several])


@pytest.mark.parametrize("place", [file_path, page_path])
def test_likely_collisions_are_kept_apart(place):
    segments = ["", "a", "A", "a.zip", "a.page", "a~file", "a~page", "a~dir", "a.zip~dir", "a%2Fb", "x" * 300]
    paths = [f"/{one}" for one in segments] + [f"/{one}/{two}" for one in segments for two in segments]
    assert_apart([place(key) for key in {key_of(f"https://one.example{path}") for path in paths}])


@given(keys())
def test_every_component_is_a_usable_name(key):
    for path in (file_path(key), page_path(key)):
        for name in path:
            assert 0 < len(name.encode()) <= 255
            assert name.isascii()
            assert name.isprintable()
            assert "/" not in name
            assert name not in (".", "..")


@given(keys())
def test_a_path_tells_its_key_unless_a_hash_hides_it(key):
    for path in (file_path(key), page_path(key)):
        assert key_at(path) == (None if is_hashed(path) else key)


def test_what_indexes_publish_keeps_its_name():
    folder = "packages/0a/1b/" + "c" * 60
    for name in ("flask-3.0.0-py3-none-any.whl", "flask-3.0.0.tar.gz", "flask-3.0.0-py3-none-any.whl.metadata"):
        path = file_path(f"https://files.example/{folder}/{name}")
        assert path == (FILES, "files.example", *folder.split("/"), name)


def test_a_local_version_is_readable():
    assert file_path(key_of("http://f.example:81/t-2+cu118.whl")) == (FILES, "http:f.example:81", "t-2+cu118.whl")


def test_pages_have_readable_names():
    assert page_path("https://i.example/simple/flask/") == (PAGES, "i.example", "simple", "flask.page")
    assert page_path("https://i.example/pypi/flask/json") == (PAGES, "i.example", "pypi", "flask", "json~page")


@pytest.mark.parametrize(
    "path", [("files", "h.example", "a"), ("files", "h.example", "a.zip", "b.zip"), ("files", "h")]
)
def test_a_stranger_on_disk_has_no_key(path):
    assert key_at(path) is None


def test_a_path_of_very_many_folders_is_one_name():
    deep = "https://h.example/" + "a/" * 2000
    assert len(file_path(deep)) == 3
    assert file_path(deep) != file_path(deep + "b")
    assert page_path(deep) != page_path(deep.removesuffix("/"))
