"""Packuments: both forms, from whatever a registry sends."""

from __future__ import annotations

import json
import sys
from functools import partial
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_pypi.model import PageBody
from twisted_pypi.npm.packument import (
    ABBREVIATED,
    PLACEHOLDER,
    Linking,
    Packument,
    interpret,
    interpret_manifest,
    interpret_object,
    restrict,
)
from twisted_pypi.npm.reading import dump, head_of, versions_of

REGISTRY = "https://registry.example/"
LINKING = Linking(REGISTRY, "npm/")
SHASUM = "a" * 40
HERE = PLACEHOLDER.decode() + "npm/"


def body(document: object, content_type: str = "application/json") -> PageBody:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return PageBody(BytesIO(data), content_type, f"{REGISTRY}left")


def manifest(version: str, **extra: Any) -> dict[str, Any]:
    dist = {"tarball": f"{REGISTRY}left/-/left-{version}.tgz", "shasum": SHASUM, "signatures": [{"keyid": "k"}]}
    return {"name": "left", "version": version, "dist": dist, **extra}


def packument(*versions: str, **extra: Any) -> dict[str, Any]:
    return {
        "_id": "left",
        "name": "left",
        "dist-tags": {"latest": versions[-1] if versions else "0"},
        "versions": {version: manifest(version) for version in versions},
        "time": {"modified": "2024-01-01T00:00:00.000Z"},
        "readme": "long",
        **extra,
    }


def made(document: Packument) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(b"".join(document.render("json")))
    return value


def test_links_lead_here_and_the_rest_is_as_it_was() -> None:
    upstream = packument("1.0.0", "1.1.0", future={"key": [1, 2.5, None, "ä"]})
    found = interpret(LINKING, "left", False, body(upstream))
    document = made(found)
    for version, told in upstream["versions"].items():
        told["dist"]["tarball"] = f"{HERE}left/-/left-{version}.tgz"
    assert document == upstream
    links = list(found.links())
    assert [link.url for link in links] == [f"{REGISTRY}left/-/left-{version}.tgz" for version in ("1.0.0", "1.1.0")]
    assert [link.hashes for link in links] == [{"sha1": SHASUM}] * 2


def test_what_comes_abbreviated_passes_through() -> None:
    upstream = {"name": "left", "dist-tags": {}, "versions": {"1.0.0": manifest("1.0.0", future=1)}, "future": 1}
    document = made(interpret(LINKING, "left", True, body(upstream, f"{ABBREVIATED}; charset=utf-8")))
    assert document["future"] == document["versions"]["1.0.0"]["future"] == 1


def test_what_comes_full_is_abbreviated() -> None:
    told = manifest(
        "1.0.0",
        scripts={"postinstall": "x"},
        readme="long",
        dependencies={"a": "1"},
        libc=["musl"],
        _hasShrinkwrap=False,
    )
    document = made(interpret(LINKING, "left", True, body({**packument("1.0.0"), "versions": {"1.0.0": told}})))
    assert document.keys() == {"name", "dist-tags", "modified", "time", "versions"}
    (version,) = document["versions"].values()
    assert version.keys() == {"name", "version", "dist", "dependencies", "libc", "_hasShrinkwrap", "hasInstallScript"}
    assert version["dist"]["signatures"]
    without = made(interpret(LINKING, "left", True, body(packument("1.0.0"))))
    assert "hasInstallScript" not in without["versions"]["1.0.0"]


def test_a_version_that_can_t_be_linked_is_left_out_and_its_tag() -> None:
    upstream = packument("1.0.0", "2.0.0")
    upstream["versions"]["2.0.0"]["dist"]["tarball"] = "git+ssh://host.example/left.git"
    upstream["versions"]["3.0.0"] = "no object"
    document = made(interpret(LINKING, "left", False, body(upstream)))
    assert list(document["versions"]) == ["1.0.0"]
    assert document["dist-tags"] == {}


