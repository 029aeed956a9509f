"""Project pages: both upstream forms into both of ours."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.model import FileLink, PageBody
from twisted_pypi.pypi.project import ProjectPage, interpret, restrict, supply, withhold
from twisted_pypi.pypi.scanning import Anchor, scan_page

URL = "https://index.example/simple/foo/"
PACKAGES = "https://files.example/packages/"
SHA = "ab" * 32


def body(data: bytes | str, content_type: str = "", delimited: bool = True) -> PageBody:
    return PageBody(io.BytesIO(data if isinstance(data, bytes) else data.encode()), content_type, URL, delimited)


def page(data: bytes | str, **options: Any) -> ProjectPage:
    return interpret(PACKAGES, "foo", body(data, **options))


def json_page(*files: dict[str, Any], **top: Any) -> bytes:
    return orjson.dumps({"meta": {"api-version": "1.3"}, "name": "foo", "files": list(files), **top})


def html_page(*anchors: str, head: str = "<title>Links for foo</title>", after: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}</head><body>{''.join(anchors)}</body></html>{after}"


def as_json(document: ProjectPage) -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(b"".join(document.render("json")))
    return value


def as_html(document: ProjectPage) -> str:
    return b"".join(document.render("html")).decode()


WHEEL = {
    "filename": "foo-1-py3-none-any.whl",
    "url": PACKAGES + "aa/foo-1-py3-none-any.whl",
    "hashes": {"sha256": SHA},
    "size": 12,
    "upload-time": "2024-01-01T00:00:00Z",
    "requires-python": ">=3.8",
    "yanked": False,
    "core-metadata": {"sha256": SHA},
    "provenance": "https://index.example/integrity/foo/1/foo-1-py3-none-any.whl/provenance",
    "next-pep": {"a": [1]},
}


@pytest.mark.parametrize("upstream", [json_page(WHEEL), html_page('<a href="foo-1.zip">foo-1.zip</a>')])
def test_nothing_is_kept_of_what_was_read(upstream: bytes | str) -> None:
    read = body(upstream)
    assert len(list(interpret(PACKAGES, "foo", read).links())) == 1
    assert read.stream.seek(0, io.SEEK_END) == 0


def test_what_was_said_of_digests_is_kept_once() -> None:
    document = page(json_page(WHEEL))
    (link,) = document.links()
    assert link.hashes is document.files[0]["hashes"]
    assert link.metadata is document.files[0]["core-metadata"]


def test_json_passes_through_but_for_links() -> None:
    top = {"versions": ["1"], "project-status": {"status": "active"}, "new": [None, 1.5], "alternate-locations": []}
    meta = {"api-version": "1.9", "_last-serial": 77, "tracks": ["https://o.example/simple/foo/"]}
    document = page(json_page(WHEEL, **top, meta=meta))
    link = "../../packages/aa/foo-1-py3-none-any.whl"
    assert as_json(document) == {"meta": meta, "name": "foo", **top, "files": [{**WHEEL, "url": link}]}
    assert document.version == 77
    assert list(document.links()) == [FileLink(str(WHEEL["url"]), {"sha256": SHA}, 12, {"sha256": SHA})]


@pytest.mark.parametrize(
    ("keys", "expected", "said"),
    [
        ({"core-metadata": True}, {"core-metadata": True}, {}),
        ({"core-metadata": False}, {"core-metadata": False}, None),
        ({"core-metadata": False, "dist-info-metadata": True}, {"core-metadata": False}, None),
        ({"core-metadata": None, "dist-info-metadata": True}, {"core-metadata": True}, {}),
        ({"dist-info-metadata": {"sha256": SHA}}, {"core-metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"data-dist-info-metadata": {"sha256": SHA}}, {"core-metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"core-metadata": {"sha256": 5}}, {"core-metadata": True}, {}),
        ({"core-metadata": "yes"}, {"core-metadata": False}, None),
        ({}, {}, None),
    ],
)
def test_metadata_has_one_key(keys: dict[str, Any], expected: dict[str, Any], said: dict[str, str] | None) -> None:
    document = page(json_page({"filename": "a-1.whl", "url": "a-1.whl", "hashes": {}, **keys}))
    (file,) = as_json(document)["files"]
    assert {key: value for key, value in file.items() if "metadata" in key} == expected
    assert next(iter(document.links())).metadata == said


@pytest.mark.parametrize(
    ("yanked", "expected", "attribute"),
    [
        (True, True, ' data-yanked=""'),
        ("bad", "bad", ' data-yanked="bad"'),
        ("", False, None),
        (None, False, None),
        (False, False, None),
    ],
)
def test_yanked_is_a_reason_or_whether(yanked: object, expected: object, attribute: str | None) -> None:
    document = page(json_page({"filename": "a-1.whl", "url": "a-1.whl", "hashes": {}, "yanked": yanked}))
    assert as_json(document)["files"][0]["yanked"] == expected
    assert (attribute in as_html(document)) if attribute else ("data-yanked" not in as_html(document))


def test_files_that_cannot_be_linked_are_left_out_and_the_order_is_kept() -> None:
    urls = ["b-1.whl", "ftp://o.example/c-1.whl", "", None, 5, "https://o.example/%2e%2e/d-1.whl", "a-1.whl"]
    files: list[Any] = [{"filename": "x-1.whl", "url": url} for url in urls]
    rendered = as_json(page(json_page(*files, {"filename": "no-url"}, "text", None)))["files"]  # type: ignore[arg-type]
    assert [file["url"].rpartition("/")[2] for file in rendered] == ["b-1.whl", "a-1.whl"]
    assert all(file["hashes"] == {} for file in rendered)


def test_a_missing_file_name_comes_from_the_link() -> None:
    assert as_json(page(json_page({"url": "a%2B1.whl?x"})))["files"][0]["filename"] == "a+1.whl"


def test_what_is_said_of_a_file_is_checkable() -> None:
    hashes = {"sha256": SHA.upper(), "md5": "zz", "shake_128": "00", "nonsense": "00", "sha1": None}
    document = page(
        json_page({"filename": "a-1.whl", "url": "https://o.example/a-1.whl?sig=1#f", "hashes": hashes, "size": -1})
    )
    assert list(document.links()) == [FileLink("https://o.example/a-1.whl?sig=1", {"sha256": SHA})]
    assert "sig=" not in as_html(document)
    assert b"sig=" not in b"".join(document.render("json"))


def test_a_relative_provenance_becomes_absolute() -> None:
    document = page(json_page({"filename": "a-1.whl", "url": "a-1.whl", "provenance": "/p"}))
    assert as_json(document)["files"][0]["provenance"] == "https://index.example/p"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}", "name"),
        (b'{"name": "foo"}', "files"),
        (b'{"name": "foo", "files": {}}', "files"),
        (b'{"name": 1, "files": []}', "name"),
        (b'{"meta": [], "name": "foo", "files": []}', "meta"),
        (b'{"meta": {"api-version": "2.0"}, "name": "foo", "files": []}', "api-version"),
        (b'{"meta": {"api-version": "10.0"}, "name": "foo", "files": []}', "api-version"),
        (b'{"meta": {"api-version": "1.0"}, "name": "foo", "files": [', "JSON"),
        (b'{"name": "bar", "files": []}', "page of 'bar'"),
        (b'{"name": "", "files": []}', "page of ''"),
        (b'[{"name": "foo"}]', "neither"),
        (b"", "neither"),
        (b"Not found", "neither"),
    ],
)
def test_json_that_is_no_simple_page_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        page(data)


@pytest.mark.parametrize("spelling", ["foo", "Foo", "FOO"])
def test_json_may_spell_the_name_as_it_likes(spelling: str) -> None:
    assert as_json(page(json_page(name=spelling)))["name"] == spelling


@pytest.mark.parametrize("content_type", ["", "text/html", "text/plain", "application/octet-stream"])
def test_json_is_recognised_whatever_it_is_called(content_type: str) -> None:
    assert as_json(page(b"\xef\xbb\xbf \n" + json_page(), content_type=content_type))["name"] == "foo"


def test_html_becomes_json() -> None:
    anchors = (
        f'<a href="../../packages/foo-1.tar.gz#egg=foo&amp;sha256={SHA.upper()}" data-requires-python="&gt;=3.8" '
        'data-yanked="a &quot;reason&quot;" data-gpg-sig="true" data-provenance="https://o.example/p">foo-1.tar.gz</a>',
        f'<A HREF="https://files.example/packages/foo-1-py3-none-any.whl#md5={"0" * 32}" data-dist-info-metadata'
        f'="true" data-core-metadata="sha256={SHA}" data-yanked data-size="12" data-upload-time="2024-01-01">wheel</A>',
        '<a href="../">Parent Directory</a><a href="foo.html">foo.html</a><a name="x">y</a>',
        '<a href="mailto:a.zip">b</a>',
    )
    head = (
        '<meta name="pypi:repository-version" content="1.4"><meta name="pypi:project-status" content="archived">'
        '<meta name="pypi:project-status-reason" content="done"><meta name="pypi:tracks" content="https://t.example/">'
        '<meta name="pypi:alternate-locations" content="https://a.example/">'
    )
    document = page(html_page(*anchors, head=head, after="<!--SERIAL 123-->"))
    assert as_json(document) == {
        "meta": {"api-version": "1.0", "_last-serial": 123, "tracks": ["https://t.example/"]},
        "name": "foo",
        "alternate-locations": ["https://a.example/"],
        "project-status": {"status": "archived", "reason": "done"},
        "files": [
            {
                "filename": "foo-1.tar.gz",
                "url": "../../files/index.example/packages/foo-1.tar.gz",
                "hashes": {"sha256": SHA},
                "requires-python": ">=3.8",
                "yanked": 'a "reason"',
                "gpg-sig": True,
                "provenance": "https://o.example/p",
            },
            {
                "filename": "foo-1-py3-none-any.whl",
                "url": "../../packages/foo-1-py3-none-any.whl",
                "hashes": {"md5": "0" * 32},
                "core-metadata": {"sha256": SHA},
                "yanked": True,
                "size": 12,
                "upload-time": "2024-01-01",
            },
        ],
    }
    assert document.version == 123


def test_json_becomes_html_that_is_escaped() -> None:
    nasty = {**WHEEL, "filename": '"><script>-1.whl', "yanked": "<b>'\"&", "requires-python": "<3"}
    document = page(json_page(nasty))
    html = as_html(evolve(document, page={**document.page, "name": "<foo>"}))
    assert html.startswith("<!DOCTYPE html>")
    assert "<title>Links for &lt;foo&gt;</title>" in html
    assert "<h1>Links for &lt;foo&gt;</h1>" in html
    assert '<meta name="pypi:repository-version" content="1.3">' in html
    assert f'href="../../packages/aa/foo-1-py3-none-any.whl#sha256={SHA}"' in html
    assert f'data-dist-info-metadata="sha256={SHA}" data-core-metadata="sha256={SHA}"' in html
    assert 'data-yanked="&lt;b&gt;&#x27;&quot;&amp;"' in html
    assert 'data-requires-python="&lt;3"' in html
    assert ">&quot;&gt;&lt;script&gt;-1.whl</a>" in html


def test_base_href_rules_relative_links() -> None:
    html = html_page('<a href="foo-1.zip">foo-1.zip</a>', head='<base href="https://o.example/x/"><base href="/y/">')
    assert next(iter(page(html).links())).url == "https://o.example/x/foo-1.zip"


@pytest.mark.parametrize(
    ("text", "filename"),
    [("foo-1.zip", "foo-1.zip"), ("foo-1..&gt;", "bar-1.zip"), ("", "bar-1.zip"), ("\n foo-1.zip ", "foo-1.zip")],
)
def test_the_text_names_the_file_if_it_can(text: str, filename: str) -> None:
    assert as_json(page(html_page(f'<a href="x/bar-1.zip?y#z">{text}</a>')))["files"][0]["filename"] == filename


LOGIN = "<form action=/login><input name=user><input type=password></form>"


@pytest.mark.parametrize(
    "html",
    [
        html_page(LOGIN, head="<title>Sign in</title>"),
        html_page(LOGIN, head="<title>Links for foo</title>"),
        html_page(LOGIN, '<a href="client-1.0.exe">our client</a>', head=""),
        html_page(LOGIN, '<a href="setup.zip">help</a>', head=""),
        html_page("<h1>Service unavailable</h1>", head=""),
        html_page("please wait", head=""),
        html_page("<script>go()</script>", head=""),
        html_page("<script>go()</script>", head="<title>foo</title>"),
        html_page(head='<meta http-equiv="Refresh" content="0;url=/login">'),
        html_page('<a href="/">home</a>', head=""),
        "<!-- nothing -->",
        "<",
    ],
)
def test_pages_for_people_are_refused(html: str) -> None:
    with pytest.raises(ValueError, match="not an index page"):
        page(html)


@pytest.mark.parametrize(
    "html",
    [
        html_page(),
        html_page("<h1>Links for foo</h1>", head=""),
        html_page("<h1>root/dev: links for foo</h1>", head=""),
        html_page('<a href="../">../</a>', head="<title>Index of /simple/foo/</title>"),
        html_page(head='<meta name="pypi:repository-version" content="1.0">'),
        html_page(head="<title>Foo</title>"),
        html_page("\n  ", head=""),
        html_page("<script>count()</script>"),
    ],
)
def test_index_pages_without_files_are_accepted(html: str) -> None:
    assert as_json(page(html))["files"] == []


def test_a_page_with_files_of_the_project_is_accepted_whatever_else_it_holds() -> None:
    html = html_page(LOGIN, "<script></script>", '<a href="foo-1.zip">foo-1.zip</a>', head="")
    assert len(as_json(page(html))["files"]) == 1


def test_a_page_with_files_of_odd_names_is_accepted() -> None:
    assert len(as_json(page(html_page('<a href="v1.zip">source</a>', head="")))["files"]) == 1


def test_an_unknown_major_version_of_html_is_refused() -> None:
    with pytest.raises(ValueError, match="api-version"):
        page(html_page(head='<meta name="pypi:repository-version" content="2.0">'))


def test_html_that_may_be_truncated_is_refused() -> None:
    anchor = '<a href="foo-1.zip">foo-1.zip</a>'
    with pytest.raises(ValueError, match="truncated"):
        page("<html><body>" + anchor, delimited=False)
    assert page("<html><body>" + anchor, delimited=True).files
    assert page(html_page(anchor), delimited=False).files
    assert page("<html><body>" + anchor + "</BODY >", delimited=False).files


@pytest.mark.parametrize(
    ("encoding", "content_type", "mark", "head"),
    [
        ("utf-8", "", b"", ""),
        ("latin-1", "text/html; charset=ISO-8859-1", b"", ""),
        ("latin-1", 'text/html;Charset="latin1"; q=1', b"", '<meta charset="utf-8">'),
        ("cp1252", "text/html", b"", '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">'),
        ("utf-8", "text/html; charset=latin-1", b"\xef\xbb\xbf", ""),
        ("utf-16-le", "", b"\xff\xfe", ""),
        ("utf-8", "text/html; charset=nonsense", b"", '<meta charset="hex">'),
        ("utf-8", "text/html", b"", '<meta charset="utf-16">'),
        ("utf-16-be", "text/html; charset=utf-16-be", b"\xfe\xff", ""),
    ],
)
def test_charsets(encoding: str, content_type: str, mark: bytes, head: str) -> None:
    html = html_page('<a href="foo-1.zip" data-yanked="gr\xfc\xdfe">foo-1.zip</a>', head=head)
    document = page(mark + html.encode(encoding), content_type=content_type)
    assert as_json(document)["files"][0]["yanked"] == "gr\xfc\xdfe"


def test_broken_characters_are_replaced() -> None:
    document = page(html_page('<a href="foo-1.zip" data-yanked="a?b">x</a>').encode().replace(b"?", b"\xff\0"))
    assert as_json(document)["files"][0]["yanked"] == "a\ufffdb"


TEXT = st.text(
    # U+FEFF is taken for a byte order mark, wherever HTML has it.
    st.characters(
        codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co", "Zl", "Zp"], exclude_characters=["\ufeff"]
    ),
    min_size=1,
    max_size=9,
)
TRIMMED = TEXT.map(str.strip).filter(bool)
DIGESTS = st.sampled_from([{}, {"sha256": SHA}, {"md5": "0" * 32}, {"blake2b": "1" * 128}])
NAMES = st.from_regex(r"[a-z]{1,4}-[0-9]\.(whl|tar\.gz|zip|egg)", fullmatch=True)


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """A file's entry of which HTML can carry everything."""
    name = draw(NAMES)
    optional = {
        "requires-python": TEXT,
        "yanked": st.just(True) | TEXT,
        "core-metadata": st.just(True) | st.just({"sha256": SHA}),
        "gpg-sig": st.booleans(),
        "provenance": st.just("https://index.example/p?a&b"),
        "size": st.integers(0, 10**12),
        "upload-time": st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    }
    chosen = {key: draw(values) for key, values in optional.items() if draw(st.booleans())}
    prefix = draw(
        st.sampled_from(["../../packages/a/", "../../files/o.example:81/", "../../files/http:o.example/a%2Fb/"])
    )
    return {"filename": name, "url": prefix + name, "hashes": draw(DIGESTS), **chosen}


