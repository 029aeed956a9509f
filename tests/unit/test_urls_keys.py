"""`urls.key_of`: the short way, for what is a key already, leads where the long way does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_pypi import urls
from twisted_pypi.urls import key_of

NEVER = re.compile(r"(?!)")

hosts = st.from_regex(r"[a-zA-Z0-9.-]{1,12}", fullmatch=True) | st.text(max_size=5)
ports = st.sampled_from(["", ":", ":80", ":443", ":8080", ":0", ":08", ":65536", ":99999"])
segments = st.text(alphabet="aZ0._-~%2eF+;,@!\\\u00e9\x00 ", max_size=5) | st.sampled_from(["", ".", ".."])
endings = st.sampled_from(["", "?a=b", "#c", "/"])


def outcome(url: str) -> str:
    try:
        return key_of(url)
    except ValueError:
        return "refused"


@settings(max_examples=500)
@given(st.sampled_from(["http", "https", "HTTP", "ftp"]), hosts, ports, st.lists(segments, max_size=4), endings)
def test_both_ways_agree(scheme: str, host: str, port: str, path: list[str], ending: str) -> None:
    url = f"{scheme}://{host}{port}{''.join(f'/{segment}' for segment in path)}{ending}"
    short = outcome(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urls, "_KEY", NEVER)
        assert outcome(url) == short


def test_a_key_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "origin_of", None)
    url = "https://files.example/packages/0f/c1/small-1.0.0-py3-none-any.whl"
    assert key_of(url) == url
    with pytest.raises(TypeError):
        key_of(f"{url}?signature=1")
