"""Replies with files: whole or in part, at rest, growing or passing through."""

from __future__ import annotations

from twisted_pypi.answers import FileAnswer
from twisted_pypi.http.conditional import none_match, range_applies
from twisted_pypi.http.ranges import Part, Unsatisfiable, Whole, parse_range
from twisted_pypi.interfaces import Files
from twisted_pypi.model import FileRoute
from twisted_pypi.web.clients import Ask
from twisted_pypi.web.responding import Reply, Window, header_lines, provenance_lines

_CACHE_CONTROL = "public, max-age=31536000, immutable"
_TYPE = "application/octet-stream"


def file_at_once(files: Files, route: FileRoute, ask: Ask) -> Reply | None:
    """The reply with a file that is at hand; None when it must be waited for."""
    answer = files.ready(route, ask.asker())
    return None if answer is None else reply_to(answer, ask)


async def file_reply(files: Files, route: FileRoute, ask: Ask) -> Reply:
    """The reply to a request for a file. Raises `CacheError` kinds."""
    return reply_to(await files.answer(route, ask.asker()), ask)


def reply_to(answer: FileAnswer, ask: Ask) -> Reply:
    """What is sent of a file to this client. Takes over the answer's source."""
    etag = f'"sha256:{answer.sha256}"' if answer.sha256 else ""
    if none_match(ask.header("if-none-match"), etag):
        return _without_body(answer, 304, _common_lines(answer, etag))
    lines = _common_lines(answer, etag) + header_lines(("Accept-Ranges", "bytes"))
    if answer.part is not None:
        return _partial(answer, lines, Part(*answer.part), offset=answer.part[0])
    match _wanted(answer, ask, etag):
        case Unsatisfiable():
            return _without_body(answer, 416, _unsatisfied_lines(answer))
        case Part() as part:
            return _partial(answer, lines, part, offset=0)
        case Whole():
            return _whole(answer, lines)


def _wanted(answer: FileAnswer, ask: Ask, etag: str) -> Whole | Part | Unsatisfiable:
    """What is asked for. Without a known length no position can be promised: the whole, in chunks."""
    asker = ask.asker()
    if answer.length is None or answer.whole or not range_applies(asker.if_range, etag):
        return Whole()
    return parse_range(asker.range, answer.length)


def _common_lines(answer: FileAnswer, etag: str) -> bytes:
    tag = header_lines(("ETag", etag)) if etag else b""
    return tag + header_lines(("Cache-Control", _CACHE_CONTROL)) + provenance_lines(answer.provenance)


def _whole(answer: FileAnswer, lines: bytes) -> Reply:
    length = answer.length
    lines += header_lines(("Content-Type", _TYPE), *([] if length is None else [("Content-Length", str(length))]))
    body = _window(answer, 0, None if length is None else length - 1)
    return Reply(
        200, lines, body, kind="file", provenance=answer.provenance, sized=length is not None, still=answer.still
    )


def _partial(answer: FileAnswer, lines: bytes, part: Part, offset: int) -> Reply:
    """206 (RFC 9110, 15.3.7); `offset` is the file's position at which the source begins."""
    length = "*" if answer.length is None else answer.length
    lines += header_lines(
        ("Content-Type", _TYPE),
        ("Content-Range", f"bytes {part.first}-{part.last}/{length}"),
        ("Content-Length", str(part.last - part.first + 1)),
    )
    body = _window(answer, part.first - offset, part.last - offset)
    return Reply(206, lines, body, kind="file", provenance=answer.provenance, still=answer.still)


def _unsatisfied_lines(answer: FileAnswer) -> bytes:
    """416 (RFC 9110, 15.5.17)."""
    lines = header_lines(
        ("Content-Range", f"bytes */{answer.length}"), ("Content-Length", "0"), ("Cache-Control", "no-store")
    )
    return lines + provenance_lines(answer.provenance)


def _window(answer: FileAnswer, first: int, last: int | None) -> bytes | Window:
    source = answer.source
    if source is None:
        return b""
    if isinstance(source, bytes):
        return source if last is None or last - first + 1 == len(source) else source[first : last + 1]
    return Window(source, first, last)


def _without_body(answer: FileAnswer, status: int, lines: bytes) -> Reply:
    if answer.source is not None and not isinstance(answer.source, bytes):
        answer.source.close()
    return Reply(status, lines, kind="file", provenance=answer.provenance, still=answer.still)