@st.composite
def pages(draw: st.DrawFn) -> ProjectPage:
    meta: dict[str, Any] = {"api-version": "1.0"}
    top: dict[str, Any] = {}
    if draw(st.booleans()):
        meta["_last-serial"] = draw(st.integers(0, 10**10))
        meta["tracks"] = draw(st.lists(TRIMMED, min_size=1, max_size=2))
    if draw(st.booleans()):
        top["alternate-locations"] = draw(st.lists(TRIMMED, min_size=1, max_size=2))
        top["project-status"] = {"status": draw(TRIMMED), "reason": draw(TRIMMED)}
    return ProjectPage({"meta": meta, "name": "foo", **top}, draw(st.lists(files(), max_size=4)))


@given(pages())
def test_html_carries_what_json_says(document: ProjectPage) -> None:
    # The links are read as if another of these caches, at the index's place, served them.
    again = interpret("https://index.example/packages/", "foo", body(as_html(document)))
    expected = as_json(document)
    for file in expected["files"]:
        file["url"] = file["url"].replace("../../files/", "../../files/index.example/files/")
    assert as_json(again) == expected


@given(pages())
def test_json_carries_what_html_says(document: ProjectPage) -> None:
    packages = "https://index.example/packages/"
    through_html = interpret(packages, "foo", body(as_html(document)))
    through_json = interpret(packages, "foo", body(b"".join(document.render("json"))))
    assert as_html(through_json) == as_html(through_html)
    assert list(through_json.links()) == list(through_html.links())


