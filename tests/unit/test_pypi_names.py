"""Names of projects and files."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from twisted_pypi.errors import Absent
from twisted_pypi.pypi.names import (
    all_normalized,
    is_distribution,
    matches,
    normalized,
    project_name,
    projects_of,
    route_pattern,
)

PROJECTS = st.from_regex(re.compile(r"[a-z0-9]+(-[a-z0-9]+){0,3}", re.ASCII), fullmatch=True)
VERSIONS = st.from_regex(
    re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){1,3}((a|b|rc|\.post|\.dev)[0-9])?", re.A), fullmatch=True
)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Flask", "flask"), ("zope.interface", "zope-interface"), ("a__b--.C", "a-b-c"), ("3to2", "3to2"), ("x", "x")],
)
def test_names_are_normalised(text: str, name: str) -> None:
    assert project_name(text) == name


@pytest.mark.parametrize("text", ["", "-a", "a_", ".", "a b", "a/b", "é", "\u212aelvin", "a\n", "a\0", "a+b", "@a"])
def test_other_names_are_absent(text: str) -> None:
    with pytest.raises(Absent, match="PEP 508"):
        project_name(text)


@given(st.text("aB0._-é ", max_size=12))
def test_normalising_agrees_with_packaging(text: str) -> None:
    name = normalized(text)
    assert name is None or (name == canonicalize_name(text) and normalized(name) == name)


@given(
    st.lists(
        st.one_of(st.text(max_size=4), st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,4}[a-z0-9])?", fullmatch=True))
    )
)
def test_many_names_are_normalised_as_each_is(names: list[str]) -> None:
    assert all_normalized(names) == [normalized(name) for name in names]
    assert all_normalized(["a\nb", "c"]) == [None, "c"]


@pytest.mark.parametrize(
    ("filename", "projects"),
    [
        ("Flask-3.0.0-py3-none-any.whl", ("flask",)),
        ("zope.interface-6.0-cp311-cp311-manylinux_2_17_x86_64.whl", ("zope-interface",)),
        ("ruamel_yaml-1.0-1build-py3-none-any.whl", ("ruamel-yaml",)),
        ("foo-1.0-py3-none-any.whl.metadata", ("foo",)),
        ("foo-1.0-py3-none-any.whl.asc", ("foo",)),
        ("foo-1.0.tar.gz.metadata", ("foo",)),
        ("python_dateutil-2.8.2.tar.gz", ("python-dateutil",)),
        ("python-dateutil-2.8.2.zip", ("python-dateutil", "python")),
        ("foo-1.0-1.tar.gz", ("foo", "foo-1-0")),
        ("foo-2-1.0.tar.gz", ("foo-2", "foo")),
        ("my-linux-tool-1.0.tar.gz", ("my-linux-tool", "my-linux", "my")),
        ("foo-py3-1.0.tar.gz", ("foo-py3", "foo")),
        ("foo-1.0.linux-x86_64.tar.gz", ("foo",)),
        ("foo_bar-1.0-py2.7.egg", ("foo-bar",)),
        ("foo_bar-1.0-py3.6-macosx-10.9-x86_64.egg", ("foo-bar",)),
        ("foo-bar-1.0.win32-py2.7.exe", ("foo-bar", "foo")),
        ("foo-1.0.win-amd64.msi", ("foo",)),
        ("foo-1.0-1.noarch.rpm", ("foo",)),
        ("my-pkg-1.0-py3-none-any.whl", ("my-pkg", "my")),
        ("FOO-1.0.TAR.GZ", ("foo",)),
        ("README.txt", ()),
        ("setup.exe", ()),
        (".tar.gz", ()),
        ("foo.whl", ()),
    ],
)
def test_the_projects_of_a_file(filename: str, projects: tuple[str, ...]) -> None:
    assert projects_of(filename) == projects


@given(PROJECTS, VERSIONS)
def test_a_projects_own_files_are_recognised_first(project: str, version: str) -> None:
    stem = project.replace("-", "_")
    assert projects_of(f"{stem}-{version}-py3-none-any.whl")[0] == project
    assert projects_of(f"{stem}-{version}.tar.gz")[0] == project
    assert project in projects_of(f"{project}-{version}.tar.gz")


@pytest.mark.parametrize(
    ("filename", "expected"),
    [("a-1.whl", True), ("a-1.tar.gz", True), ("a.zip", True), (".zip", False), ("x/a.zip", False), ("a\n.zip", False)],
)
def test_distributions_are_told_by_their_suffix(filename: str, expected: bool) -> None:
    assert is_distribution(filename) is expected


def test_a_name_that_could_be_read_in_a_thousand_ways_is_not_read() -> None:
    assert projects_of("a-" * 100 + "1.zip")
    assert projects_of("a-" * 200 + "1.zip") == ()


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("acme-*", "acme-tool", True),
        ("Acme._*", "acme-tool-kit", True),
        ("acme-*", "acme", False),
        ("acme-*", "acmetool", False),
        ("acme*", "acme", True),
        ("*-internal", "a-internal", True),
        ("*-internal", "a-internal-b", False),
        ("*", "anything", True),
        ("a*c*e", "abcde", True),
        ("torch", "torch", True),
        ("torch", "torchvision", False),
    ],
)
def test_patterns_of_names(text: str, name: str, expected: bool) -> None:
    assert matches(route_pattern(text), name) is expected


@pytest.mark.parametrize("text", ["", "acme-", "-*", "a?", "[ab]", "a b", "!a", "a/*", "é*"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"as in acme-\*"):
        route_pattern(text)


def test_many_stars_take_no_time() -> None:
    assert not matches("a*" * 40 + "b", "a" * 4000)
