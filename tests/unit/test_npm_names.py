"""Names, tarball paths and digests of npm: every spelling, and laws for all of them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath, CacheError
from twisted_pypi.npm.integrity import hashes_of
from twisted_pypi.npm.links import key_of_path, package_of, place_of
from twisted_pypi.npm.names import LONGEST_NAME, escaped, is_name, split_name

REGISTRY = "https://registry.example/npm/"

plain = st.from_regex(r"[A-Za-z0-9~!*'()-][A-Za-z0-9._~!*'()-]{0,20}", fullmatch=True)
names = st.one_of(plain, st.builds("@{}/{}".format, plain, plain))


@pytest.mark.parametrize("name", ["left-pad", "JSONStream", "@types/node", "-", "@a/_b", "a.b", "2048", "files"])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".a", "_a", "@a", "@a/", "@/b", "@.a/b", "@a/.b", "a/b", "@a/b/c", "a b", "a%2fb", "ä", "..", "@a/..", "a\\b"],
)
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(Absent):
        split_name(quote(name, safe="") + "/.rest")


def test_a_name_has_its_length() -> None:
    assert is_name("a" * LONGEST_NAME)
    assert not is_name("a" * (LONGEST_NAME + 1))


@given(names, st.sampled_from(["", "1.0.0", "-/a-1.0.0.tgz"]))
def test_all_spellings_of_a_name_are_one(name: str, rest: str) -> None:
    tail = f"/{rest}" if rest else ""
    for spelled in (name, escaped(name), quote(name, safe=""), name.replace("@", "%40"), name.replace("/", "%2F")):
        assert split_name(spelled + tail) == (name, rest)


@given(st.text(max_size=60))
def test_any_path_is_a_name_or_absent(path: str) -> None:
    try:
        name, _ = split_name(path)
    except Absent:
        return
    assert is_name(name)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("https://registry.example/npm/left/-/left-1.0.0.tgz", "left/-/left-1.0.0.tgz"),
        ("https://registry.example/npm/@a/b/-/b-1.0.0.tgz", "@a/b/-/b-1.0.0.tgz"),
        ("https://registry.example/npm/@a/b/-/@a/b-1.0.0.tgz", "@a/b/-/@a/b-1.0.0.tgz"),
        ("https://registry.example/npm/%40a/b/-/b-1.0.0.tgz", "@a/b/-/b-1.0.0.tgz"),
        ("https://registry.example/npm/-/-/--0.0.1.tgz", "-/-/--0.0.1.tgz"),
        # What a client would ask for under another key is where any other file is.
        ("https://registry.example/npm/@a%2fb/-/b.tgz", "-/files/registry.example/npm/@a%2fb/-/b.tgz"),
        ("https://registry.example/npm/download/a/1.0", "-/files/registry.example/npm/download/a/1.0"),
        ("https://registry.example/left/-/left.tgz", "-/files/registry.example/left/-/left.tgz"),
        ("http://files.example:81/a.tgz?sig=1#f", "-/files/http:files.example:81/a.tgz"),
        ("left/-/left-1.0.0.tgz", "left/-/left-1.0.0.tgz"),
        ("https://registry.example/npm/left/-/", None),
        ("file:///etc/passwd", None),
        ("git+ssh://git@host.example/a.git", None),
        ("https://registry.example/npm/../x.tgz/%2e%2e/y", None),
        ("http://[", None),
    ],
)
def test_places(link: str, path: str | None) -> None:
    place = place_of(REGISTRY, f"{REGISTRY}left", link)
    assert (place and place.path) == path


segments = st.text("abAB019._-+~@%2fF!é /", min_size=1, max_size=12).filter(lambda text: text.strip("./ %") != "")


@given(
    st.sampled_from([REGISTRY, "https://other.example/", "http://other.example:8080/"]), st.lists(segments, max_size=5)
)
def test_a_served_path_leads_back_to_the_key(base: str, parts: list[str]) -> None:
    url = base + "/".join(parts)
    place = place_of(REGISTRY, REGISTRY, url)
    if place is not None:
        assert key_of_path(REGISTRY, place.path) == urls.key_of(place.url)
        assert "?" not in place.path
        assert (package_of(place.path) != "") != place.path.startswith("-/files/")


@given(st.text(max_size=60))
def test_any_path_of_a_client_is_a_key_or_an_error(path: str) -> None:
    try:
        key = key_of_path(REGISTRY, path)
    except (BadPath, Absent):
        return
    assert urls.key_of(key) == key


def test_a_path_that_climbs_is_refused() -> None:
    with pytest.raises(CacheError):
        key_of_path(REGISTRY, "left/-/%2e%2e/%2e%2e/secret")


def sri(algorithm: str, data: bytes = b"x") -> str:
    return f"{algorithm}-{b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def hexed(algorithm: str, data: bytes = b"x") -> dict[str, str]:
    return {algorithm: hashlib.new(algorithm, data).hexdigest()}


SHASUM = hashlib.sha1(b"x").hexdigest()


@pytest.mark.parametrize(
    ("dist", "hashes"),
    [
        ({"integrity": sri("sha512"), "shasum": "0" * 40}, hexed("sha512")),
        ({"integrity": f"{sri('sha1')} {sri('sha512')}"}, hexed("sha512")),
        ({"integrity": f"  {sri('sha512')}?option \n"}, hexed("sha512")),
        ({"integrity": f"{sri('sha512')} {sri('sha512')}"}, hexed("sha512")),
        ({"integrity": f"{sri('sha512')} {sri('sha512', b'y')} {sri('sha1')}"}, hexed("sha1")),
        ({"integrity": sri("sha384")}, hexed("sha384")),
        ({"integrity": sri("sha1")}, hexed("sha1")),
        ({"shasum": SHASUM.upper()}, hexed("sha1")),
        ({"integrity": "", "shasum": SHASUM}, hexed("sha1")),
        ({"integrity": "md5-aaaa", "shasum": SHASUM}, hexed("sha1")),
        ({"integrity": "sha512-AAAA"}, {}),
        ({"integrity": "sha512-ä", "shasum": "zz"}, {}),
        ({"integrity": 5, "shasum": None}, {}),
        ({}, {}),
    ],
)
def test_digests(dist: dict[str, object], hashes: dict[str, str]) -> None:
    assert hashes_of(dist) == hashes