def test_restricting_keeps_what_is_held() -> None:
    document = page(
        json_page(
            WHEEL,
            {"filename": "b-1.whl", "url": "b%2b1.whl"},
            {"filename": "c-1.whl", "url": "http://c.example:81/c-1.whl?s=1"},
        )
    )
    stored = b"".join(document.render("json"))
    asked: list[str] = []
    digests: list[Mapping[str, str]] = []

    def held(announced: Mapping[str, Mapping[str, str]]) -> set[str]:
        asked.extend(announced)
        digests.extend(announced.values())
        return {asked[0], asked[2], "https://else.example/"}

    kept = restrict(PACKAGES, stored, held)
    assert digests == [WHEEL["hashes"], {}, {}]
    assert asked == [str(WHEEL["url"]), "https://index.example/simple/foo/b%2B1.whl", "http://c.example:81/c-1.whl"]
    assert [file["filename"] for file in as_json(kept)["files"]] == [WHEEL["filename"], "c-1.whl"]
    assert as_json(kept)["files"][0] == as_json(document)["files"][0]
    assert "b-1.whl" not in as_html(kept)


def test_metadata_is_announced_where_we_have_it_and_upstream_does_not() -> None:
    theirs = {"sha256": SHA}
    document = page(
        json_page(
            {"url": f"{PACKAGES}a.whl", "core-metadata": False},
            {"url": f"{PACKAGES}b.whl", "core-metadata": theirs},
            {"url": f"{PACKAGES}c.whl?signature=1"},
            {"url": f"{PACKAGES}d.whl"},
        )
    )
    ours = {f"{PACKAGES}{name}.whl": "cd" * 32 for name in "abc"}
    supplied = supply(document, ours)
    assert isinstance(supplied, ProjectPage)
    expected = [{"sha256": "cd" * 32}, theirs, {"sha256": "cd" * 32}, None]
    assert [file.get("core-metadata") for file in as_json(supplied)["files"]] == expected
    assert [link.metadata for link in supplied.links()] == expected
    kept = withhold(supplied, frozenset({f"{PACKAGES}a.whl"}))
    assert isinstance(kept, ProjectPage)
    assert [file.get("core-metadata") for file in as_json(kept)["files"]] == [None, *expected[1:]]
    assert [file.get("core-metadata") for file in as_json(document)["files"]] == [False, theirs, None, None]


