"""Served paths and the URLs behind them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi import urls
from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.pypi.links import Linker, key_of_path, url_of

BASE = "https://index.example/root/simple/foo/"
PACKAGES = "https://files.example/packages/"


@pytest.mark.parametrize(
    ("reference", "url", "path"),
    [
        (
            "https://files.example/packages/aa/f-1.whl",
            "https://files.example/packages/aa/f-1.whl",
            "packages/aa/f-1.whl",
        ),
        (
            "https://FILES.example:443/packages/f-1.whl#sha256=00",
            "https://files.example/packages/f-1.whl",
            "packages/f-1.whl",
        ),
        (
            "https://files.example/packagesx/f.whl",
            "https://files.example/packagesx/f.whl",
            "files/files.example/packagesx/f.whl",
        ),
        (
            "http://files.example/packages/f.whl",
            "http://files.example/packages/f.whl",
            "files/http:files.example/packages/f.whl",
        ),
        ("https://o.example:8443/a/f.whl", "https://o.example:8443/a/f.whl", "files/o.example:8443/a/f.whl"),
        ("http://127.0.0.1:80/f.whl", "http://127.0.0.1/f.whl", "files/http:127.0.0.1/f.whl"),
        ("http://[::1]:3141/f.whl", "http://[::1]:3141/f.whl", "files/http:[::1]:3141/f.whl"),
        (
            "../../packages/f.whl",
            "https://index.example/root/packages/f.whl",
            "files/index.example/root/packages/f.whl",
        ),
        ("f.whl", BASE + "f.whl", "files/index.example/root/simple/foo/f.whl"),
        ("/f.whl", "https://index.example/f.whl", "files/index.example/f.whl"),
        ("//o.example/f.whl", "https://o.example/f.whl", "files/o.example/f.whl"),
        ("./a/../f.whl", BASE + "f.whl", "files/index.example/root/simple/foo/f.whl"),
        ("https://o.example/a%2Fb/f%2B1.whl", "https://o.example/a%2Fb/f%2B1.whl", "files/o.example/a%2Fb/f%2B1.whl"),
        ("https://o.example/f+1.whl?sig=s3", "https://o.example/f+1.whl?sig=s3", "files/o.example/f+1.whl"),
        ("https://u:p@o.example/f.whl", "https://o.example/f.whl", "files/o.example/f.whl"),
        ("https://o.example//a//f.whl", "https://o.example//a//f.whl", "files/o.example//a//f.whl"),
        ("https://o.example/é f.whl", "https://o.example/é f.whl", "files/o.example/%C3%A9%20f.whl"),
    ],
)
def test_links_get_a_place(reference: str, url: str, path: str) -> None:
    place = Linker(BASE, PACKAGES).place(reference)
    assert place is not None
    assert (place.url, place.path) == (url, path)
    assert key_of_path(path, PACKAGES) == urls.key_of(url)


@pytest.mark.parametrize(
    "reference",
    [
        "ftp://o.example/f.whl",
        "file:///f.whl",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://o.example/",
        "https://o.example",
        "https://o.example/%2e%2e/f.whl",
        "https://o.example/a%00.whl",
        "https://o.example:99999/f.whl",
        "https://a$b/f.whl",
        "https://[zz]/f.whl",
        "https://-",
        "",
    ],
)
def test_what_cannot_be_served_gets_none(reference: str) -> None:
    assert Linker(BASE, PACKAGES).place(reference) is None


def test_without_a_packages_url_all_files_are_below_files() -> None:
    place = Linker(BASE, "").place(PACKAGES + "f.whl")
    assert place is not None
    assert place.path == "files/files.example/packages/f.whl"


SEGMENTS = st.text(st.sampled_from("aZ0.-_+~!%@:;,=&$'()* é[]\\\"<>{}|^`"), min_size=1, max_size=8)
HOSTS = st.sampled_from(["files.example", "o.example", "o.example:8080", "[::1]:81", "127.0.0.1"])


def unusable(segment: str) -> bool:
    text = unquote(segment)
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", text)) or any(c < " " or c == "\x7f" for c in text)


@given(st.sampled_from(["http", "https"]), HOSTS, st.lists(SEGMENTS, min_size=1, max_size=4), st.booleans())
def test_a_served_path_leads_back_to_the_key(scheme: str, host: str, segments: list[str], packages: bool) -> None:
    url = f"{scheme}://{host}/{'packages/' if packages else ''}{'/'.join(segments)}"
    place = Linker(BASE, PACKAGES).place(url)
    if place is None:
        # urljoin leaves out an empty parameter, the semicolon with it.
        assert not segments[-1].strip(" ;") or any(map(unusable, segments))
        return
    assert place.path.isascii()
    assert not set(place.path) & set(' ?#"<>')
    assert key_of_path(place.path, PACKAGES) == urls.key_of(place.url)
    # pip decodes and encodes each part of a link before it asks for it.
    if b"\xef\xbf\xbd" not in unquote(place.path).encode():  # it can't, where that isn't UTF-8
        again = "/".join(quote(unquote(part), safe="") for part in place.path.split("/"))
        assert key_of_path(again, PACKAGES) == urls.key_of(place.url)


@given(
    st.sampled_from(["https://o.example/", "/", "../", "../../", "", PACKAGES]),
    st.from_regex(r"[a-z]{1,3}(/[a-z.]{1,4}){0,3}x", fullmatch=True),
)
def test_the_short_way_for_plain_links_agrees_with_resolving(lead: str, rest: str) -> None:
    linker = Linker(BASE, PACKAGES)
    assert linker.place(lead + rest) == linker._resolved(lead + rest)


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("packages/a%20b", PACKAGES + "a%20b"),
        ("files/O.Example/a", "https://o.example/a"),
        ("files/http%3A%5B::1%5D:81/a", "http://[::1]:81/a"),
    ],
)
def test_the_url_behind_a_path(path: str, url: str) -> None:
    assert url_of(path, PACKAGES) == url


@pytest.mark.parametrize("path", ["files", "files/", "files/o.example", "files/o.example/", "packages/", "other/a"])
def test_paths_that_name_no_file(path: str) -> None:
    with pytest.raises(Absent):
        url_of(path, PACKAGES)


@pytest.mark.parametrize(
    "host",
    [
        "https:o.example",
        "ftp:o.example",
        "o.example:0",
        "o.example:99999",
        "o.example:",
        "u@o",
        "a%2Fb",
        "[zz]",
        "-o",
        "o?x",
    ],
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(BadPath):
        key_of_path(f"files/{host}/a.whl", PACKAGES)
