"""The addresses of local directories, so that pages, keys and served paths are made as for any index.

They are below a name that never resolves (`.invalid`, RFC 6761, 6.4): whatever escapes to the network reaches nobody.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

DOMAIN = ".directory.invalid"

_FILES = "/packages/"


def origin_of_directory(name: str) -> str:
    """The origin of the index with this name, with its final slash. Names that differ in case alone share it."""
    return f"https://{name.lower()}{DOMAIN}/"


def host_in(url: str) -> str:
    """The host in a URL that is one of a local directory, "" in others."""
    host = urlsplit(url).hostname or ""
    return host if host.endswith(DOMAIN) else ""


def file_in(key: str) -> str:
    """The name of the file that a key means, "" if it can't be one of a directory: those are all in one place."""
    path = urlsplit(key).path
    name = unquote(path.removeprefix(_FILES))
    return name if path.startswith(_FILES) and "/" not in name else ""


def project_in(url: str) -> str | None:
    """The normalised project whose page a URL means, "" for the list of all; None for any other URL."""
    path = urlsplit(url).path
    name = path.removeprefix("/simple/").removesuffix("/")
    return name if path.startswith("/simple/") and "/" not in name else None
