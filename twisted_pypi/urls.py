"""URLs as values: origins, keys, and what may be shown of them.

A key is the canonical form of a URL without query and fragment: two spellings of one path (`+` and `%2B`, `%7e` and
`~`) have one key, two different paths (`a%2Fb` and `a/b`) have two.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from attrs import frozen

DEFAULT_PORTS = {"http": 80, "https": 443}

# What a request line may hold as a path, raw (RFC 9112, 3.2).
_RAW_PATH = re.compile(r"/[!\"$->@-~]*")
_AMBIGUOUS = re.compile(r"%2F|%5C|%25|//|/\.{1,2};")
HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|[0-9a-f]*:[0-9a-f:.]+")
"""A host as it stands in an `Origin`: a name, or an address of either family."""

_LONGEST_HOST = 253  # RFC 1035, 2.3.4, as text


@frozen
class Origin:
    """Scheme, lower-case host and port of a URL (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        """`host` or `host:port`, an IPv6 address in brackets, the default port left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """The origin of an absolute http(s) URL. Raises `ValueError` for anything else, and for what is no host or port."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {without_secrets(url)}")
    host = parts.hostname
    try:
        # Other scripts' digits and dots become ASCII, so what they spell may be an address.
        ascii_host = (host if host.isascii() else host.encode("idna").decode("ascii")).rstrip(".")
    except UnicodeError as error:
        raise ValueError(f"not a host name: {host[:80]!a}") from error
    if not HOST.fullmatch(ascii_host) or len(ascii_host) > _LONGEST_HOST or parts.port == 0:
        raise ValueError(f"not a host and port: {host[:80]!a}")
    return Origin(parts.scheme, ascii_host, parts.port or DEFAULT_PORTS[parts.scheme])


def canonical_path(path: str) -> str:
    """A raw path with every segment decoded and encoded again in one way (RFC 3986, 6.2.2). Slashes stay slashes.

    Raises `ValueError` for `.` and `..` segments in any encoding, between encoded slashes and backslashes too (an
    upstream may take them for slashes), NUL and other control characters.
    """
    return "/".join(_canonical_segment(segment) for segment in path.split("/"))


def check_path(path: str) -> None:
    """Raises `ValueError` for what isn't a raw path of a request line, or has no canonical form."""
    if not _RAW_PATH.fullmatch(path):
        raise ValueError("the path is not one that HTTP allows")
    canonical_path(path)


def _canonical_segment(segment: str) -> str:
    raw = unquote_to_bytes(segment)
    if not {b".", b".."}.isdisjoint(raw.replace(b"\\", b"/").split(b"/")) or any(
        byte < 0x20 or byte == 0x7F for byte in raw
    ):
        raise ValueError(f"not a usable path segment: {segment[:80]!r}")
    return quote(raw, safe="~!$&'()*,;=:@")


def is_ambiguous(path: str) -> bool:
    """Whether some server could take a canonical path for another one.

    That may decode twice, decode slashes, drop empty segments or parameters (`..;a`), or read overlong UTF-8.
    """
    if _AMBIGUOUS.search(path):
        return True
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return True
    return False


# Most URLs that a page names are their own keys already, and a page may name thousands.
_KEY = re.compile(
    r"https?://[a-z0-9](?:[a-z0-9.-]{0,60}[a-z0-9])?(?::(?!80/|443/)(?:[1-9]\d{0,3}|[1-5]\d{4}))?"
    r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+"
)


def key_of(url: str) -> str:
    """The key of an absolute http(s) URL. Raises `ValueError` if it is none, or its path isn't usable."""
    if _KEY.fullmatch(url):
        return url
    return f"{origin_of(url)}{canonical_path(urlsplit(url).path) or '/'}"


def resolve(base: str, reference: str) -> str | None:
    """The absolute http(s) URL of a link, without fragment and user info; None when it is no such URL."""
    try:
        url = urljoin(base, reference.strip())
        parts = urlsplit(url)
        origin = origin_of(url)
    except ValueError:
        return None
    return parts._replace(netloc=origin.netloc, fragment="").geturl()


def without_secrets(url: str) -> str:
    """The URL as it may be logged: no user info, no query, no fragment; "" for what is no URL at all."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def is_below(url: str, base: str) -> bool:
    """Whether `url` is `base` or lies below it, as a directory: same origin, path prefix at a slash."""
    prefix = urlsplit(base).path.rstrip("/") + "/"
    return origin_of(url) == origin_of(base) and (urlsplit(url).path.rstrip("/") + "/").startswith(prefix)
