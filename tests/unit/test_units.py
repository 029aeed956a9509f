"""Texts as values."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi import units

DURATIONS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@given(st.integers(0, 100_000), st.sampled_from(sorted(DURATIONS)))
def test_durations_with_and_without_unit(amount: int, unit: str) -> None:
    assert (
        units.duration(f"{amount}{unit}") == units.duration(str(amount * DURATIONS[unit])) == amount * DURATIONS[unit]
    )


@given(st.integers(0, 100_000), st.sampled_from(sorted(SIZES)))
def test_sizes_with_and_without_unit(amount: int, unit: str) -> None:
    assert units.size(f"{amount}{unit}") == units.size(f"{amount}{unit.lower()}") == amount * SIZES[unit]
    assert units.size(str(amount * SIZES[unit])) == amount * SIZES[unit]


def test_fractions() -> None:
    assert units.duration("0.5") == 0.5
    assert units.duration("1.5m") == 90
    assert units.size("1.5K") == 1536


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "+1", "1 s", "1ms", "1M", "1e3", "inf", "nan", ".5", "1.", "٣", "9" * 400]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"no duration|too long"):
        units.duration(text)


@pytest.mark.parametrize(
    "text", ["", "K", "-1", "1.5", "1 K", "1KB", "1P", "5%", "٣", "9" * 20, "9" * 5000, "9999999999T"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|too large"):
        units.size(text)


def problem(parse: Callable[[str], object], text: str) -> str:
    """What `parse` has against the text, "fine" if nothing."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return "fine"


PARSERS = (
    units.duration,
    units.size,
    units.boolean,
    units.network,
    units.host,
    units.address,
    units.plain_url,
    units.base_url,
    units.prefix,
    units.log_level,
    units.secret,
    units.words,
    units.interface,
    units.path,
    units.log_path,
    units.whole_number(0, 9),
)


@given(st.sampled_from(PARSERS), st.one_of(st.text(), st.text("/:@[].%?#09az \t", max_size=20).map("https://".__add__)))
def test_any_text_is_a_value_or_a_problem_of_one_line(parse: Callable[[str], object], text: str) -> None:
    assert problem(parse, text).isprintable()


@given(st.sampled_from(["address", "plain_url", "base_url", "host", "secret"]), st.text("@:/ ?#%[]", max_size=8))
def test_what_may_hold_a_secret_is_not_repeated(name: str, noise: str) -> None:
    for text in (f"https://u{noise}hunter2{noise}@h.example/", f"u:hunter2{noise}", f"{noise}hunter2\x01"):
        assert "hunter2" not in problem(getattr(units, name), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h.example", units.Address("https://h.example/")),
        ("HTTPS://H.Example:443/simple//", units.Address("https://h.example/simple/")),
        ("http://u:p%40@h.example:81/a", units.Address("http://h.example:81/a/", "u", "p@")),
        ("http://[::1]:81/", units.Address("http://[::1]:81/")),
        ("https://bücher.example/", units.Address("https://xn--bcher-kva.example/")),
    ],
)
def test_addresses(text: str, expected: units.Address) -> None:
    assert units.address(text) == expected
    assert units.address(expected.url).url == expected.url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h.example",
        "ftp://h.example/",
        "https:///simple",
        "https://h.example:x/",
        "https://h ost/",
        "https://h/%2e%2e/",
        "https://h.example/?q=1",
        "https://h.example/#f",
        "https://h.example\n/",
        "https://h\\@x.example/",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        units.address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H.Example", "h.example"),
        ("h.example:8443", "h.example:8443"),
        ("h.example:443", "h.example"),
        ("[::1]:81", "[::1]:81"),
    ],
)
def test_hosts(text: str, expected: str) -> None:
    assert units.host(text) == expected


@pytest.mark.parametrize("text", ["", "https://h", "h/", "u@h", "h:x", "*.h", "h?", "a b"])
def test_no_hosts(text: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        units.host(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/", ""),
        ("", ""),
        ("pypi", "/pypi"),
        ("/pypi/", "/pypi"),
        ("//a//b-1.2/", "/a/b-1.2"),
        ("/x/healthz", "/x/healthz"),
    ],
)
def test_prefixes(text: str, expected: str) -> None:
    assert units.prefix(text) == expected


@pytest.mark.parametrize("text", ["/..", "/a/./b", "/a?b", "/a#b", "/a b", "/%61", '/"', "/healthz", "/readyz/x", "/é"])
def test_no_prefixes(text: str) -> None:
    with pytest.raises(ValueError, match=r"no path|health check"):
        units.prefix(text)


def test_networks_may_have_host_bits_and_may_be_addresses() -> None:
    assert [str(units.network(text)) for text in ("10.1.2.3/8", "127.0.0.1", "fd00::1/8")] == [
        "10.0.0.0/8",
        "127.0.0.1/32",
        "fd00::/8",
    ]


def test_paths_are_absolute_because_the_daemon_moves() -> None:
    assert units.path("cache") == os.path.join(os.getcwd(), "cache")
    assert units.log_path("-") == "-"
    assert units.log_path("None") is units.log_path("off") is None
    assert units.log_path("/l/../log") == "/log"


def test_small_ones() -> None:
    assert [units.boolean(word) for word in ("1", "TRUE", "yes", "on", "0", "false", "No", "off")] == [True] * 4 + [
        False
    ] * 4
    assert units.interface("[::1]") == "::1"
    assert units.base_url("https://h.example/x/") == "https://h.example/x"
    assert units.log_level("INFO") == "info"
    with pytest.raises(ValueError, match="credentials"):
        units.plain_url("https://u@h.example/")