@pytest.mark.parametrize(
    "upstream",
    [
        b"<html>log in</html>",
        b"[]",
        b"1",
        b"",
        b'{"name": "left", "versions": {',
        b'{"name": "left"} and more',
        b'{"name": "left", "versions": []}',
        b'{"name": "left", "versions": 1}',
        b"[" * 1000,
        b'{"name": "left", "a": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b'{"name": "left", "versions": {"1": [' + b"1," * 500_000 + b"1]}}",
        b'{"name": "left", "a": {' + b'"b":1,' * 500_000 + b'"c":1}}',
        b'{"name": "left"' + b',"a":1' * 500_000 + b"}",
        b'{"name": "left", "versions": {' + b",".join(b'"%d":{}' % number for number in range(100_001)) + b"}}",
        b'{"name": "' + b"a" * (5 << 20) + b'"}',
        {"error": "not found"},
        packument("1.0.0", name="right"),
        packument("1.0.0", name="Left"),
    ],
    ids=lambda upstream: str(upstream)[:40],
)
@pytest.mark.parametrize("abbreviated", [True, False])
def test_what_is_no_packument_of_the_package(upstream: object, abbreviated: bool) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        interpret(LINKING, "left", abbreviated, body(upstream))


def test_numbers_that_c_has_no_type_for_are_no_reason_to_refuse_a_package() -> None:
    said = (
        b'{"a":123456789012345678901234567890,"b":[18446744073709551616,0.5],"c":1e400,"d":-1e400,"e":1e-400,"f":1.5e3}'
    )
    document = b'{"name":"left","x":%b,"versions":{"1.0.0":{"name":"left","config":%b}}}' % (said, said)
    read = json.loads(b"".join(interpret(LINKING, "left", False, body(document)).render("json")))
    for found in (read["x"], read["versions"]["1.0.0"]["config"]):
        assert found == {**json.loads(said), "c": sys.float_info.max, "d": -sys.float_info.max}


@pytest.mark.parametrize("number", [b"1e99999999999999999999", b"9" * 5000])
def test_numbers_that_nobody_can_have_meant(number: bytes) -> None:
    with pytest.raises(ValueError, match="a number is too large"):
        interpret(LINKING, "left", False, body(b'{"name":"left","x":%b,"versions":{}}' % number))


def test_one_that_was_unpublished_has_no_versions() -> None:
    assert made(interpret(LINKING, "left", False, body({"name": "left", "time": {}})))["versions"] == {}


def test_an_old_one_is_never_in_memory_as_objects() -> None:
    """Thousands of versions come out in pieces."""
    upstream = packument(*(f"1.0.{patch}" for patch in range(5000)))
    found = interpret(LINKING, "left", False, body(upstream))
    assert len(found.chunks) > 4
    assert max(map(len, found.chunks)) < 300 << 10
    assert len(made(found)["versions"]) == 5000


keys = st.text(max_size=5)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(keys.filter(lambda key: key != "versions"), values), st.dictionaries(keys, values))
def test_reading_in_pieces_is_reading(head: dict[str, Any], versions: dict[str, Any]) -> None:
    stream = BytesIO(json.dumps({**head, "versions": versions, "z": {"versions": {"1": 2}}}).encode())
    assert json.loads(dump(head_of(stream))) == {**head, "z": {"versions": {"1": 2}}}
    assert json.loads(dump(dict(versions_of(stream)))) == versions


@given(st.binary(max_size=40))
def test_anything_is_read_or_refused(data: bytes) -> None:
    for read in (partial(interpret, LINKING, "left", True), partial(interpret_manifest, LINKING, "left")):
        with pytest.raises(ValueError, match=r"."):
            read(body(data))


def test_what_a_tarball_of_another_package_is_that_one_s_packument_says() -> None:
    upstream = packument("1.0.0", "2.0.0")
    upstream["versions"]["2.0.0"]["dist"]["tarball"] = f"{REGISTRY}right/-/right-1.0.0.tgz"
    found = interpret(LINKING, "left", True, body(upstream))
    assert made(found)["versions"]["2.0.0"]["dist"]["tarball"] == f"{HERE}right/-/right-1.0.0.tgz"
    assert [link.url for link in found.links()] == [f"{REGISTRY}left/-/left-1.0.0.tgz"]
    assert interpret_manifest(LINKING, "left", body(upstream["versions"]["2.0.0"])).announced == ()


def test_a_manifest_is_linked_too() -> None:
    found = interpret_manifest(LINKING, "left", body(manifest("1.0.0")))
    assert made(found)["dist"]["tarball"] == f"{HERE}left/-/left-1.0.0.tgz"
    assert [link.hashes for link in found.links()] == [{"sha1": SHASUM}]
    for wrong in (b"[1]", {"name": "right"}, manifest("1.0.0", dist={"tarball": "file:///x"})):
        with pytest.raises(ValueError, match=r"not JSON|not a JSON|its name|its tarball"):
            interpret_manifest(LINKING, "left", body(wrong))


def test_an_object_passes_through() -> None:
    assert made(interpret_object(body({"latest": "1"}))) == {"latest": "1"}
    with pytest.raises(ValueError, match="not JSON"):
        interpret_object(body(b"<html>"))


def restricted(held: set[str], *versions: str) -> dict[str, Any]:
    stored = b"".join(interpret(LINKING, "left", True, body(packument(*versions))).chunks)
    keys = {f"{REGISTRY}left/-/left-{version}.tgz" for version in held}
    return made(restrict(LINKING, stored, keys.intersection))


def test_offline_it_lists_what_is_held_and_latest_is_one_of_these() -> None:
    document = restricted({"1.9.0", "1.10.0", "2.0.0-rc.1"}, "1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0")
    assert list(document["versions"]) == ["1.9.0", "1.10.0", "2.0.0-rc.1"]
    assert document["dist-tags"] == {"latest": "1.10.0"}
    assert document["versions"]["1.9.0"]["dist"]["tarball"].startswith(HERE)


def test_offline_a_latest_that_is_held_stays() -> None:
    assert restricted({"1.0.0", "2.0.0"}, "2.0.0", "1.0.0")["dist-tags"] == {"latest": "1.0.0"}


def test_offline_with_nothing_held_it_lists_nothing() -> None:
    document = restricted(set(), "1.0.0")
    assert (document["versions"], document["dist-tags"]) == ({}, {})
