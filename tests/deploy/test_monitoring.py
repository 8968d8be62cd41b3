"""The dashboard and the alerts read what the sidecar exposes, and Prometheus understands them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sidecar.jira.problems import Problem
from sidecar.telemetry.metrics import METRICS, Gauges, Metrics
from sidecar.telemetry.troubles import Troubles
from tests.conftest import Running
from tests.support.waiting import PATIENCE
from tests.telemetry.test_metrics import record

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]

PROMETHEUS_OWN = {"up"}
_METRIC = re.compile(r"\b(?:(?:sidecar|process)_\w+|up)\b(?!\()")
_SELECTOR = re.compile(r"\b((?:sidecar|process)_\w+|up)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+) *(?:=~|!~|!=|=)")
_BY = re.compile(r"\bby \(([^)]*)\)")
_SHOWN = re.compile(r"\{\{ *(?:\$labels\.)?(\w+)")
_TARGET_LABELS = {"job", "instance"}

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def targets() -> list[dict[str, Any]]:
    """What the dashboard asks Prometheus for."""
    return [target for panel in DASHBOARD["panels"] for target in panel["targets"]]


def queries() -> dict[str, str]:
    """Every query of the dashboard and the alerts, by its name."""
    found = {rule["alert"]: rule["expr"] for rule in RULES}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for annotation in DASHBOARD["templating"]["list"][1:] + DASHBOARD["annotations"]["list"]:
        query = annotation.get("expr") or annotation["definition"]
        found[annotation["name"]] = re.sub(r"label_values\((.*), (\w+)\)", r"\1", query)
    return found


QUERIES = queries()


def exposed_labels() -> dict[str, set[str]]:
    """The labels of each series of a sidecar that has met everything once."""
    troubles = Troubles()
    troubles.seen(Problem("anonymous"))
    troubles.healed(Problem("nonce_used"))
    gauges = Gauges(False, 1, 1, 0, 1, 1.0, 1.0, "no_token", 1.0, True)
    counted = Metrics(troubles, lambda: gauges)
    counted.finished(record(retries=2, resent_for="nonce_used", closed_early="client", error="x"))
    counted.finished(record(status=429, held=1.0, absorbed=1))
    counted.reloads["success"] += 1
    found: dict[str, set[str]] = {name: set() for name in PROMETHEUS_OWN}
    for family in text_string_to_metric_families(counted.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


LABELS = exposed_labels()


def test_all_that_there_is_has_been_met() -> None:
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in LABELS} - PROMETHEUS_OWN
    assert families == set(METRICS)


async def test_every_metric_that_is_read_is_exposed_by_a_running_sidecar(sidecar: Running) -> None:
    await sidecar.get("/rest/api/2/myself")
    scrape = (await sidecar.get("/_sidecar/metrics")).body.decode()
    exposed = set(re.findall(r"^# TYPE (\w+) ", scrape, re.MULTILINE))
    read = {name for query in QUERIES.values() for name in _METRIC.findall(query)}
    assert len(read) > 15
    for name in read - PROMETHEUS_OWN:
        assert re.sub("_bucket$", "", name) in exposed, name


@pytest.mark.parametrize("name", QUERIES)
def test_every_label_that_is_asked_for_is_there(name: str) -> None:
    query = QUERIES[name]
    metrics = _METRIC.findall(query)
    assert metrics
    for metric, selector in _SELECTOR.findall(query):
        assert set(_LABEL.findall(selector)) <= LABELS[metric] | _TARGET_LABELS
    known = set().union(*(LABELS[metric] for metric in metrics)) | _TARGET_LABELS
    for labels in _BY.findall(query):
        assert set(re.split(r",\s*", labels)) <= known


def results_labels(query: str) -> set[str]:
    """The labels that the series of a query's result have."""
    grouped = _BY.findall(query)
    if grouped or re.match(r"(sum|min|max|histogram_quantile)\(", query):
        return set().union(*(re.split(r",\s*", labels) for labels in grouped), set())
    return LABELS[_METRIC.findall(query)[0]] | _TARGET_LABELS


def test_what_is_shown_of_a_series_is_a_label_of_it() -> None:
    for target in targets():
        assert set(_SHOWN.findall(target["legendFormat"])) <= results_labels(target["expr"]), target
    for rule in RULES:
        texts = " ".join(rule["annotations"].values()).replace("{{ $value", "")
        assert set(_SHOWN.findall(texts)) <= results_labels(rule["expr"]), rule["alert"]


class TestDashboard:
    def test_whoever_imports_it_chooses_the_data_source(self) -> None:
        ours = {"type": "prometheus", "uid": "${datasource}"}
        variable = DASHBOARD["templating"]["list"][0]
        assert (variable["name"], variable["type"]) == ("datasource", "datasource")
        parts = [*DASHBOARD["panels"], *targets(), *DASHBOARD["annotations"]["list"]]
        parts += DASHBOARD["templating"]["list"][1:]
        assert all(part["datasource"] == ours for part in parts)

    def test_every_query_is_about_the_sidecars_that_are_chosen(self) -> None:
        for target in targets():
            for name in _METRIC.findall(target["expr"]):
                assert f'{name}{{job=~"$job",instance=~"$instance"' in target["expr"]

    def test_every_panel_has_a_place_of_its_own_and_says_what_it_shows(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in DASHBOARD["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert at["x"] + at["w"] <= 24
            assert not cells & taken, panel["title"]
            taken |= cells
            assert panel["description"].endswith(".")
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


class TestAlerts:
    def test_each_says_how_bad_it_is_and_what_to_do(self) -> None:
        for rule in RULES:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}

    def test_the_page_says_what_each_reads(self) -> None:
        page = (ROOT / "docs" / "operation.md").read_text()
        rows = re.findall(r"^\| `(Sidecar\w+)` \|.*\| (.*) \|$", page, re.MULTILINE)
        listed = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in rows}
        read = {
            rule["alert"]: {re.sub("_bucket$", "", name) for name in _METRIC.findall(rule["expr"])}
            for rule in RULES
        }
        assert listed == read

    def test_each_is_tried(self) -> None:
        """It fires in one case, and in another it does not."""
        tests = yaml.safe_load((MONITORING / "alerts.test.yaml").read_text())["tests"]
        cases = [case for test in tests for case in test["alert_rule_test"]]
        for rule in RULES:
            ours = [
                bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]
            ]
            assert set(ours) == {True, False}, rule["alert"]


def run_promtool(*words: str) -> str:
    done = subprocess.run(
        ["promtool", *words], cwd=MONITORING, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@promtool
def test_the_rules_are_prometheus_rules() -> None:
    assert f"{len(RULES)} rules found" in run_promtool("check", "rules", "alerts.yaml")


@promtool
def test_the_rules_fire_when_they_should() -> None:
    assert "SUCCESS" in run_promtool("test", "rules", "alerts.test.yaml")


@promtool
def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """As rules, which promtool reads; Grafana's own words are replaced as Grafana does."""
    words = {"$__rate_interval": "5m", "$__interval": "5m", "$job": ".*", "$instance": ".*"}
    rules = []
    for number, query in enumerate(QUERIES.values()):
        for word, value in words.items():
            query = query.replace(word, value)
        rules.append({"record": f"query:{number}", "expr": query})
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run_promtool("check", "rules", str(path))
