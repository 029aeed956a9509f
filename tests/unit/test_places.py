"""What settings say of an index's places is what fetching does."""

from __future__ import annotations

import pytest

from twisted_pypi.config import PUBLIC_FILES, PUBLIC_INDEX
from twisted_pypi.fetching.identity import COMMON
from twisted_pypi.fetching.policy import IndexRules
from twisted_pypi.fetching.proxies import NO_PROXIES, ProxyRules, entries
from twisted_pypi.fetching.tls import TlsPolicy
from twisted_pypi.places import places_of, replaceable, rules_of
from twisted_pypi.settings import Settings
from twisted_pypi.urls import origin_of
from unit.test_config import settings

OFFICE = f"""
index-url = "http://cache.office.example:8080/simple/"

[[index]]
name = "inside"
url = "https://inside.example/simple/"
mirrors = ["https://spare.example/simple/"]
proxy = "http://proxy.example:3128"

[[index]]
name = "office"
url = "http://cache.office.example:8080/simple/"
mirrors = ["{PUBLIC_INDEX}", "https://me:hunter2@third.example/simple/"]
token = "t"
insecure = true
absent-status = [403]
"""


@pytest.fixture
def laptop() -> Settings:
    return settings(toml=OFFICE)


def rules(laptop: Settings) -> dict[str, IndexRules]:
    common = TlsPolicy()
    tls = {index.tls: common for index in laptop.indexes} | {COMMON: common}
    environment = ProxyRules(direct=entries("x"))
    return {found.name: found for index in laptop.indexes for found in rules_of(index, tls, environment)}


def test_only_the_last_index_s_mirrors_may_say_that_something_is_lacking(laptop: Settings) -> None:
    found = places_of(laptop)
    assert {name: places.final for name, places in found.items()} == {"inside": False, "office": True}
    assert found["office"].absent_status == {403}


def test_an_index_without_mirrors_has_no_places() -> None:
    assert places_of(settings()) == {}
    assert replaceable(settings()) == frozenset()


def test_the_public_index_as_a_mirror_has_its_files_where_they_are(laptop: Settings) -> None:
    public = places_of(laptop)["office"].places[1]
    assert public.mirror is not None
    assert public.mirror.there("http://cache.office.example:8080/packages/a/b.whl") == f"{PUBLIC_FILES}packages/a/b.whl"
    assert origin_of(PUBLIC_FILES) in rules(laptop)[public.rules].origins
    assert origin_of(PUBLIC_FILES) in replaceable(laptop)


def test_credentials_and_tls_of_the_index_are_not_for_its_mirrors(laptop: Settings) -> None:
    found = rules(laptop)
    office, third = found["office"], found["office at https://third.example/simple/"]
    assert (office.tls is None, third.tls) == (False, None)
    assert office.credential is not None
    assert third.credential is not None
    assert (office.credential.token, third.credential.token, third.credential.password) == ("t", "", "hunter2")
    assert found[f"office at {PUBLIC_INDEX}"].credential is None


def test_the_proxy_of_the_index_is(laptop: Settings) -> None:
    found = rules(laptop)
    assert str(found["inside at https://spare.example/simple/"].proxies.https) == "http://proxy.example:3128"
    assert (
        found["office"].proxies == found[f"office at {PUBLIC_INDEX}"].proxies == ProxyRules(direct=("x",)) != NO_PROXIES
    )


def test_every_place_has_its_rules(laptop: Settings) -> None:
    named = {place.rules for places in places_of(laptop).values() for place in places.places}
    assert named == set(rules(laptop))


def test_the_places_of_an_index_know_whose_they_are(laptop: Settings) -> None:
    assert {name: found.index for name, found in rules(laptop).items() if found.index != name} == {
        "inside at https://spare.example/simple/": "inside",
        f"office at {PUBLIC_INDEX}": "office",
        "office at https://third.example/simple/": "office",
    }
