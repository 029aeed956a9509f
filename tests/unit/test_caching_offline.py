"""What pages list offline, by the whole daemon in memory: what can be had."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from e2e.content import JSON_TYPE, Project
from e2e.packages import wheel
from unit.whole import Whole

PAGE = "/simple/a/"
FILE = wheel("a")


@pytest.fixture
def whole(tmp_path):
    whole = Whole(tmp_path)
    whole.index.catalogue.projects["a"] = Project("a", (FILE, wheel("a", "2.0")), 1)
    yield whole
    whole.stop()


def listed(whole):
    answer = whole.get(PAGE, Accept=JSON_TYPE)
    return [file["filename"] for file in json.loads(answer.body)["files"]]


def go_offline(whole):
    whole.parts.use(evolve(whole.settings, offline=True))


def lose_catalogue(whole):
    """The next daemon finds the files, and pages, but no catalogue of them."""
    whole.stop()
    for path in whole.directory.glob("catalogue.sqlite*"):
        path.unlink()
    whole.start()
    whole.advance(60)


def test_only_what_is_held(whole):
    assert (len(listed(whole)), whole.get(FILE.path).status) == (2, 200)
    go_offline(whole)
    assert listed(whole) == [FILE.name]


def test_nothing_of_a_file_that_is_only_half_there(whole):
    listed(whole)
    whole.index.fault, whole.index.place = "hangs in the body", "/packages/"
    whole.ask(FILE.path)
    whole.advance(1)
    go_offline(whole)
    assert listed(whole) == []


def test_what_was_found_on_disk_where_the_page_can_confirm_it(whole):
    listed(whole)
    whole.get(FILE.path)
    lose_catalogue(whole)
    go_offline(whole)
    assert listed(whole) == [FILE.name]
    assert whole.get(FILE.path).body == FILE.data


def test_not_what_was_found_on_disk_and_nothing_can_confirm(whole):
    bare = {"filename": FILE.name, "url": f"http://files.example{FILE.path}", "hashes": {}}
    whole.index.catalogue.projects["a"].extra["files"] = [bare]
    assert (listed(whole), whole.get(FILE.path).status) == ([FILE.name], 200)
    lose_catalogue(whole)
    go_offline(whole)
    assert listed(whole) == []
