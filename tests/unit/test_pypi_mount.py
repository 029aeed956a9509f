"""What paths mean."""

from __future__ import annotations

import io

import orjson
import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.errors import Absent, BadPath
from twisted_pypi.interfaces import Mount
from twisted_pypi.model import FileRoute, PageBody, PageRoute, Redirect
from twisted_pypi.pypi.metadata import metadata_of_wheel
from twisted_pypi.pypi.mount import IndexMount
from twisted_pypi.pypi.routes import names_origin
from twisted_pypi.pypi.specs import IndexSpec, MirrorSpec


@frozen
class Spec:
    name: str
    url: str
    files_url: str
    bound: bool = False
    file_hosts: frozenset[str] = frozenset()
    ttl: float = 300.0
    not_found_ttl: float = 60.0
    absent_status: frozenset[int] = frozenset({404, 410})
    path: str = ""
    public: bool = False
    routes: tuple[str, ...] = ()
    mirrors: tuple[MirrorSpec, ...] = ()


MAIN = Spec("main", "https://index.example/simple/", "https://files.example/", bound=True, public=True, ttl=7.0)
EXTRA = Spec(
    "extra",
    "http://10.0.0.1:3141/root/dev/+simple",
    "http://10.0.0.1:3141/",
    file_hosts=frozenset({"cdn.example", "alt.example:8443"}),
    absent_status=frozenset({403, 404}),
)
ALONE = IndexMount((MAIN,))
BOTH = IndexMount((EXTRA, MAIN))
AS_MOUNT: Mount = BOTH
AS_SPEC: IndexSpec = MAIN


def page(mount: IndexMount, path: str) -> PageRoute:
    route = mount.resolve(path)
    assert isinstance(route, PageRoute)
    return route


def file(mount: IndexMount, path: str) -> FileRoute:
    route = mount.resolve(path)
    assert isinstance(route, FileRoute)
    return route


def test_a_wheel_knows_the_route_of_its_companion() -> None:
    path = "/packages/aa/foo-1.0-py3-none-any.whl"
    wheel = file(ALONE, path)
    assert wheel.companion is not None
    assert (wheel.companion().key, wheel.companion().companion_of) == (f"{wheel.key}.metadata", wheel.key)
    assert wheel.companion().derive is not None
    for other in ("/packages/aa/foo-1.0.tar.gz", f"{path}.metadata"):
        assert file(ALONE, other).companion is None


def test_only_a_directory_is_local() -> None:
    assert [source.local for source in page(BOTH, "/simple/foo/").sources] == [False, False]
    here = IndexMount((Spec("here", "https://here.directory.invalid/", "https://x/", path="/srv"), MAIN))
    assert [source.local for source in page(here, "/simple/foo/").sources] == [True, False]


@pytest.mark.parametrize("path", ["/simple/Foo.Bar/", "/simple/foo-bar/", "/index/foo__bar/", "/simple/Foo%2EBar/"])
def test_a_project_in_any_spelling(path: str) -> None:
    route = page(ALONE, path)
    assert (route.key, route.name, route.owner) == ("simple/foo-bar", "foo-bar", None)
    (source,) = route.sources
    assert source.index == "main"
    assert source.key == source.url == "https://index.example/simple/foo-bar/"
    assert (source.ttl, source.not_found_ttl) == (7.0, 60.0)
    assert source.accept.startswith("application/vnd.pypi.simple.v1+json, ")


def test_pages_of_an_index_are_told_apart_by_how_their_links_are_made() -> None:
    turned = IndexMount((MAIN, EXTRA))
    for path in ("/simple/foo/", "/pypi/foo/json"):
        by_index = [{source.index: source.layout for source in page(mount, path).sources} for mount in (BOTH, turned)]
        assert by_index == [
            {"extra": "", "main": "https://files.example/packages/"},
            {"extra": "http://10.0.0.1:3141/packages/", "main": ""},
        ]


