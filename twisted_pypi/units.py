"""Texts of the configuration as values: durations, sizes, networks, hosts, URLs, paths.

Every function takes one text and raises `ValueError` with a one-line problem. A problem never repeats what may hold a
secret: URLs and tokens are not echoed.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from twisted_pypi.urls import key_of, origin_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
HEALTH_CHECKS = frozenset({"healthz", "readyz"})

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_LONGEST = 1e10  # three centuries: beyond it, sums with the clock lose their fractions
_LARGEST = (1 << 63) - 1  # what SQLite can hold
_WORDS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


@frozen
class Address:
    """An http(s) URL, parted from the credentials that stood in it.

    `url` is canonical and ends with one slash; `username` and `password` are percent-decoded, "" when absent.
    """

    url: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def shown(text: str) -> str:
    """A harmless text as it may stand in a one-line problem."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def duration(text: str) -> float:
    """Seconds, from `90`, `2.5`, `90s`, `5m`, `12h` or `30d`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
    if match is None:
        raise ValueError(f"{shown(text)} is no duration: seconds, or as in 90s 5m 12h 30d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST:
        raise ValueError(f"{shown(text)} is too long")
    return seconds


def positive_duration(text: str) -> float:
    """A `duration` that is not 0."""
    seconds = duration(text)
    if not seconds:
        raise ValueError("must be more than 0")
    return seconds


def size(text: str) -> int:
    """Bytes, from `1048576`, `512K`, `100M`, `1.5G` or `2T`, in steps of 1024."""
    match = re.fullmatch(r"([0-9]+)|([0-9]+(?:\.[0-9]+)?)([kmgt])", text.lower())
    if match is None:
        raise ValueError(f"{shown(text)} is no size: bytes, or as in 512K 100M 50G")
    if len(text) > 40:
        raise ValueError(f"{shown(text)} is too large")
    amount = int(match[1]) if match[1] else _scaled(match[2], _BYTES[match[3]])
    if amount > _LARGEST:
        raise ValueError(f"{shown(text)} is too large")
    return amount


def shown_size(amount: int) -> str:
    """Bytes as people read them: 1.5G; exact up to 1023 bytes."""
    value = float(amount)
    for suffix in ("", "K", "M", "G"):
        if value < 1024:
            return f"{value:.1f}".removesuffix(".0") + suffix
        value /= 1024
    return f"{value:.1f}".removesuffix(".0") + "T"


def _scaled(amount: str, unit: int) -> int:
    whole, _, fraction = amount.partition(".")
    return int(int(whole + fraction) * unit // 10 ** len(fraction))


def unless(word: str, parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse`, with `word` for None."""

    def parse_or_none(text: str) -> object:
        return None if text.lower() == word else parse(text)

    return parse_or_none


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of decimal integers within bounds, both inclusive."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"{shown(text)} is no whole number from {lowest} to {highest}")
        return int(text)

    return parse


_ABSENT = (301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 410, 422, 451)


def absent_status(text: str) -> int:
    """A status by which an index may say that it lacks a project: a redirect, or a 4xx that doesn't say "later"."""
    if text not in map(str, _ABSENT):
        raise ValueError(f"{shown(text)} does not say that a project is lacking; {', '.join(map(str, _ABSENT))} may")
    return int(text)


def boolean(text: str) -> bool:
    """True for 1/true/yes/on, False for 0/false/no/off."""
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ValueError(f"{shown(text)} is neither true nor false") from None


def network(text: str) -> Network:
    """The network of an address or CIDR (RFC 4632); host bits may be set."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)} is no address or network, as in 10.0.0.0/8") from None


def host(text: str) -> str:
    """`host` or `host:port` in lower case, IDNA-encoded, without the https port; IPv6 addresses in brackets."""
    try:
        return _netloc_of(text)
    except ValueError:
        raise ValueError("not a host, as in files.example or files.example:8443") from None


def _netloc_of(text: str) -> str:
    if re.search(r"[/@?#\\]", text):
        raise ValueError
    return origin_of(_checked_url(f"https://{text}")).netloc


def _checked_url(text: str) -> str:
    """The URL, if its characters, host and port can be those of an http(s) URL."""
    name = urlsplit(text).hostname or ""
    if re.search(r"[\s\x00-\x1f\x7f\\]", text) or not re.fullmatch(r"[\w.-]+|[0-9a-f:.]+", name):
        raise ValueError
    origin_of(text)
    return text


def address(text: str) -> Address:
    """An absolute http(s) URL, which may hold credentials but neither query nor fragment."""
    try:
        parts = urlsplit(_checked_url(text))
        url = key_of(text).rstrip("/") + "/"
    except ValueError:
        raise ValueError("not an absolute http or https URL (is the password percent-encoded?)") from None
    if parts.query or parts.fragment:
        raise ValueError("the URL must have neither query nor fragment")
    return Address(url, unquote(parts.username or ""), unquote(parts.password or ""))


def plain_url(text: str) -> str:
    """An absolute http(s) URL without credentials; it ends with one slash."""
    parsed = address(text)
    if parsed.username or parsed.password:
        raise ValueError("the URL must not hold credentials")
    return parsed.url


def proxy(text: str) -> Address:
    """The URL of an HTTP proxy, which may hold credentials; its `url` is "" for `none`."""
    if text.lower() == "none":
        return Address("")
    parsed = address(text)
    if origin_of(parsed.url).scheme != "http" or urlsplit(parsed.url).path != "/":
        raise ValueError("a proxy is named as in http://proxy.example:3128")
    return parsed


def base_url(text: str) -> str:
    """An absolute http(s) URL without credentials, to be put before an absolute path: it does not end with a slash."""
    return plain_url(text).rstrip("/")


def prefix(text: str) -> str:
    """A path below which everything is served: "" for the root, else as in `/pypi`."""
    segments = [segment for segment in text.split("/") if segment]
    for segment in segments:
        if segment in (".", "..") or not re.fullmatch(r"[A-Za-z0-9._~+@-]+", segment):
            raise ValueError(f"{shown(text)} is no path of plain names, as in /pypi")
    if segments and segments[0] in HEALTH_CHECKS:
        raise ValueError(f"/{segments[0]} is the name of a health check")
    return "".join(f"/{segment}" for segment in segments)


def path(text: str) -> str:
    """An absolute path in the file system (the daemon changes its working directory); `~` is the home."""
    if not text or "\0" in text:
        raise ValueError("not a path")
    return os.path.abspath(os.path.expanduser(text))


def log_path(text: str) -> str | None:
    """A path, "-" for stdout, None for `none` or `off`."""
    if text == "-":
        return text
    return None if text.lower() in ("none", "off") else path(text)


def log_format(text: str) -> str:
    """The name of a form of access log lines."""
    if text.lower() not in LOG_FORMATS:
        raise ValueError(f"{shown(text)} is none of {' '.join(LOG_FORMATS)}")
    return text.lower()


def log_level(text: str) -> str:
    """The name of a `twisted.logger.LogLevel`."""
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"{shown(text)} is none of {' '.join(LOG_LEVELS)}")
    return text.lower()


def secret(text: str) -> str:
    """What goes into an HTTP header as it is: visible ASCII."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("must be visible ASCII characters without blanks")
    return text


def interface(text: str) -> str:
    """An address to bind, which the preflight judges; an IPv6 address may stand in brackets."""
    return words(text).removeprefix("[").removesuffix("]")


def words(text: str) -> str:
    """Any text but an empty one (endpoints, which Twisted judges)."""
    if not text or not text.isprintable():
        raise ValueError("must not be empty or hold control characters")
    return text