def test_pages_of_many_files_are_rendered_in_pieces() -> None:
    many = [{"filename": f"foo-{number}.zip", "url": f"foo-{number}.zip"} for number in range(2000)]
    document = page(json_page(*many))
    assert len(list(document.render("json"))) > 3
    assert [file["filename"] for file in as_json(document)["files"]] == [file["filename"] for file in many]
    assert as_html(document).count("<a ") == 2000


HOSTILE = "<script>alert(1)</script>\" onload='x' --> ]]> &amp; \u202e\r\nSet-Cookie: a=b\x1b[2J"


def test_markup_in_any_text_of_an_entry_stays_text() -> None:
    entry = {**WHEEL, "requires-python": HOSTILE, "yanked": HOSTILE, "provenance": f"https://o.example/{HOSTILE}"}
    page_ = page(json_page(entry, **{"project-status": {"status": HOSTILE, "reason": HOSTILE}, "tracks": [HOSTILE]}))
    assert as_json(page_)["files"][0]["yanked"] == HOSTILE
    html = as_html(page_)
    assert "<script" not in html
    assert html.count("<") == html.count("<a ") + html.count("</") + html.count("<br>") + html.count("<meta ") + 6
    again = page(html)
    assert as_json(again)["files"][0]["requires-python"].split() == HOSTILE.split()