def test_several_indexes_are_asked_in_order() -> None:
    route = page(BOTH, "/simple/foo/")
    assert route.owner == "foo"
    assert [source.index for source in route.sources] == ["extra", "main"]
    assert route.sources[0].url == "http://10.0.0.1:3141/root/dev/+simple/foo/"
    assert route.sources[0].absent_status == {403, 404}


def test_only_the_default_indexs_files_have_short_paths() -> None:
    data = orjson.dumps(
        {"name": "foo", "files": [{"filename": "f-1.whl", "url": "https://files.example/packages/f-1.whl"}]}
    )
    links = []
    for source in page(BOTH, "/simple/foo/").sources:
        document = source.interpret(PageBody(io.BytesIO(data), "", source.url))
        links.append(orjson.loads(b"".join(document.render("json")))["files"][0]["url"])
    assert links == ["../../files/files.example/packages/f-1.whl", "../../packages/f-1.whl"]


def test_an_extra_index_alone_has_the_links_that_it_has_among_others() -> None:
    url = "http://10.0.0.1:3141/packages/f-1.whl"
    data = orjson.dumps({"name": "foo", "files": [{"filename": "f-1.whl", "url": url}]})
    alone = page(IndexMount((EXTRA,), short_links=False), "/simple/foo/").sources[0]
    among = page(BOTH, "/simple/foo/").sources[0]
    assert alone.key == among.key
    first, second = (
        b"".join(source.interpret(PageBody(io.BytesIO(data), "", source.url)).render("json"))
        for source in (alone, among)
    )
    assert first == second
    assert b"../../files/http:10.0.0.1:3141/packages/f-1.whl" in first


def test_a_project_can_be_restricted_to_what_is_held() -> None:
    files = [{"filename": name, "url": f"../../packages/{name}"} for name in ("a-1.whl", "b-1.whl")]
    restrict = page(BOTH, "/simple/foo/").restrict
    assert restrict is not None
    document = restrict(orjson.dumps({"name": "foo", "files": files}), lambda announced: {list(announced)[1]})
    assert [file["filename"] for file in orjson.loads(b"".join(document.render("json")))["files"]] == ["b-1.whl"]


def test_the_forms() -> None:
    route = page(ALONE, "/simple/foo/")
    assert [form.content_type for form in route.forms] == [
        "application/vnd.pypi.simple.v1+json",
        "application/vnd.pypi.simple.v1+html",
        "text/html; charset=utf-8",
    ]
    assert all(form.content_type.partition(";")[0] in form.media_types for form in route.forms)
    assert route.bodies == ("json", "html")


@pytest.mark.parametrize("path", ["/simple/", "/index/"])
def test_the_list_of_one_index(path: str) -> None:
    route = page(ALONE, path)
    assert [source.url for source in route.sources] == ["https://index.example/simple/"]
    assert (route.name, route.owner, route.restrict) == ("", None, None)
    assert route.max_body == 256 << 20
    document = route.sources[0].interpret(
        PageBody(io.BytesIO(b'{"projects": [{"name": "a"}]}'), "", "https://i.example/")
    )
    assert b'"name":"a"' in b"".join(document.render("json"))


def test_the_list_of_several_is_the_union_of_those_of_each() -> None:
    route = page(BOTH, "/simple/")
    assert [source.url for part in route.parts for source in part.sources] == [
        "http://10.0.0.1:3141/root/dev/+simple/",
        "https://index.example/simple/",
    ]
    assert route.sources == tuple(source for part in route.parts for source in part.sources)
    assert {part.max_body for part in route.parts} == {256 << 20}
    assert (route.name, route.owner) == ("", None)


def merged(mount: IndexMount, **lists: bytes) -> set[str]:
    """The names in the union of what the indexes have."""
    route = page(mount, "/simple/")
    assert route.merge is not None
    made = route.merge({index: io.BytesIO(listed(*names.split())) for index, names in lists.items()})
    return {project["name"] for project in orjson.loads(b"".join(made.render("json")))["projects"]}


