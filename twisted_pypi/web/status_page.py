"""The page for people at `/`: what to set in pip and uv, and how the cache is used. Self-contained, no script."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from urllib.parse import urlsplit

from twisted_pypi.web.responding import Reply, simple_reply

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>pypicache</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em}}
pre{{background:#8881;padding:.7em;overflow:auto}}td{{padding:.1em 1.5em .1em 0}}:root{{color-scheme:light dark}}
</style>
</head><body>
<h1>pypicache</h1>
<p>A cache in front of a Python package index. Packages: <a href="simple/">simple/</a>.
Figures: <a href="+status">+status</a>, <a href="metrics">metrics</a>.</p>
<h2>pip</h2>
<pre>{pip}</pre>
<h2>uv</h2>
<pre>{uv}</pre>
<h2>Usage</h2>
<table>{rows}</table>
</body></html>
"""


def status_page(base: str, figures: Mapping[str, object]) -> Reply:
    """The page, for a client that reaches us at `base` (absolute, no trailing slash)."""
    index, host = f"{base}/simple/", urlsplit(base).hostname or ""
    pip = f"pip config set global.index-url {index}"
    uv = f"export UV_DEFAULT_INDEX={index}"
    if base.startswith("http:"):
        pip += f"\npip config set global.trusted-host {host}"
        uv += f"\nexport UV_INSECURE_HOST={urlsplit(base).netloc}"
    rows = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in _flat(figures))
    body = _PAGE.format(pip=_text(pip), uv=_text(uv), rows=rows).encode("utf-8", "replace")
    # It shows the client's own address of us: no cache between may keep it.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    pairs = ("Cache-Control", "no-store"), ("Content-Security-Policy", policy)
    return simple_reply(200, "text/html; charset=utf-8", body, "admin", *pairs)


def _flat(figures: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name} ")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows


def _text(value: object) -> str:
    return escape(str(value))
