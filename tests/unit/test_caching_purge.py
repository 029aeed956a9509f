"""Purging, by the whole daemon in memory: names, patterns, one index alone, and what is not purged."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from e2e.content import Project
from e2e.packages import wheel
from twisted_pypi.caching import purge
from twisted_pypi.events import CachePurged
from twisted_pypi.interfaces.listing import Wanted
from twisted_pypi.storage.listing import listed
from unit.whole import Whole

LOCAL = {"Host": "localhost", "peer": "127.0.0.1"}
FILES = {name: wheel(name) for name in ("acme-one", "acme-two", "flask")}


@pytest.fixture
def whole(tmp_path):
    whole = Whole(tmp_path, {"index-ttl": "1d"})
    for name, file in FILES.items():
        whole.index.catalogue.projects[name] = Project(name, (file,))
        for path in (f"/simple/{name}/", file.path):
            assert whole.get(path).status == 200
    whole.index.requests.clear()
    yield whole
    whole.stop()


def purged(whole, target, status=200):
    answer = whole.get(f"/cache/{target}", method="DELETE", **LOCAL)
    assert answer.status == status, answer.body
    return json.loads(answer.body)["data"] if status == 200 else answer.reason


def stored(whole, kind="file"):
    return [row.name for row in listed(str(whole.directory), Wanted(kind=kind))[1]]


def state(whole, path):
    return whole.get(path)["X-Pypi-Cache"]


def counts(data):
    return {key: data[key] for key in ("names", "pages", "files")}


def test_a_pattern_expires_the_pages_of_all_that_fit(whole):
    assert counts(purged(whole, "ACME_*")) == {"names": 2, "pages": 2, "files": 0}
    assert [state(whole, f"/simple/{name}/") for name in FILES] == ["REVALIDATED", "REVALIDATED", "HIT"]
    assert stored(whole) == ["acme-one", "acme-two", "flask"]


def test_a_pattern_deletes_the_files_of_all_that_fit(whole):
    data = purged(whole, "acme-*?files=1")
    assert counts(data) == {"names": 2, "pages": 2, "files": 2}
    assert data["bytes"] == sum(len(FILES[name].data) for name in ("acme-one", "acme-two"))
    assert stored(whole) == ["flask"]
    assert whole.get(FILES["acme-one"].path).body == FILES["acme-one"].data


def test_everything(whole, monkeypatch):
    monkeypatch.setattr(purge, "BATCH", 2)
    assert counts(purged(whole, "*?files=1")) == {"names": 3, "pages": 3, "files": 3}
    assert stored(whole) == []
    assert len(stored(whole, "page")) == 3


def test_what_has_no_name_goes_with_everything_alone(whole):
    whole.parts.store.use_names(lambda index, key: "")
    whole.index.catalogue.projects["six"] = Project("six", (wheel("six"),))
    whole.get("/simple/six/")
    whole.get(wheel("six").path)
    purged(whole, "six-*?files=1", 404)
    assert "" in stored(whole)
    purged(whole, "*?files=1")
    assert stored(whole) == []


def test_files_whose_page_has_gone(whole):
    whole.through(whole.parts.store.pages.delete("http://index.example/simple/flask/"))
    assert counts(purged(whole, "Flask?files=1")) == {"names": 1, "pages": 0, "files": 1}
    assert stored(whole) == ["acme-one", "acme-two"]


@pytest.mark.parametrize("name", ["Flask", "fla*"])
def test_a_name_of_which_files_alone_are_stored_is_known(whole, name):
    whole.through(whole.parts.store.pages.delete("http://index.example/simple/flask/"))
    assert counts(purged(whole, name)) == {"names": 0, "pages": 0, "files": 0}
    purged(whole, f"{name}?index=none", 404)
    assert "flask" in stored(whole)


def test_pages_of_single_versions_expire_too(whole):
    whole.index.catalogue.projects["flask"] = Project("flask", (FILES["flask"],))
    path = "/pypi/flask/1.0/json"
    assert whole.get(path).status == 200
    assert state(whole, path) == "HIT"
    assert purged(whole, "flask")["pages"] == 2
    assert state(whole, path) != "HIT"


def test_an_expired_page_stays_for_a_stale_answer(whole):
    purged(whole, "acme-*")
    whole.index.fault = "refused"
    assert state(whole, "/simple/acme-one/") == "STALE"


@pytest.mark.parametrize("target", ["unknown", "unknown-*", "list?index=none", "flask?index=none", "%2E%2E"])
def test_what_is_not_there_is_404(whole, target):
    assert purged(whole, target, 404)
    assert state(whole, "/simple/flask/") == "HIT"


def test_offline_nothing_is_purged(whole):
    whole.parts.use(evolve(whole.settings, offline=True))
    assert "ffline" in purged(whole, "flask?files=1", 409)
    assert stored(whole) == ["acme-one", "acme-two", "flask"]


def test_who_purged_what_is_told(whole, monkeypatch):
    events = []
    site = whole.parts.site
    monkeypatch.setattr(site.resource, "_services", evolve(site.resource._services, observer=events.append))
    purged(whole, "acme-*?files=1&index=http://index.example/simple/")
    (event,) = [event for event in events if isinstance(event, CachePurged)]
    assert event.what == "acme-* of index http://index.example/simple/ with files"
    assert (event.client, event.pages, event.files, event.complete) == ("127.0.0.1", 2, 2, True)


def test_a_client_that_leaves_ends_it(whole, monkeypatch):
    events = []
    site = whole.parts.site
    monkeypatch.setattr(site.resource, "_services", evolve(site.resource._services, observer=events.append))
    monkeypatch.setattr(purge, "BATCH", 1)
    pending = whole.ask("/cache/*?files=1", "DELETE", **LOCAL)
    while len(stored(whole)) == 3:
        whole.turn()
    pending.line.end()
    whole.settle()
    (event,) = [event for event in events if isinstance(event, CachePurged)]
    assert not event.complete
    assert stored(whole)[-1] == "flask"


# Several indexes

MAIN, EXTRA = "http://index.example/simple/", "http://index.example:81/simple/"


@pytest.fixture
def several(tmp_path):
    whole = Whole(tmp_path, {"extra-index-url": [EXTRA], "index-ttl": "1d"})
    whole.index.catalogue.projects["flask"] = Project("flask", (FILES["flask"],))
    yield whole
    whole.stop()


def test_one_index_alone(several):
    several.get("/simple/flask/")
    assert several.through(several.parts.store.facts.owner("flask")) == EXTRA
    purged(several, f"flask?index={MAIN}", 404)
    assert several.through(several.parts.store.facts.owner("flask")) == EXTRA
    assert state(several, "/simple/flask/") == "HIT"
    assert purged(several, f"flask?index={EXTRA}")["pages"] == 1
    assert several.through(several.parts.store.facts.owner("flask")) is None
    assert state(several, "/simple/flask/") != "HIT"


def test_the_lists_of_one_index_alone(several):
    several.get("/simple/")
    assert purged(several, f"list?index={EXTRA}")["pages"] == 1
    assert purged(several, "list")["pages"] == 2


def test_without_the_catalogue_the_page_still_tells(whole, tmp_path):
    (whole.directory / "catalogue.sqlite").unlink()
    assert counts(purged(whole, "flask?files=1")) == {"names": 1, "pages": 1, "files": 1}
    assert "catalogue can't be read" in purged(whole, "unknown", 503)
    assert "catalogue can't be read" in purged(whole, "acme-*", 503)
