"""The JSON and provenance APIs."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest

from twisted_pypi.model import PageBody
from twisted_pypi.pypi.api import PLACEHOLDER, interpret_api, interpret_integrity

URL = "https://index.example/pypi/foo/json"
PACKAGES = "https://files.example/packages/"
SHA = "ab" * 32


def body(data: bytes) -> PageBody:
    return PageBody(io.BytesIO(data), "application/json", URL)


def entry(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, "digests": {"sha256": SHA, "blake2b_256": SHA}, "size": 3, "new": [1], **more}


def test_links_are_rewritten_and_the_rest_is_kept() -> None:
    wheel, other = PACKAGES + "a/f-1.whl", "http://o.example:81/f-2.zip?s=1"
    document = {
        "info": {"home_page": wheel},
        "last_serial": 9,
        "urls": [entry(wheel), entry("ftp://o.example/x"), {"no": "url"}],
        "releases": {"1": [entry(wheel)], "2": [entry(other)], "3": None},
        "new": {"x": None},
    }
    page = interpret_api(PACKAGES, body(orjson.dumps(document)))
    marker = PLACEHOLDER.decode()
    assert orjson.loads(b"".join(page.render("json"))) == {
        **document,
        "urls": [entry(f"{marker}packages/a/f-1.whl")],
        "releases": {
            "1": [entry(f"{marker}packages/a/f-1.whl")],
            "2": [entry(f"{marker}files/http:o.example:81/f-2.zip")],
            "3": [],
        },
    }
    assert list(page.links()) == []
    assert page.version == 9


def test_documents_without_files_stay_without() -> None:
    page = interpret_api(PACKAGES, body(b'{"info": {}}'))
    assert b"".join(page.render("json")) == b'{"info":{}}'
    assert (list(page.links()), page.version) == ([], None)


@pytest.mark.parametrize("data", [b"", b"<html></html>", b"[]", b"{}", b'{"info": 1}', b'{"message": "x"}'])
def test_other_documents_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not "):
        interpret_api(PACKAGES, body(data))


def test_provenance_passes_as_it_came() -> None:
    data = b'{ "version": 1, "attestation_bundles": [] }'
    assert b"".join(interpret_integrity(body(data)).render("json")) == data


@pytest.mark.parametrize("data", [b"", b"<html></html>", b"[]", b'{"a":'])
def test_provenance_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        interpret_integrity(body(data))


def test_what_cannot_be_written_again_is_refused() -> None:
    deep = b'{"info": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}"
    with pytest.raises(ValueError, match="JSON again"):
        interpret_api(PACKAGES, PageBody(io.BytesIO(deep), "", "https://index.example/pypi/foo/json"))
