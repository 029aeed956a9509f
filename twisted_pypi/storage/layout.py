"""Which name on disk a key has. Pure.

Laws, for canonical keys (`urls.key_of`):
- two keys never have one path, and no path is a folder on the way to another one;
- every component is a usable name: not empty, at most 255 bytes of printable ASCII, no slash, not `.` or `..`;
- what package indexes really publish keeps its name: `files/HOST/packages/aa/bb/…/name-1.0-py3-none-any.whl`.

A name that is not plain is stored under a hash (`~HEX`). Whether a name is a folder or a leaf shows in the name
itself: leaves end in a known file suffix or in `~file`, folders never do (`name.zip~dir`).
"""

from __future__ import annotations

import re
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

from twisted_pypi.urls import canonical_path

Path = tuple[str, ...]
"""Components below the cache directory."""

FILES = "files"
PAGES = "pages"
TEMPORARY = "tmp"
LOCK = "lock"
CATALOGUE = "catalogue.sqlite"
READINGS = "readings.sqlite"
STATISTICS = "statistics.json"
_DATABASES = (name + end for name in (CATALOGUE, READINGS) for end in ("", "-wal", "-shm", "-journal"))
OWN = frozenset({FILES, PAGES, TEMPORARY, LOCK, STATISTICS, f"{STATISTICS}.new", *_DATABASES})
"""All names of ours in the cache directory itself."""

_FILE_LIKE = re.compile(
    r"\.(whl|gz|bz2|xz|zst|zip|tgz|tbz|tar|egg|exe|msi|rpm|deb|dmg|jar|crate|json|txt|asc|sig|metadata|provenance)\Z"
)
_PAGE_LIKE = re.compile(r"\.page\Z")
_HASHED = re.compile(r"\A(http:|)~[0-9a-f]{64}")
_MARKS = ("~dir", "~file", "~page")
_LONGEST = 240  # of the 255 bytes that file systems take, with room for a mark
_DEEPEST = 40
_PLAIN = re.compile(rb"[\x20-\x2e\x30-\x7e]{1,%d}\Z" % _LONGEST)


def file_path(key: str) -> Path:
    """Where the file with this key is."""
    host, path = _split(key)
    segments = path.split("/")
    if len(segments) > _DEEPEST:
        return FILES, host, f"{_hashed(chr(0) + path)}~file"
    *folders, leaf = map(_name, segments)
    return FILES, host, *_folders(folders, _FILE_LIKE), leaf if _FILE_LIKE.search(leaf) else f"{leaf}~file"


def page_path(key: str) -> Path:
    """Where the page with this key is: `…/flask.page` for a path that ends in a slash, else `…/flask~page`."""
    host, path = _split(key)
    mark = ".page" if path.endswith("/") else "~page"
    segments = path.removesuffix("/").split("/")
    if len(segments) > _DEEPEST:
        return PAGES, host, f"{_hashed(chr(0) + path)}{mark}"
    *folders, leaf = map(_name, segments)
    return PAGES, host, *_folders(folders, _PAGE_LIKE), f"{leaf}{mark}"


def key_at(path: Path) -> str | None:
    """The key of the file or page at this path; None where a hash hides it, or the path is none of ours."""
    top, host, *names = path
    scheme, host = ("http", host.removeprefix("http:")) if host.startswith("http:") else ("https", host)
    plain = [name.removesuffix("~dir") for name in names]
    if top == FILES:
        placed, plain[-1:] = file_path, [name.removesuffix("~file") for name in plain[-1:]]
    else:
        placed, plain[-1:] = page_path, [_PAGE_LIKE.sub("/", name).removesuffix("~page") for name in plain[-1:]]
    try:
        key = f"{scheme}://{host}{canonical_path('/' + '/'.join(quote(name, safe='/') for name in plain))}"
    except ValueError:
        return None
    return key if placed(key) == path else None


def is_hashed(path: Path) -> bool:
    """Whether this is a path of ours on which a hash hides the key."""
    unhashed = tuple(_HASHED.sub(r"\1a", name) for name in path)
    return unhashed != path and key_at(unhashed) is not None


def _split(key: str) -> tuple[str, str]:
    """The name of the host's folder, and the path after its first slash."""
    scheme, _, rest = key.partition("://")
    netloc, _, path = rest.partition("/")
    # A host called "http" with a port would look like plain http to a host whose name is that port.
    plain = _PLAIN.match(netloc.encode()) and not netloc.startswith(("http:", "~")) and netloc not in (".", "..")
    host = netloc if plain else _hashed(netloc)
    return (f"http:{host}" if scheme == "http" else host), path


def _name(segment: str) -> str:
    raw = unquote_to_bytes(segment)
    text = raw.decode("latin-1")
    plain = _PLAIN.match(raw) and text not in (".", "..") and not text.startswith("~") and not text.endswith(_MARKS)
    return text if plain else _hashed(raw)


def _folders(names: list[str], leaf_like: re.Pattern[str]) -> list[str]:
    return [f"{name}~dir" if leaf_like.search(name) else name for name in names]


def _hashed(raw: bytes | str) -> str:
    return f"~{sha256(raw.encode() if isinstance(raw, str) else raw).hexdigest()}"
