"""Text from outside, as it may stand in a log line. Pure."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^ !#-\[\]-~]")


def escaped(text: str) -> str:
    r"""Printable ASCII without quotes and backslashes; everything else as `\xNN` of its UTF-8 bytes.

    Nothing in the result can begin a new line, end a quoted field or steer a terminal.
    """
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match.group().encode("utf-8", "surrogatepass"))
