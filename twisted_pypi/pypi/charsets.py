"""Upstream bodies as text: what form they have, and their characters."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from twisted_pypi.model import PageBody

_CHUNK = 64 << 10
_HEAD = 4096
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HEADER = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';]+)", re.IGNORECASE)
_META = re.compile(rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_END = re.compile(rb"</(?:html|body)\s*>", re.IGNORECASE)


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """A stream from its beginning, in pieces of at most 64 KB."""
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        yield chunk


def is_json(body: PageBody) -> bool:
    """Whether the body is JSON rather than HTML. What it says it is doesn't count: servers of files often lie.

    Raises `ValueError` if it looks like neither.
    """
    body.stream.seek(0)
    head = body.stream.read(_HEAD)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    first = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if first in (b"{", b"<"):
        return first == b"{"
    raise ValueError(f"neither JSON nor HTML, but {body.content_type[:80] or 'untyped'!a}")


def check_whole(body: PageBody) -> None:
    """Raises `ValueError` for an HTML body of which the end may be missing."""
    if body.delimited:
        return
    size = body.stream.seek(0, 2)
    body.stream.seek(max(0, size - _HEAD))
    if not _END.search(body.stream.read(_HEAD).replace(b"\0", b"")):
        raise ValueError("the page may be truncated: the connection ended it, and it has no </html>")


def utf8_chunks(body: PageBody) -> Iterator[bytes]:
    """An HTML body as UTF-8, without byte order mark, in pieces; what can't be decoded becomes U+FFFD."""
    body.stream.seek(0)
    name = _charset(body.content_type, body.stream.read(_HEAD))
    decoder = codecs.getincrementaldecoder(name)("replace")
    for chunk in chunks(body.stream):
        yield _encoded(decoder.decode(chunk))
    yield _encoded(decoder.decode(b"", True))


def _encoded(text: str) -> bytes:
    return text.replace("\ufeff", "").encode("utf-8", "replace")


def _charset(content_type: str, head: bytes) -> str:
    """The charset: by mark, header, `<meta>`, else UTF-8 (HTML, "determining the character encoding")."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    header = _HEADER.search(content_type)
    if header and _is_text_encoding(header[1]):
        return header[1]
    meta = _META.search(head)
    name = meta[1].decode("ascii") if meta else ""
    # A <meta> that could be read as ASCII is not in UTF-16, whatever it says.
    return name if _is_text_encoding(name) and not name.lower().startswith(("utf-16", "utf16")) else "utf-8"


def _is_text_encoding(name: str) -> bool:
    try:
        codecs.getincrementaldecoder(name)
        b"text".decode(name, "replace")
    except (LookupError, ValueError):
        return False
    return True
