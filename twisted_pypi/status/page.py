"""The page for people at `/`: one document with everything in it, which works without script.

Names and reasons in it come from upstream: the template escapes all that it is given (Jinja's autoescape), and the
page's own policy lets the browser run and load nothing but the style and the script that are in it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from attrs import frozen

from twisted_pypi.status import wording
from twisted_pypi.status.charts import chart
from twisted_pypi.status.contents import Found
from twisted_pypi.status.recipes import recipes
from twisted_pypi.status.report import Document

if TYPE_CHECKING:
    from jinja2 import Template

INTERVAL = 5
"""Seconds after which the page's script asks for the figures again."""

LONGEST_QUERY = 200


@frozen
class View:
    """One page: for a client that reaches us at `base` (absolute, no trailing slash).

    `found` is what a search for `query` gave, None: there was no search. `by_token`: there is an admin token.
    `npm`: a registry is served below /npm/.
    """

    base: str
    document: Document
    query: str = ""
    found: Found | None = None
    by_token: bool = False
    npm: bool = False


def _source(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text("utf-8")


_CSS = _source("page.css")
_JS = _source("page.js").replace("INTERVAL_SECONDS", str(INTERVAL))


@cache
def _template() -> Template:
    # Here, for it takes 3 MB, and many a daemon is never looked at.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader(__package__, "page"), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )
    environment.filters.update(
        size=wording.size_text,
        duration=wording.duration_text,
        ago=wording.ago_text,
        share=wording.share_text,
        count=wording.count_text,
    )
    # Ours, and named in the policy by their digests: as they are.
    environment.globals.update(css=Markup(_CSS), js=Markup(_JS), interval=INTERVAL, longest_query=LONGEST_QUERY)
    return environment.get_template("page.html")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_digest(_CSS)}",
        f"script-src {_digest(_JS)}",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page's Content-Security-Policy."""


def render(view: View) -> bytes:
    """The page. Takes milliseconds: call it in a thread."""
    values: dict[str, Any] = {
        "d": view.document,
        "chart": chart(view.document["hours"]),
        "recipes": recipes(view.base, view.npm),
        "query": view.query,
        "found": view.found,
        "by_token": view.by_token,
    }
    return _template().render(values).encode("utf-8", "replace")