def listed(*names: bytes) -> bytes:
    return orjson.dumps({"meta": {"api-version": "1.1"}, "projects": [{"name": name.decode()} for name in names]})


def test_the_union_shows_each_name_of_those_that_are_asked_for_it() -> None:
    routed = IndexMount((evolve(EXTRA, routes=("acme-*",)), MAIN))
    lists = {"extra": b"acme-one other", "main": b"acme-two public"}
    assert merged(BOTH, **lists) == {"acme-one", "other", "acme-two", "public"}
    assert merged(routed, **lists) == {"acme-one", "public"}
    assert merged(BOTH, main=b"public") == {"public"}
    assert page(BOTH, "/simple/").recipe != page(routed, "/simple/").recipe


def test_what_others_may_have_does_not_follow_redirects_away() -> None:
    alone = IndexMount((EXTRA,), short_links=False, among_others=True)
    for mount, several in ((ALONE, False), (BOTH, True), (alone, True)):
        for path in ("/simple/foo/", "/pypi/foo/json"):
            route = page(mount, path)
            assert {source.confined for source in route.sources} == {several}
            assert route.tells_index is several
        assert file(mount, "/packages/aa/foo-1.tar.gz").tells_index is several


def test_the_page_that_would_name_a_file() -> None:
    found = BOTH.page_of("extra", "https://cdn.example/x/Foo_Bar-1.0-py3-none-any.whl.metadata?sig=1")
    assert found is not None
    assert [source.key for source in found.sources] == [page(BOTH, "/simple/foo-bar/").sources[0].key]
    assert (found.owner, found.key) == (None, "extra foo-bar")
    assert BOTH.page_of("extra", "https://cdn.example/download?id=1") is None
    assert BOTH.page_of("gone", "https://cdn.example/foo-1.0.tar.gz") is None


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/simple", "simple/"),
        ("/index", "index/"),
        ("/simple/Foo", "Foo/"),
        ("/simple/foo%2Dbar", "foo%2Dbar/"),
        ("//simple//x/", "/simple/x/"),
        ("/simple//x", "/simple/x/"),
        ("/simple/x//", "/simple/x/"),
        ("//simple", "/simple/"),
        ("///simple//", "/simple/"),
        ("//packages/a//b-1.whl", "/packages/a//b-1.whl"),
        ("/pypi//foo/json", "/pypi/foo/json"),
    ],
)
def test_redirects(path: str, location: str) -> None:
    assert BOTH.resolve(path) == Redirect(location)


@pytest.mark.parametrize(
    "path",
    [
        "/", "//", "/favicon.ico", "/simple/a/b", "/simple/a/b/", "/simple/a%2Fb/", "/simple/-a/", "/simple/-a",
        "//evil.example/simple/", "//evil.example", "/simple//x%5Cy", "/packages/", "/packages", "/packages/a/",
        "/files/o.example", "/files/", "/pypi", "/pypi/foo/", "/pypi/foo/1/2/json", "/pypi/foo/1%2F2/json",
        "/integrity/foo/1/f-1.whl", "/integrity/foo/1/a%2Fb/provenance",
    ],
)  # fmt: skip
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(Absent) as caught:
        BOTH.resolve(path)
    assert caught.value.reason


@pytest.mark.parametrize(
    "path",
    [
        "", "simple/", "/simple/../x/", "/packages/%2e%2E/a", "/packages/a%00.whl", "/packages/a%0a.whl",
        "/simple/%7F/", "/packages/a b", "/packages/\xe9", "/packages/a#b", "/packages/a?b", "/packages/a\n",
        "/files/%2e%2e/a",
        "/files/u@o.example/a", "/files/https:o.example/a", "/files/o.example:x/a", "/files/o.example:70000/a",
    ],
)  # fmt: skip
def test_malformed_paths(path: str) -> None:
    with pytest.raises(BadPath) as caught:
        BOTH.resolve(path)
    assert caught.value.reason


SHA = "0123456789abcdef" * 4
HASHED = f"/packages/{SHA[:2]}/{SHA[2:4]}/{SHA[4:]}"


