"""Which form and which coding a client gets (RFC 9110, 12.5). Pure.

Laws: the answer is always one of the forms (codings) on offer, whatever the header holds; a form that a client ruled
out (`q=0`) is given only when nothing else is acceptable either (never 406); the work is bounded by `MAX_LENGTH`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from attrs import frozen

from twisted_pypi.model import Form

MAX_LENGTH = 2048
"""Characters of a header that are looked at: real ones have under 300."""

_QUALITY = re.compile(r"[01](?:\.[0-9]*)?")

# How closely a media range names a type (RFC 9110, 12.5.1): the closest range that matches decides.
_ANY, _MAJOR, _PARAMETERS, _EXACT = range(4)

# Smaller first; what is made once costs the same to serve.
_CODINGS = ("zstd", "gzip")


@frozen
class _Element:
    """One element of an Accept-like list: the lower-case name, its q-value, and whether it has further parameters."""

    name: str
    quality: float
    parameters: bool


def choose_form(forms: tuple[Form, ...], accept: str, wanted: str = "") -> Form:
    """The form in which a page is sent.

    `forms` are in the server's order of preference, the last is the default (no `Accept`, only `*/*`, or nothing
    acceptable: setuptools and buildout send none and need HTML). `wanted` is `?format=` (PEP 691, "URL parameter"),
    which rules when it names a form. On equal q-values a type that is named beats one that a wildcard covers, then the
    earlier form wins.
    """
    return _choose_form(forms, accept[:MAX_LENGTH], wanted[:MAX_LENGTH])


# pip, uv and browsers send some dozen different headers in all.
@lru_cache(maxsize=256)
def _choose_form(forms: tuple[Form, ...], accept: str, wanted: str) -> Form:
    # "+" in a query string decodes to a blank, and media types of forms have a "+".
    named = wanted.strip().lower().replace(" ", "+")
    for form in forms:
        if named in form.media_types:
            return form
    elements = _elements(accept)
    best, best_rank = forms[-1], (0.0, False)
    for form in reversed(forms):
        specificity, quality = max(_match(media_type, elements) for media_type in form.media_types)
        rank = (quality, specificity > _ANY)
        # Going backwards, an equal rank is an earlier form; among forms that only `*/*` covers the default stays.
        if quality > 0 and (rank > best_rank or (rank == best_rank and rank[1])):
            best, best_rank = form, rank
    return best


def _match(media_type: str, elements: tuple[_Element, ...]) -> tuple[int, float]:
    """How close the closest matching range is to a type, and its q-value; (-1, 0.0) for none."""
    quality, closest = 0.0, -1
    for element in elements:
        specificity = _specificity(element, media_type)
        if specificity > closest:
            quality, closest = element.quality, specificity
    return closest, quality


def _specificity(element: _Element, media_type: str) -> int:
    if element.name == media_type:
        return _PARAMETERS if element.parameters else _EXACT
    if element.name == "*/*":
        return _ANY
    major, slash, minor = element.name.partition("/")
    return _MAJOR if slash and minor == "*" and media_type.startswith(major + "/") else -1


def takes_json(accept: str) -> bool:
    """Whether an `Accept` names JSON of any kind (`application/json`, `…+json`) with a q-value above 0."""
    return any(
        element.quality > 0 and element.name.endswith(("/json", "+json")) for element in _elements(accept[:MAX_LENGTH])
    )


def choose_encoding(available: Collection[str], accept_encoding: str) -> str:
    """The content coding among `available` ("identity", "gzip", "zstd") for an `Accept-Encoding` (RFC 9110, 12.5.3).

    The highest q-value wins, the smaller body on equal ones; "identity" when nothing else is acceptable, even where
    the client rules it out. A `*` covers gzip alone: who means zstd says so.
    """
    return _choose_encoding(frozenset(available), accept_encoding[:MAX_LENGTH])


@lru_cache(maxsize=256)
def _choose_encoding(available: frozenset[str], accept_encoding: str) -> str:
    qualities = {element.name.removeprefix("x-"): element.quality for element in _elements(accept_encoding)}
    if "*" in qualities:
        qualities.setdefault("gzip", qualities["*"])
    best, best_quality = "identity", 0.0
    for coding in _CODINGS:
        quality = qualities.get(coding, 0.0)
        if coding in available and quality > best_quality:
            best, best_quality = coding, quality
    return "identity" if qualities.get("identity", 0.0) > best_quality else best


def _elements(header: str) -> tuple[_Element, ...]:
    """The elements of an Accept-like header; those with a malformed q-value are left out."""
    elements = (_element(text) for text in header.lower().split(","))
    return tuple(element for element in elements if element is not None)


def _element(text: str) -> _Element | None:
    name, *parameters = (part.strip() for part in text.split(";"))
    quality, others = 1.0, False
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() != "q":
            others = others or bool(parameter)
        elif _QUALITY.fullmatch(value.strip()) and float(value) <= 1:
            quality = float(value)
        else:
            return None
    return _Element(name, quality, others) if name else None
