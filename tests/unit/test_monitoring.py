"""docs/monitoring.md, the dashboard and the alert rules name the metrics that there are, with the labels they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from twisted.internet.task import Clock

from twisted_pypi import events
from twisted_pypi.answers import CacheState
from twisted_pypi.fetching.upstream import HttpUpstream, UpstreamSettings
from twisted_pypi.instruments import Instruments
from twisted_pypi.storage.occupancy import Space
from twisted_pypi.web.access_lines import LINE_FORMS
from twisted_pypi.web.metrics import Metrics
from twisted_pypi.workers import ThreadWorkers
from unit.storage_doubles import Disk, now
from unit.test_web_observers import SERVED

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "monitoring.md").read_text()
ALERTS = ROOT / "examples" / "alerts.yaml"
DASHBOARD = json.loads((ROOT / "examples" / "grafana-dashboard.json").read_text())
NAME = re.compile(r"\b(?:pypicache|process)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:pypicache|process)_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
BY = re.compile(r"\b(?:by|on) \(([a-z_, ]+)\)")
SCRAPED = {"instance", "job", "le"}
STATES = {"NONE", *(state.value for state in CacheState)}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alerts() -> list[str]:
    return re.split(r"^ +- alert: ", ALERTS.read_text(), flags=re.MULTILINE)[1:]


def expressions() -> list[str]:
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return shown + [re.split(r"^ +(?:for|labels):", alert, flags=re.MULTILINE)[0] for alert in alerts()]


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Metric]]:
    """All that is exported, each with a sample."""
    disk = Disk(str(tmp_path_factory.mktemp("store") / "cache"))
    disk.start()
    clock, metrics = Clock(), Metrics(frozenset({"https://index.example"}))
    upstream = HttpUpstream(clock, UpstreamSettings(), lambda _: None)
    pools = (ThreadWorkers(clock, 4, "disk"),)
    instruments = Instruments(clock, metrics, lambda _: None, disk.store, upstream, pools, lambda: (0, 0))
    instruments._space = Space(1, 2, 3)
    for event in (
        SERVED,
        events.RequestRefused("192.0.2.7", 400, ""),
        events.TurnedAway("192.0.2.7", "idle"),
        events.FetchDone("https://index.example/a", 200, 0.1, True),
        events.ReactorLagged(0.1),
    ):
        metrics.observe(event)
    metrics.render()
    yield list(metrics.registry.collect())
    now(disk.store.stop())


@pytest.fixture(scope="module")
def samples(families: list[Metric]) -> dict[str, set[str]]:
    """The labels of each name that a query may use."""
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def test_the_table_names_every_metric_with_its_labels_and_no_other(families: list[Metric]) -> None:
    exported = {}
    for family in families:
        if family.name.startswith("pypicache_"):
            ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
            exported[family.name + ending] = set(family.samples[0].labels) - {"le"}
    rows = re.findall(r"^\| `(pypicache_[a-z_]+)` \| ([a-z, ]*) ?\|", TEXT, re.MULTILINE)
    assert len(rows) == len(dict(rows))
    assert {name: set(filter(None, re.split(r"[, ]+", labels))) for name, labels in rows} == exported


def test_every_metric_says_what_it_is(families: list[Metric]) -> None:
    assert [family.name for family in families if len(family.documentation) < 10] == []


@pytest.mark.parametrize("expression", expressions())
def test_queries_use_what_is_exported(expression: str, samples: dict[str, set[str]]) -> None:
    names = set(NAME.findall(expression)) - {"process_"}
    assert names - set(samples) == set()
    known = set[str]().union(*(samples[name] for name in names)) | SCRAPED
    for name, selector in SELECTOR.findall(expression):
        labels = dict(LABEL.findall(selector))
        assert set(labels) <= samples[name] | SCRAPED
        assert set(labels.get("state", "HIT").split("|")) <= STATES
    for group in BY.findall(expression):
        assert set(re.split(r", *", group)) <= known


def test_every_metric_that_the_text_names_is_exported(samples: dict[str, set[str]]) -> None:
    histograms = {name.removesuffix("_count") for name in samples}
    assert set(NAME.findall(TEXT)) - set(samples) - histograms == set()


def test_the_dashboard_can_be_imported() -> None:
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "instance"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        assert all("$instance" in target["expr"] for target in panel["targets"]), panel["title"]


def test_no_panel_lies_over_another() -> None:
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_it_is_and_the_document_what_to_do() -> None:
    assert alerts()
    for alert in alerts():
        name = alert.split("\n")[0]
        assert all(f"{key}: " in alert for key in ("expr", "severity", "summary", "description")), name
        assert re.search(rf"^\| .*\b{name}\b.* \| \w", TEXT, re.MULTILINE), name
    named = re.findall(r"\bPypicache\w+", TEXT)
    assert set(named) == {alert.split("\n")[0] for alert in alerts()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_rules_are_such_as_prometheus_takes() -> None:
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True)


def test_the_document_names_every_field_of_the_access_log_in_order() -> None:
    table = TEXT.partition("| name | value |")[2].partition("\n\n")[0]
    fields = re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)
    assert fields == list(json.loads(LINE_FORMS["json"].line(SERVED, 0.0)))