def test_a_file_of_the_default_index() -> None:
    route = file(BOTH, f"{HASHED}/Foo_Bar-1.0-py3-none-any.whl")
    url = f"https://files.example{HASHED}/Foo_Bar-1.0-py3-none-any.whl"
    assert (route.key, route.url, route.name) == (url, url, "Foo_Bar-1.0-py3-none-any.whl")
    assert (route.index, route.indexes, route.open) == ("main", ("main",), True)
    assert route.path_hashes == {"blake2b-256": SHA}
    assert route.pages is not None
    assert (route.pages.name, len(route.pages.sources)) == ("foo-bar", 2)
    assert (route.companion_of, route.derive) == (None, None)


def test_the_metadata_of_a_wheel() -> None:
    route = file(ALONE, f"{HASHED}/foo-1%2Blocal-py3-none-any.whl.metadata")
    assert route.companion_of == f"https://files.example{HASHED}/foo-1%2Blocal-py3-none-any.whl"
    assert route.derive is metadata_of_wheel
    assert route.path_hashes == {}
    assert route.pages is not None
    assert route.pages.name == "foo"


def test_the_metadata_of_an_sdist_cannot_be_derived() -> None:
    route = file(ALONE, "/packages/foo-1.tar.gz.metadata")
    assert route.companion_of == "https://files.example/packages/foo-1.tar.gz"
    assert route.derive is None


@pytest.mark.parametrize(
    "path",
    [
        f"{HASHED}/foo-1.zip.asc",
        f"{HASHED}/x/foo-1.zip",
        f"/packages/x/{SHA[2:4]}/{SHA[4:]}/foo-1.zip",
        f"/files/o.example{HASHED}/foo-1.zip",
    ],
)
def test_paths_without_a_digest(path: str) -> None:
    assert file(ALONE, path).path_hashes == {}


def test_digests_in_paths_count_for_the_public_index_alone() -> None:
    assert file(IndexMount((evolve(MAIN, public=False),)), f"{HASHED}/foo-1.zip").path_hashes == {}
    assert file(IndexMount((MAIN, EXTRA)), f"{HASHED}/foo-1.zip").path_hashes == {}
    assert file(ALONE, f"/files/files.example{HASHED}/foo-1.zip").path_hashes == {"blake2b-256": SHA}


@pytest.mark.parametrize(
    ("path", "url", "is_open"),
    [
        ("/files/cdn.example/a-1.zip", "https://cdn.example/a-1.zip", True),
        ("/files/http:cdn.example/a-1.zip", "http://cdn.example/a-1.zip", True),
        ("/files/cdn.example:8443/a-1.zip", "https://cdn.example:8443/a-1.zip", False),
        ("/files/alt.example:8443/a-1.zip", "https://alt.example:8443/a-1.zip", True),
        ("/files/alt.example/a-1.zip", "https://alt.example/a-1.zip", False),
        ("/files/http:10.0.0.1:3141/a-1.zip", "http://10.0.0.1:3141/a-1.zip", True),
        ("/files/10.0.0.1:3141/a-1.zip", "https://10.0.0.1:3141/a-1.zip", False),
        ("/files/files.example/packages/a-1.zip", "https://files.example/packages/a-1.zip", True),
        ("/files/INDEX.example:443/a-1.zip", "https://index.example/a-1.zip", True),
        ("/files/other.example/a%2Fb//c-1.zip", "https://other.example/a%2Fb//c-1.zip", False),
    ],
)
def test_files_elsewhere(path: str, url: str, is_open: bool) -> None:
    route = file(BOTH, path)
    assert (route.key, route.open) == (url, is_open)
    assert (route.index, route.indexes) == (None, ("extra", "main"))


