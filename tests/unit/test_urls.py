"""URLs from outside: what is a host, what is a path, what may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twisted_pypi.urls import key_of, origin_of, resolve, without_secrets


@pytest.mark.parametrize(
    ("url", "netloc"),
    [
        ("https://Host.Example:443/", "host.example"),
        ("https://host.example./", "host.example"),
        ("https://host.example。/", "host.example"),
        ("http://①②⑦。0.0.1/", "127.0.0.1"),
        ("http://169｡254｡169｡254/", "169.254.169.254"),
        ("http://user:pw@[::FFFF:127.0.0.1]:81/", "[::ffff:127.0.0.1]:81"),
        ("http://2130706433/", "2130706433"),
        ("http://trusted.example@evil.example/", "evil.example"),
        ("http://evil.example#@trusted.example/", "evil.example"),
    ],
)
def test_one_spelling_of_an_origin(url: str, netloc: str) -> None:
    assert origin_of(url).netloc == netloc


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "...", "a b", "%31", "a%2Fb", "a_-", "-a", "a,b", "(a)", "a\\b", "x" * 254),
        *("[::1%25eth0]", "[", "[::1", "[zz::]", "a:0", "a:65536", "a:-1", "a:x", "\x00", "é" * 64),
    ],
)
def test_what_is_no_host_is_no_origin(host: str) -> None:
    assert resolve("https://index.example/simple/", f"http://{host}/x") is None


@pytest.mark.parametrize(
    "path", ["a/..", "a%2F..%2Fb", "..%5Cb", "a\\..\\b", "%2e%2E/b", "a/.", "%00", "a%0d%0ab", "%7f"]
)
def test_paths_that_lead_elsewhere_are_no_keys(path: str) -> None:
    with pytest.raises(ValueError, match="segment"):
        key_of(f"https://o.example/{path}")


@given(st.text(max_size=60))
@example("0?@")
def test_nothing_of_a_link_is_a_surprise(text: str) -> None:
    for link in (text, f"http://{text}", f"//{text}/x", f"/{text}"):
        url = resolve("https://index.example/simple/a/", link)
        assert url is None or (origin_of(url) and "@" not in urlsplit(url).netloc and "#" not in url)


@given(st.text(max_size=40), st.text(st.characters(exclude_characters="/?#@[]:"), min_size=9, max_size=30))
def test_nothing_secret_of_a_url_is_shown(around: str, secret: str) -> None:
    for url in (
        f"https://user:{secret}@o.example/{around}",
        f"https://o.example/a?{secret}",
        f"https://o.example/#{secret}",
    ):
        shown = without_secrets(url)
        assert secret not in shown or secret in around
