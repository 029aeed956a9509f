"""Who may be asked, with which credentials, where redirects may lead, and what headers say."""

from __future__ import annotations

import base64

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from twisted_pypi.errors import UpstreamFailed
from twisted_pypi.fetching.answers import headers_of, retry_after
from twisted_pypi.fetching.credentials import authorization
from twisted_pypi.fetching.exchange import wire_url
from twisted_pypi.fetching.policy import IndexRules, OriginPolicy
from twisted_pypi.fetching.redirects import target_of
from twisted_pypi.urls import Origin, origin_of

INDEX = "https://index.example/repo/simple/"


@frozen
class Secret:
    username: str = ""
    password: str = ""
    token: str = ""


def test_basic_is_utf8_and_a_token_wins() -> None:
    basic = authorization(Secret("me", "pä:ss"), INDEX, INDEX + "x/", False)
    assert basic == "Basic " + base64.b64encode("me:pä:ss".encode()).decode()
    assert authorization(Secret("me", "pass", "t0ken"), INDEX, INDEX, False) == "Bearer t0ken"
    assert authorization(None, INDEX, INDEX, True) is None


@pytest.mark.parametrize(
    ("url", "named", "given_"),
    [
        ("https://index.example/repo/simple/x/", False, True),
        ("https://index.example:443/repo/simple", False, True),
        ("https://index.example/repo/simpleton/", False, False),
        ("https://index.example/packages/x.whl", False, False),
        ("https://index.example/packages/x.whl", True, True),
        ("http://index.example/repo/simple/x/", True, False),
        ("https://index.example:8443/repo/simple/x/", True, False),
        ("https://files.example/packages/x.whl", True, False),
        ("https://index.example/repo/simple/../../other/", False, False),
        ("https://index.example/repo/simple/%2e%2E/other/", True, False),
        ("https://index.example.evil.example/repo/simple/x/", True, False),
    ],
)
def test_where_credentials_go(url: str, named: bool, given_: bool) -> None:
    assert (authorization(Secret("me", "pass"), INDEX, url, named) is not None) is given_


def policy() -> OriginPolicy:
    files = frozenset({Origin("https", "files.example", 443)})
    secret = Secret("me", "hunter2", "")
    return OriginPolicy(
        {
            "main": IndexRules("main", INDEX, files, secret),
            "other": IndexRules("other", "http://10.0.0.1:3141/root/"),
        }
    )


def test_configured_origins_are_trusted_for_all() -> None:
    for url in (INDEX, "https://files.example/x", "http://10.0.0.1:3141/x"):
        assert policy().enter(url, named=False) == origin_of(url)


@pytest.mark.parametrize("url", ["https://elsewhere.example/x", "http://files.example/x", "https://files.example:444/"])
def test_other_origins_must_have_been_named(url: str) -> None:
    with pytest.raises(UpstreamFailed, match="forbidden origin"):
        policy().enter(url, named=False)
    assert policy().enter(url, named=True) == origin_of(url)


def test_unknown_index_and_unusable_url() -> None:
    with pytest.raises(UpstreamFailed, match="no index is called 'nope'"):
        policy().rules("nope", INDEX)
    with pytest.raises(UpstreamFailed, match="not an http"):
        policy().enter("ftp://index.example/", named=True)


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("https://index.example/repo/simple/x/", None),
        ("https://index.example/elsewhere/x/", None),
        ("https://files.example/x/", None),
        ("http://10.0.0.1:3141/root/pypi/x/", "other"),
        ("http://10.0.0.1:3141/other/x/", ""),
        ("https://stranger.example/x/", ""),
        ("https://index.example:8443/repo/simple/x/", None),
        ("http://index.example:8080/repo/simple/x/", ""),
    ],
)
def test_whose_a_redirect_is(target: str, other: str | None) -> None:
    assert policy().away("main", target) == other


def test_one_index_below_another() -> None:
    nested = OriginPolicy(
        {"all": IndexRules("all", "https://h.example/"), "one": IndexRules("one", "https://h.example/one/")}
    )
    assert nested.away("one", "https://h.example/one/x/") is None
    assert nested.away("one", "https://h.example/x/") == "all"
    assert nested.away("all", "https://h.example/one/x/") is None


def test_another_place_of_an_index_is_its_own() -> None:
    places = OriginPolicy(
        {
            "inside": IndexRules("inside", "https://a.example/simple/"),
            "inside at b": IndexRules("inside at b", "https://b.example/simple/", index="inside"),
            "main": IndexRules("main", "https://main.example/simple/"),
        }
    )
    assert places.away("inside", "https://b.example/simple/x/") is None
    assert places.away("inside at b", "https://a.example/simple/x/") is None
    assert places.away("main", "https://b.example/simple/x/") == "inside at b"
    assert places.away("inside at b", "https://main.example/simple/x/") == "main"


def test_rules_show_no_secret() -> None:
    assert "hunter2" not in repr(policy())


def test_redirect_targets() -> None:
    assert target_of(INDEX, "../x?sig=1#top") == "https://index.example/repo/x?sig=1"
    assert target_of(INDEX, "https://me:pw@cdn.example/x") == "https://cdn.example/x"
    assert target_of("http://a.example/", "https://b.example/") == "https://b.example/"


@pytest.mark.parametrize("location", [None, "", "ftp://x.example/", "http://", "http://index.example/repo/"])
def test_redirects_not_followed(location: str | None) -> None:
    with pytest.raises(UpstreamFailed, match="redirects"):
        target_of(INDEX, location)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *((None, None), ("", None), ("soon", None), ("-3", None), ("0", 0), (" 17 ", 17), ("1.5", None), ("²", None)),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0),
    ],
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    assert retry_after(value, now=10.0) == seconds


@given(st.text(max_size=60))
def test_retry_after_of_anything(value: str) -> None:
    result = retry_after(value, 0.0)
    assert result is None or result >= 0


def test_headers_keep_the_first_and_join_cache_status() -> None:
    headers = Headers({"ETag": ['"a"', '"b"'], "Cache-Status": ["one; hit", "two"]})
    assert headers_of(headers, 7) == {"etag": '"a"', "cache-status": "one; hit, two", "content-length": "7"}
    assert "content-length" not in headers_of(headers, None)


@pytest.mark.parametrize("value", ["x" * 1001, '"a\x00b"', '"\x1b[2J"'])
def test_validators_that_are_none_are_left_out(value: str) -> None:
    assert headers_of(Headers({"ETag": [value], "Last-Modified": [value], "Server": ["x" * 1001]}), None) == {
        "server": "x" * 1001
    }


@pytest.mark.parametrize(
    ("url", "wire"),
    [
        ("https://index.example", b"https://index.example:443/"),
        ("http://[2001:db8::1]/a", b"http://[2001:db8::1]:80/a"),
        ("https://bücher.example/ä b?q=ü&r=%20", b"https://xn--bcher-kva.example:443/%C3%A4%20b?q=%C3%BC&r=%20"),
        ("https://x.example:8443/a%2Fb+c", b"https://x.example:8443/a%2Fb+c"),
    ],
)
def test_urls_on_the_wire(url: str, wire: bytes) -> None:
    assert wire_url(url) == wire