@pytest.mark.parametrize(
    "name", ["../a.whl", "..\\a.whl", "a/b.whl", "a\0.whl", "a\n.whl", "..", " ", "a" * 252 + ".whl"]
)
def test_a_name_that_no_client_can_store_costs_its_own_entry_alone(name: str) -> None:
    bad = {**WHEEL, "filename": name}
    assert [file["filename"] for file in as_json(page(json_page(bad, WHEEL)))["files"]] == [WHEEL["filename"]]
    unnamed = {"url": f"{PACKAGES}aa/{quote(name, safe='')}"}
    assert [file["filename"] for file in as_json(page(json_page(unnamed, WHEEL)))["files"]] == [WHEEL["filename"]]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("size", value) for value in (-1, 1 << 63, 1.5, "12", True, None, [])),
        *(("upload-time", value) for value in ("yesterday", 12, None, "2024-13-01T00:00:00Z")),
        *(("requires-python", value) for value in (3.8, [">=3.8"], False)),
        ("provenance", {"url": "https://o.example/"}),
    ],
)
def test_a_known_key_with_a_value_of_no_use_is_left_out(key: str, value: object) -> None:
    (file,) = as_json(page(json_page({**WHEEL, key: value})))["files"]
    assert file == {**{name: of for name, of in WHEEL.items() if name != key}, "url": file["url"]}