@pytest.mark.parametrize(
    "folder",
    ["a%2Fb", "a%5cb", "a\\b", "%252e%252e", "a%2500", "%c0%ae%c0%ae", "%e0%80%ae", "%ff", "..;", ".;a=b", "", "/"],
)
def test_what_a_server_could_take_for_another_path_counts_only_where_a_page_names_it(folder: str) -> None:
    route = file(ALONE, f"/packages/{folder}/foo-1.0.tar.gz")
    assert (route.open, route.pages) == (False, None)


@pytest.mark.parametrize("folder", ["a;b", "...", "%C3%BC", "~a", "a%20b", "..a;", "a+b"])
def test_odd_folders_are_no_trouble(folder: str) -> None:
    route = file(ALONE, f"/packages/{folder}/foo-1.0.tar.gz")
    assert route.open
    assert route.pages is not None


def test_a_file_of_no_project_has_no_page() -> None:
    route = file(ALONE, "/packages/docs/README.txt")
    assert (route.pages, route.companion_of) == (None, None)


def test_the_json_api_is_that_of_the_index_that_owns_the_name() -> None:
    alone, both = page(ALONE, "/pypi/Foo.Bar/json"), page(BOTH, "/pypi/Foo.Bar/json")
    assert (alone.owner, alone.follows) == (None, None)
    assert (both.owner, both.follows.key) == ("foo-bar", "simple/foo-bar")
    assert [source.index for source in both.sources] == [source.index for source in both.follows.sources]


def test_the_json_api() -> None:
    route = page(ALONE, "/pypi/Foo.Bar/json")
    (source,) = route.sources
    assert source.url == "https://index.example/pypi/foo-bar/json"
    local = page(ALONE, "/pypi/foo/1.0%2Blocal/json/")
    assert local.sources[0].url == "https://index.example/pypi/foo/1.0%2Blocal/json"
    (form,) = route.forms
    assert form.placeholder
    assert form.content_type == "application/json"
    data = {"info": {}, "urls": [{"url": "https://files.example/packages/f-1.whl", "digests": {}}]}
    document = source.interpret(PageBody(io.BytesIO(orjson.dumps(data)), "", source.url))
    assert form.placeholder + b"packages/f-1.whl" in b"".join(document.render(form.body))
    assert list(document.links()) == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://i.example/a/simple", "https://i.example/a/pypi/foo/json"),
        ("https://i.example/a/mysimple/", "https://i.example/pypi/foo/json"),
        ("http://i.example:81/a/b/", "http://i.example:81/pypi/foo/json"),
    ],
)
def test_where_the_other_apis_are(url: str, expected: str) -> None:
    assert page(IndexMount((evolve(MAIN, url=url),)), "/pypi/foo/json").sources[0].url == expected


def test_the_provenance_api() -> None:
    route = page(ALONE, "/integrity/Foo/1.0/foo-1.0.tar.gz/provenance")
    assert route.sources[0].url == "https://index.example/integrity/foo/1.0/foo-1.0.tar.gz/provenance"
    assert [form.content_type for form in route.forms] == ["application/vnd.pypi.integrity.v1+json"]
    assert "application/json" in route.forms[0].media_types


def test_keys_differ_between_pages() -> None:
    paths = ["/simple/", "/simple/foo/", "/pypi/foo/json", "/pypi/foo/1/json", "/integrity/foo/1/foo-1.whl/provenance"]
    routes = [page(BOTH, path) for path in paths]
    assert len({route.key for route in routes}) == len(paths)
    assert len({source.key for route in routes for source in route.sources}) == 2 * len(paths)


def test_the_pages_of_a_name() -> None:
    assert [source.key for route in BOTH.pages_of("Foo_Bar") for source in route.sources] == [
        "http://10.0.0.1:3141/root/dev/%2Bsimple/foo-bar/",
        "https://index.example/simple/foo-bar/",
        "http://10.0.0.1:3141/pypi/foo-bar/json",
        "https://index.example/pypi/foo-bar/json",
    ]
    assert [route.key for route in ALONE.pages_of("list")] == ["simple/"]
    assert [route.parts for route in BOTH.pages_of("list")] == [page(BOTH, "/simple/").parts]
    with pytest.raises(Absent):
        BOTH.pages_of("a/b")


