"""Choosing forms and codings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.http.negotiation import MAX_LENGTH, choose_encoding, choose_form, takes_json
from unit.web_doubles import FORMS, HTML, JSON, V1_HTML

PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
UV = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", HTML),
        ("*/*", HTML),
        ("*/*;q=0.1", HTML),
        (PIP, JSON),
        (UV, JSON),
        (BROWSER, HTML),
        ("image/png", HTML),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON", JSON),
        ("text/html, application/vnd.pypi.simple.v1+json", JSON),
        ("text/html, */*", HTML),
        ("application/vnd.pypi.simple.v1+html, */*", V1_HTML),
        ("application/*", JSON),
        ("application/*, application/vnd.pypi.simple.v1+json;q=0", V1_HTML),
        ("application/*;q=0.5, text/*", HTML),
        ("*/*, text/html;q=0", V1_HTML),
        ("text/html;level=1;q=0.9, text/html;q=0.1, application/vnd.pypi.simple.v1+json;q=0.5", JSON),
        ("text/html;charset=utf-8", HTML),
        ("application/vnd.pypi.simple.v1+json;q=nonsense, application/vnd.pypi.simple.v1+html;q=0.1", V1_HTML),
        ("application/vnd.pypi.simple.v1+json;q=0.2, text/html;q=0.200", JSON),
        ("text/html;q=0", HTML),
    ],
)
def test_form(accept: str, form: object) -> None:
    assert choose_form(FORMS, accept) is form


@pytest.mark.parametrize(
    ("wanted", "form"),
    [
        ("application/vnd.pypi.simple.v1+html", V1_HTML),
        ("application/vnd.pypi.simple.v1 html", V1_HTML),
        ("text/html", HTML),
        ("image/png", JSON),
        ("", JSON),
    ],
)
def test_format_parameter_beats_accept(wanted: str, form: object) -> None:
    assert choose_form(FORMS, PIP, wanted) is form


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("", "identity"),
        ("gzip, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip;q=0.1", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("*;q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("br", "identity"),
        ("identity;q=0", "identity"),
        ("identity;q=0, gzip;q=0", "identity"),
        ("identity, gzip;q=0.5", "identity"),
    ],
)
def test_encoding(accept: str, coding: str) -> None:
    assert choose_encoding(["identity", "gzip", "zstd"], accept) == coding


def test_only_stored_codings_are_chosen() -> None:
    assert choose_encoding(["identity", "gzip"], "zstd, gzip;q=0.1") == "gzip"
    assert choose_encoding(["identity"], "zstd, gzip") == "identity"


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        (PIP, True),
        ("application/json", True),
        ("application/problem+json;q=0.1", True),
        ("application/json;q=0", False),
        ("*/*", False),
        ("", False),
        ("text/html", False),
    ],
)
def test_takes_json(accept: str, takes: bool) -> None:
    assert takes_json(accept) is takes


@given(st.text(alphabet="ahtml/*+;q=01., jsonpgzi\x00é", max_size=200))
def test_hostile_headers_get_something_on_offer(header: str) -> None:
    assert choose_form(FORMS, header, header) in FORMS
    assert choose_encoding(["identity", "gzip"], header) in ("identity", "gzip")


@given(st.permutations([JSON, V1_HTML, HTML]), st.lists(st.integers(1, 1000), min_size=3, max_size=3, unique=True))
def test_the_highest_quality_wins(order: list[object], qualities: list[int]) -> None:
    ranked = sorted(zip(qualities, order, strict=True), reverse=True, key=lambda pair: pair[0])
    accept = ", ".join(
        f"{form.media_types[0]};q={quality / 1000}" for quality, form in zip(qualities, order, strict=True)
    )
    assert choose_form(FORMS, accept) is ranked[0][1]


def test_what_lies_beyond_the_bound_is_not_looked_at() -> None:
    assert choose_form(FORMS, "image/png," * MAX_LENGTH + JSON.content_type) is HTML
