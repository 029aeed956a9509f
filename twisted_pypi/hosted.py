"""Files at any host as paths of ours: `HOST[:PORT]/PATH` is there over https, `http:HOST[:PORT]/PATH` over http. Pure.

Law: a path made of a URL leads back to that URL's key. No query (it may be a signature) is ever part of a path.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.urls import origin_of

_HOST_SEGMENT = re.compile(r"(http:)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?", re.IGNORECASE)


def quoted(path: str) -> str:
    """The path as upstream spelled it, save for what no URL may hold."""
    return quote(path, safe="/%~!$&'()*,;=:@+")


def path_of(url: str) -> str:
    """The path for an absolute http(s) URL."""
    origin = origin_of(url)
    scheme = "" if origin.scheme == "https" else "http:"
    return f"{scheme}{origin.netloc}{quoted(urlsplit(url).path or '/')}"


def url_of(path: str) -> str:
    """The URL behind a raw path. Raises `BadPath` if the host is none, `Absent` if no file is named."""
    # pip quotes the paths that it is given anew, and ":" and "[" with them.
    host, _, below = path.partition("/")
    match = _HOST_SEGMENT.fullmatch(unquote(host))
    if match is None:
        raise BadPath(f"{host[:80]!a} is not HOST, HOST:PORT or http:HOST[:PORT]")
    if not below:
        raise Absent("this path names no file")
    scheme, name, port = match.groups()
    return f"{'http' if scheme else 'https'}://{name.lower()}{':' + port if port else ''}/{below}"
