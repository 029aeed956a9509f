"""One answer as a line of the access log, as text or as JSON. Pure.

    192.0.2.7 [1994-11-06T08:49:37Z] "GET /simple/six/ HTTP/1.1" cache.example 200 1834 HIT - 0.000 "pip/25.0"

that is: client, time, request, host, status, body bytes, cache state, seconds waited for upstream, seconds in all,
agent; and after that, of one who logged in (`--htpasswd`), the user. The names of the JSON form
(`docs/monitoring.md`) stay what they are; new ones may come. Queries, which may hold secrets, are in neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from attrs import frozen

from twisted_pypi.events import Served
from twisted_pypi.http.dates import iso_date, iso_milliseconds
from twisted_pypi.http.escaping import escaped

_MAX_FIELD = 2000


@frozen
class LineForm:
    """How an answer becomes a line: what stands before and after its time, and that (of seconds since the epoch).

    Without the time it is the same line for the same answer, and need not be made again.
    """

    parts: Callable[[Served], tuple[str, str]]
    stamp: Callable[[float], str]

    def line(self, event: Served, now: float) -> str:
        """The line, in ASCII, with its line end."""
        before, after = self.parts(event)
        return before + self.stamp(now) + after


def _text(event: Served) -> tuple[str, str]:
    upstream = "-" if event.upstream_seconds is None else f"{event.upstream_seconds:.3f}"
    state = event.state.value if event.state else "-"
    return (
        f"{_word(event.client)} ",
        f'"{_field(event.method)} {_field(event.target) or "-"} {_field(event.protocol)}" '
        f"{_word(event.host)} {event.status} {event.size} {state}{'' if event.complete else '/ABORTED'} "
        f'{upstream} {event.seconds:.3f} "{_field(event.agent)}"{f" {_word(event.user)}" if event.user else ""}\n',
    )


def _field(text: str) -> str:
    return escaped(text[:_MAX_FIELD])


def _word(text: str) -> str:
    """A field without quotes: one word, "-" for none."""
    return _field(text).replace(" ", "\\x20") or "-"


def _json(event: Served) -> tuple[str, str]:
    values = {
        "client": event.client[:_MAX_FIELD],
        "method": event.method[:_MAX_FIELD],
        "target": event.target[:_MAX_FIELD],
        "protocol": event.protocol[:_MAX_FIELD],
        "host": event.host[:_MAX_FIELD],
        "status": event.status,
        "bytes": event.size,
        "complete": event.complete,
        "cache": event.state.value if event.state else None,
        "kind": event.kind,
        "mount": event.mount,
        "collapsed": event.collapsed,
        "seconds": round(event.seconds, 6),
        "upstream_seconds": None if event.upstream_seconds is None else round(event.upstream_seconds, 6),
        "agent": event.agent[:_MAX_FIELD],
        "user": event.user[:_MAX_FIELD] or None,
    }
    return '{"time":"', f'",{json.dumps(values, separators=(",", ":"))[1:]}\n'


def _bracketed(now: float) -> str:
    return f"[{iso_date(now)}] "


def _no_time(_now: float) -> str:
    return ""


LINE_FORMS = {"text": LineForm(_text, _bracketed), "json": LineForm(_json, iso_milliseconds)}
"""By the words of `--access-log-format`."""

UNDATED = LineForm(_text, _no_time)
"""Text for a reader that notes the time of each line by itself, as systemd's journal does."""
