"""Package names: what may be asked for, in which spelling of the path. Pure.

Names are case-sensitive: new ones are lower case, but old ones aren't, and two may differ in case alone.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from twisted_pypi.errors import Absent

LONGEST_NAME = 214
"""Characters of a name, its scope included."""

# What encodeURIComponent leaves as it is (validate-npm-package-name). A name begins with no dot and no underscore, the
# part after a scope may begin with an underscore.
_PLAIN = r"[A-Za-z0-9~!*'()-][A-Za-z0-9._~!*'()-]*"
_NAME = re.compile(rf"{_PLAIN}|@[A-Za-z0-9_~!*'()-][A-Za-z0-9._~!*'()-]*/[A-Za-z0-9_~!*'()-][A-Za-z0-9._~!*'()-]*")
_SAFE = "@~!*'()"


def is_name(text: str) -> bool:
    """Whether this is a package's name, `NAME` or `@SCOPE/NAME`, old spellings included."""
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def package_name(text: str) -> str:
    """The name, checked. Raises `Absent` if it can't be one."""
    if not is_name(text):
        raise Absent(f"{text[:80]!a} is not the name of an npm package")
    return text


def split_name(path: str) -> tuple[str, str]:
    """The package's name at the beginning of a raw path without leading slash, and what follows, raw.

    A scope is followed by a slash or an encoded one: `@a/b`, `@a%2fb` and `%40a%2Fb` are one name. Raises `Absent`.
    """
    first, _, rest = path.partition("/")
    name = unquote(first)
    if name.startswith("@") and "/" not in name:
        second, _, rest = rest.partition("/")
        name = f"{name}/{unquote(second)}"
    return package_name(name), rest


def escaped(name: str) -> str:
    """The name as one path segment, as npm asks a registry for it: `@a%2fb`."""
    scope, slash, plain = name.rpartition("/")
    return f"{quote(scope, safe=_SAFE)}{'%2f' if slash else ''}{quote(plain, safe=_SAFE)}"
