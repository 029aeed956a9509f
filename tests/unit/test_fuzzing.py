"""Whatever comes from outside is taken, or refused in the one way that is foreseen; both forms of a page say the same.

Parsers of single headers have their property tests beside their other tests.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twisted_pypi.errors import CacheError, ConfigError
from twisted_pypi.fetching.resume import Verdict, content_range, judge, question, validator_of
from twisted_pypi.http.conditional import none_match, range_applies
from twisted_pypi.model import PageBody
from twisted_pypi.options import OPTIONS
from twisted_pypi.pypi import simple_html, simple_json
from twisted_pypi.pypi.listing import interpret as interpret_list
from twisted_pypi.pypi.metadata import metadata_of_wheel
from twisted_pypi.pypi.mount import IndexMount
from twisted_pypi.pypi.names import is_distribution
from twisted_pypi.pypi.project import ProjectPage, interpret
from twisted_pypi.units import network
from twisted_pypi.web.clients import effective_client
from unit.test_config import load

URL = "https://index.example/simple/flask/"
JSON = "application/vnd.pypi.simple.v1+json"

# -- simple pages ------------------------------------------------------------------------------------------------------

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
NOTES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
DIGEST = st.fixed_dictionaries({"sha256": HEX})
FILES = st.fixed_dictionaries(
    {
        "filename": st.from_regex(r"flask-[0-9]{1,3}(\.[0-9]{1,2})?(-py3-none-any\.whl|\.tar\.gz)", fullmatch=True),
        "hashes": st.just({}) | DIGEST,
        "requires-python": st.none() | NOTES.filter(str.strip),
        "yanked": st.booleans() | NOTES.filter(str.strip),
        "core-metadata": st.booleans() | DIGEST,
    },
    optional={
        "size": st.integers(0, 1 << 40),
        "upload-time": st.just("2024-01-01T00:00:00.000000Z"),
        "provenance": st.just("https://index.example/integrity/flask"),
        "gpg-sig": st.booleans(),
        "a-later-pep": st.integers(-(1 << 63), 1 << 63) | NOTES,
    },
)


def page_body(data: bytes, content_type: str) -> PageBody:
    return PageBody(io.BytesIO(data), content_type, URL)


def page_of(files: list[dict[str, Any]]) -> ProjectPage:
    value = {"meta": {"api-version": "1.4", "_last-serial": 7}, "name": "flask", "files": files}
    for file in files:
        file["url"] = f"https://files.example/packages/ab/{file['filename']}"
    return interpret("https://files.example/packages/", "flask", page_body(simple_json.dump(value), JSON))


def rendered(page: ProjectPage, form: str) -> bytes:
    return b"".join(page.render(form))


@given(st.lists(FILES, max_size=4))
def test_json_says_all_that_upstreams_json_said(files: list[dict[str, Any]]) -> None:
    page = page_of(files)
    assert page.version == 7
    ours = simple_json.parse(rendered(page, "json"))["files"]
    assert len(ours) == len(files)
    for file, served in zip(files, ours, strict=True):
        expected = {**file, "url": f"../../packages/ab/{file['filename']}"}
        assert {name: served.get(name) for name in expected} == expected


@given(st.lists(FILES, max_size=4))
def test_html_says_all_that_html_can_carry(files: list[dict[str, Any]]) -> None:
    html = rendered(page_of(files), "html")
    again, _ = simple_html.parse(page_body(html, "text/html; charset=utf-8"), "flask")
    assert again["meta"]["_last-serial"] == 7
    assert len(again["files"]) == len(files)
    carried = ("filename", "hashes", "requires-python", "core-metadata", "size", "upload-time", "provenance", "gpg-sig")
    for file, read in zip(files, again["files"], strict=True):
        for name in carried:
            assert (read.get(name) or None) == (file.get(name) or None), name
        # An empty reason is none (PEP 592), and blanks around one are nobody's.
        assert bool(read.get("yanked")) == bool(file["yanked"])
        if isinstance(file["yanked"], str):
            assert read["yanked"] == file["yanked"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("filename", "url", "hashes", "size", "yanked", "core-metadata", "upload-time", "requires-python", "provenance")
PAGES = st.fixed_dictionaries(
    {"meta": VALUES | st.just({"api-version": "1.0"}), "name": st.just("flask") | VALUES},
    optional={
        "files": VALUES | st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), max_size=3),
        "versions": VALUES,
        "project-status": VALUES,
        "alternate-locations": VALUES,
        "tracks": VALUES,
    },
)


@given(PAGES)
def test_json_of_any_shape_is_served_or_refused(value: dict[str, Any]) -> None:
    try:
        page = interpret("", "flask", page_body(json.dumps(value).encode("utf-8", "surrogatepass"), JSON))
    except ValueError:
        return
    served = simple_json.parse(rendered(page, "json"))
    again, _ = simple_html.parse(page_body(rendered(page, "html"), "text/html"), "flask")
    # In HTML a link whose text isn't a distribution's name may be anything.
    names = [file["filename"] for file in served["files"] if is_distribution(file["filename"])]
    assert names == [file["filename"] for file in again["files"]]
    assert len(list(page.links())) == len(served["files"])


PIECES = [
    *("<a href='", "../../packages/ab/flask-1.0.tar.gz", "#sha256=", "ab" * 32, "'>", "flask-1.0.tar.gz", "</a>"),
    *("<base href='", "<meta name='pypi:repository-version' content='", "2.0", "1.9", "<title>", "</title>", "<!--"),
    *(
        " data-yanked",
        " data-core-metadata=",
        "&#x0;",
        "&amp;",
        "\x00",
        "\xe9",
        "<script>",
        "]]>",
        "javascript:",
        "-->",
    ),
    *("<html>", "<body>", "</body></html>", "Links for flask", "<form>", "\n"),
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@given(MARKUP | st.text(max_size=60), st.sampled_from(("text/html", "text/html; charset=latin-1", "", JSON, "a/b")))
def test_markup_of_any_shape_is_served_or_refused(text: str, content_type: str) -> None:
    for read in (interpret, lambda packages, _, body: interpret_list(body)):
        try:
            page = read("", "flask", page_body(text.encode("utf-8"), content_type))
        except ValueError:
            continue
        for form in ("json", "html"):
            assert b"javascript:" not in b"".join(page.render(form)) or "javascript:" in text


@settings(max_examples=300)
@given(
    st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=4),
    st.integers(0, 400),
)
def test_a_damaged_wheel_has_metadata_or_none(coding: int, flips: list[tuple[int, int]], kept: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", coding) as archive:
        archive.writestr("flask-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: flask\n" * 3)
    data = bytearray(buffer.getvalue())
    for place, mask in flips:
        data[place % len(data)] ^= mask
    try:
        metadata_of_wheel(io.BytesIO(bytes(data[: kept or None])))
    except ValueError:
        return


# -- headers -----------------------------------------------------------------------------------------------------------

TAGS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8)


@given(st.lists(st.tuples(st.booleans(), TAGS), max_size=6), TAGS)
def test_a_list_of_tags_matches_those_in_it(listed: list[tuple[bool, str]], tag: str) -> None:
    header = ", ".join(f'{"W/" if weak else ""}"{each}"' for weak, each in listed)
    assert none_match(header, f'"{tag}"') == (tag in [each for _, each in listed])


@given(st.text('W/"*, ab', max_size=30), TAGS)
def test_tags_of_any_shape(header: str, tag: str) -> None:
    if none_match(header, f'"{tag}"'):
        assert header.strip() == "*" or f'"{tag}"' in header
    if header.strip() and range_applies(header, f'"{tag}"'):
        assert header.strip() == f'"{tag}"'


RANGES = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)).map(
    lambda each: f"bytes {each[0]}-{each[1]}/{each[2]}"
)


@given(RANGES | st.text("bytes 0123456789-/*", max_size=24))
def test_a_content_range_lies_within_the_whole(text: str) -> None:
    part = content_range({"content-range": text})
    assert part is None or 0 <= part[0] <= part[1] < part[2]


@given(
    st.sampled_from((200, 206, 304, 416)),
    RANGES,
    st.sampled_from(("", '"1"', '"2"', 'W/"1"')),
    st.none() | st.integers(0, 60),
    st.integers(0, 60),
    st.none() | st.integers(0, 60),
    st.sampled_from(("", '"1"')),
    st.booleans(),
)
def test_nothing_is_spliced(
    status: int,
    part: str,
    etag: str,
    coming: int | None,
    position: int,
    length: int | None,
    validator: str,
    verifiable: bool,
) -> None:
    asked = question(position, validator, verifiable)
    verdict = judge(status, {"content-range": part, "etag": etag}, coming, asked, position, length)
    if verdict is not Verdict.CONTINUE:
        return
    first, last, whole = content_range({"content-range": part}) or (-1, -1, -1)
    assert status == 206
    assert asked["Range"] == f"bytes={position}-"
    assert first == position
    assert coming in (None, last - first + 1)
    assert length in (None, whole)
    assert not (validator and etag) or etag == validator


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_validator_is_strong(etag: str, modified: str, date: str) -> None:
    validator = validator_of({"etag": etag, "last-modified": modified, "date": date})
    assert not validator.startswith("W/")
    assert "\n" not in validator


@given(st.lists(st.sampled_from(("10.0.0.1", "10.0.0.2", "8.8.8.8", "::1", "[::1]:5", "unknown", "8.8.8.8:99", ""))))
def test_a_client_is_never_further_left_than_proxies_vouch_for(hops: list[str]) -> None:
    client = effective_client("10.0.0.9", ",".join(hops), (network("10.0.0.0/8"),))
    assert client == "10.0.0.9" or any(client in hop for hop in hops)
    beyond = [hop for hop in hops if not hop.startswith("10.")]
    if beyond:
        assert client.startswith("10.") or client in beyond[-1]


# -- paths and configuration -------------------------------------------------------------------------------------------

MOUNT = IndexMount(load({"index-url": "https://index.example/simple/"}).settings.indexes)


SEGMENTS = [
    *("simple", "packages", "files", "pypi", "json", "integrity", "index", "http:", "h.example", ":99"),
    *("..", ".", "", "%2F", "%2e", "%00", "%", "flask", "Flask.", "a-1.0.tar.gz", ".metadata", "é"),
]


@given(st.lists(st.sampled_from(SEGMENTS) | st.text(max_size=5), max_size=7).map("/".join))
def test_any_path_is_a_route_or_a_refusal(path: str) -> None:
    try:
        route = MOUNT.resolve(f"/{path}")
    except CacheError:
        return
    assert route is not None


TOML = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="ascii"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z-]{1,6}", fullmatch=True), inner),
    max_leaves=4,
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}" = {as_toml(each)}' for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f").replace("Infinity", "inf")


@pytest.mark.parametrize("table", ["", "[[index]]\nname = 'a'\nurl = 'https://a.example/simple/'\n"])
@given(st.data())
def test_any_value_in_the_file_is_taken_or_one_line(table: str, data: st.DataObject) -> None:
    own = ("name", "url", "files-url", "ttl", "routes", "username", "password-file", "verify", "absent-status", "path")
    names = own if table else [option.name for option in OPTIONS if option.name != "config"]
    name = data.draw(st.sampled_from(names))
    lines = [line for line in table.splitlines() if not line.startswith(f"{name} ")]
    text = "\n".join((*lines, f"{name} = {as_toml(data.draw(TOML))}", ""))
    problem = ""
    try:
        load(toml=text)
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem
