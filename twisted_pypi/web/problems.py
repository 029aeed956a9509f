"""Errors as answers: the one place where a kind of error becomes a status.

The reason goes three ways, because each client shows another one: the reason phrase (pip), a problem+json document
(RFC 9457, uv), plain text (people).
"""

from __future__ import annotations

import errno
import json
import time
from http import HTTPStatus

from attrs import define
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_pypi.errors import Absent, BadPath, CacheError, Forbidden, Looped, Unavailable
from twisted_pypi.http.negotiation import takes_json
from twisted_pypi.web.log_limits import LogLimits, with_rest

MAX_REASON = 200
"""Characters of a reason phrase."""

NOT_FOUND_AGE = 10
"""Seconds for which a client may remember a 404."""

MAX_RETRY_AFTER = 30
"""Seconds: pip sleeps through all of a `Retry-After`."""

_log = Logger()
_limits = LogLimits(time.monotonic)
_FAILURES = 60  # lines a minute of one kind


@define(slots=False)
class Problem(Exception):
    """An answer that is an error: `status`, the `reason` as a sentence, further header pairs."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.reason


def problem_of(error: BaseException) -> Problem:
    """What a client gets for an error. What nobody foresaw is logged with its traceback and told as a plain 500."""
    match error:
        case Problem():
            return error
        case BadPath():
            return Problem(400, error.reason, (("Cache-Control", "no-store"),))
        case Forbidden():
            return Problem(403, error.reason, (("Cache-Control", "no-store"),))
        case Absent():
            return Problem(404, error.reason, (("Cache-Control", f"max-age={NOT_FOUND_AGE}"),))
        case Unavailable():
            return Problem(503, error.reason, (("Cache-Control", "no-store"), *_retry_after(error)))
        case Looped():
            return Problem(508, error.reason, (("Cache-Control", "no-store"),))
        case CacheError():
            return Problem(500, error.reason)
        case TookTooLong():  # upstream's time-outs come with a reason of their own
            return _for_now("This took too long: the machine is busy, or its disk does not answer")
        case MemoryError():
            _tell("out of memory")
            return _for_now("Out of memory at the moment")
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            _tell("too many open files")
            return _for_now("Too many open files at the moment")
    if (rest := _limits.admit(type(error).__name__, _FAILURES)) is not None:
        _log.failure(with_rest("A request failed", rest), Failure(error))  # type: ignore[no-untyped-call]
    return Problem(500, "Internal error: see the daemon's log", (("Cache-Control", "no-store"),))


def _tell(reason: str) -> None:
    if (rest := _limits.admit(reason)) is not None:
        _log.error("A request failed: {reason}", reason=with_rest(reason, rest))


def _for_now(reason: str) -> Problem:
    """What this machine lacks now, it may have in a moment."""
    return problem_of(Unavailable(reason))


def _retry_after(error: Unavailable) -> tuple[tuple[str, str], ...]:
    if error.retry_after is None:
        return ()
    return (("Retry-After", str(max(1, min(MAX_RETRY_AFTER, int(error.retry_after))))),)


def reason_phrase(text: str) -> bytes:
    """A sentence as a reason phrase (RFC 9112, 4): printable ASCII, at most `MAX_REASON` bytes."""
    kept = "".join(character if " " <= character <= "~" else "?" for character in text[:MAX_REASON])
    return kept.strip().encode("ascii")


def problem_body(problem: Problem, accept: str) -> tuple[str, bytes]:
    """(content type, body): a problem document for clients whose `Accept` takes JSON, else one line of text."""
    if not takes_json(accept):
        return "text/plain; charset=utf-8", f"{problem.reason}\n".encode("utf-8", "replace")
    title = HTTPStatus(problem.status).phrase
    document = {"type": "about:blank", "title": title, "status": problem.status, "detail": problem.reason}
    document["error"] = problem.reason  # npm shows this one (an extension member: RFC 9457, 3.2)
    return "application/problem+json", json.dumps(document).encode("ascii")