def test_hashes_are_texts() -> None:
    document = page(json_page({**WHEEL, "hashes": {"sha256": SHA, "md5": 5, "x": None}}))
    assert as_json(document)["files"][0]["hashes"] == {"sha256": SHA}


@pytest.mark.parametrize("serial", [-1, 1 << 63, "12", 1.5, True, None])
def test_a_serial_that_is_no_number_is_none(serial: object) -> None:
    document = page(json_page(WHEEL, meta={"api-version": "1.3", "_last-serial": serial}))
    assert document.version is None
    assert "_last-serial" not in as_json(document)["meta"]


def test_pages_with_more_than_anybody_publishes_are_refused() -> None:
    many = b'{"meta":{},"name":"foo","files":[' + b"{}," * 100_000 + b"{}]}"
    with pytest.raises(ValueError, match="more than 100000 files"):
        page(many)
    with pytest.raises(ValueError, match="more than 2000000 values"):
        page(b'{"meta":{},"name":"foo","files":[' + b"1," * 2_000_000 + b"1]}")
    with pytest.raises(ValueError, match="more than 100000 links"):
        page(html_page("<a href=a>" * 110_000))


def test_a_page_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        page(b'{"a":' + b"[" * 100_000)
    deep = page(json_page(WHEEL).replace(b"[1]", b"[" * 300 + b"]" * 300))
    with pytest.raises(ValueError, match="JSON again"):
        as_json(deep)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"1e999", b'"\xff"', b'"\\ud800"'])
def test_what_json_has_no_word_for_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        page(json_page(WHEEL).replace(b"[1]", value))


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    twice = json_page(WHEEL).replace(b'"size":12', b'"size":-1,"size":12,"url":"https://o.example/b.whl"')
    assert as_json(page(twice))["files"][0]["url"] == "../../files/o.example/b.whl"


def test_a_page_that_makes_up_tags_titles_and_entities_is_read_in_bounded_memory() -> None:
    entities = "<!DOCTYPE html [" + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 9}">' for n in range(1, 9)) + "]>"
    noise = "".join(f"<t{n}><meta name=m{n}><h1>x</h1>" for n in range(5000))
    anchors: list[Anchor] = []
    scan = scan_page(
        body(entities + html_page('<a href="foo-1.zip">foo-1.zip</a>', "&e8;" * 99, noise)), 9, anchors.extend
    )
    assert (len(scan.tags), len(scan.metas), len(scan.titles)) == (1, 1000, 1000)
    assert len(anchors) == scan.count == 1
    assert not scan.anchors