@pytest.mark.parametrize(
    ("index", "url", "expected"),
    [
        ("main", "https://files.example/a", True),
        ("main", "https://index.example/a", True),
        ("main", "https://else.example/a", False),
        ("extra", "https://else.example/a", True),
        ("unknown", "https://files.example/a", False),
    ],
)
def test_bound_indexes_name_files_at_their_origins_alone(index: str, url: str, expected: bool) -> None:
    assert BOTH.permits(index, url) is expected


@pytest.mark.parametrize(
    ("index", "url", "expected"),
    [
        ("main", "https://files.example/a", True),
        ("main", "http://10.0.0.1:3141/a", False),
        ("extra", "http://10.0.0.1:3141/a", True),
        ("extra", "https://files.example/a", False),
        ("unknown", "https://files.example/a", False),
    ],
)
def test_an_index_is_at_home_at_its_configured_origins(index: str, url: str, expected: bool) -> None:
    assert BOTH.at_home(index, url) is expected


def test_a_file_host_may_be_an_ipv6_address() -> None:
    spec = evolve(MAIN, file_hosts=frozenset({"[::1]", "[::2]:81"}))
    assert names_origin(spec, "http://[::1]/a")
    assert names_origin(spec, "http://[::2]:81/a")
    assert not names_origin(spec, "http://[::1]:81/a")


@given(st.text(st.sampled_from("/simplepackagfr%2Ee.F0 #:\\\n"), max_size=30))
def test_a_redirect_never_leaves_the_server(text: str) -> None:
    try:
        route = BOTH.resolve(f"/{text}")
    except (Absent, BadPath):
        return
    if isinstance(route, Redirect):
        assert not route.location.startswith(("//", "/\\"))
        assert ":" not in route.location.split("/")[0]
        if route.location.startswith("/"):
            assert not isinstance(BOTH.resolve(route.location), Redirect)


INSIDE = evolve(EXTRA, name="inside", url="https://inside.example/simple/", routes=("acme-*", "tool"))
WHEELS = evolve(EXTRA, name="wheels", url="https://wheels.example/whl/cpu/", routes=("torch*", "acme-gpu"))
ROUTED = IndexMount((WHEELS, INSIDE, EXTRA, MAIN))


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("acme-x", ["inside"]),
        ("Acme_X", ["inside"]),
        ("tool", ["inside"]),
        ("acme-gpu", ["wheels", "inside"]),
        ("torchvision", ["wheels"]),
        ("acme", ["extra", "main"]),
        ("tools", ["extra", "main"]),
    ],
)
def test_a_name_that_is_claimed_is_asked_of_nobody_else_and_no_other_of_them(name: str, asked: list[str]) -> None:
    documents = (
        page(ROUTED, f"/simple/{name}/"),
        page(ROUTED, f"/pypi/{name}/json"),
        page(ROUTED, f"/pypi/{name}/1.0/json"),
        page(ROUTED, f"/integrity/{name}/1.0/{name}-1.0.tar.gz/provenance"),
    )
    for route in documents:
        assert [source.index for source in route.sources] == asked
    assert all(route.follows and len(route.follows.sources) == len(asked) for route in documents[1:])
    assert [len(route.sources) for route in ROUTED.pages_of(name)] == [len(asked)] * 2


def test_a_file_is_looked_for_in_the_page_of_the_index_that_is_asked() -> None:
    route = file(ROUTED, "/files/inside.example/x/acme_x-1.0.tar.gz")
    assert route.pages is not None
    assert [source.index for source in route.pages.sources] == ["inside"]


def test_a_name_that_no_index_is_for_is_absent() -> None:
    only = IndexMount((INSIDE,))
    for path in ("/simple/other/", "/pypi/other/json"):
        with pytest.raises(Absent, match="other: no index is for such names"):
            only.resolve(path)
    assert file(only, "/files/inside.example/x/other-1.0.tar.gz").pages is None
