"""Alert rules and dashboard: they are PromQL, and ask for nothing that a running stage does not show."""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from otel_tracead import metrics
from otel_tracead.duration import parse_duration
from tests.deploy.promql import FOREIGN, metric_of, problems, selectors
from tests.peers.independent import send_grpc
from tests.peers.stage import Stage, scoring
from tests.source_tree import ROOT
from tools import dashboard

RULES = ROOT / "deploy/prometheus/otel-tracead.rules.yaml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
RUNBOOK = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
PANELS = [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_ask_for_what_there_is(name):
    assert problems(ALERTS[name]["expr"]) == []


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_panels_ask_for_what_there_is(title, query):
    assert problems(query) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("rate(otelcol_exporter_sent_spans_total[5m])", "no metric otelcol_exporter_sent_spans_total"),
        ('rate(otelcol_exporter_sent_spans{processor="a"}[5m])', "otelcol_exporter_sent_spans has no label processor"),
        ("sum by (receiver) (rate(otelcol_exporter_sent_spans[5m]))", "no label receiver to group by"),
        ("otelcol_exporter_sent_spans", "otelcol_exporter_sent_spans is a counter, and not looked at for growth"),
        ("rate(otelcol_exporter_queue_size[5m])", "otelcol_exporter_queue_size is a gauge, and looked at for growth"),
        ("rate(otelcol_processor_tracead_release_latency[5m])", "no metric otelcol_processor_tracead_release_latency"),
    ],
)
def test_a_mistake_is_found(query, problem):
    assert problems(query) == [problem]


def test_alerts_are_whole():
    for name, rule in ALERTS.items():
        assert re.fullmatch(r"Tracead[A-Z]\w+", name)
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule.get("for", "1m") == "1m" or parse_duration(rule["for"]) > 0
        # A template names labels that the result still has.
        shown = {*re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])}
        kept = re.search(r"by \(([^)]*)\)", rule["expr"])
        if kept is not None:
            assert shown <= {label.strip() for label in kept[1].split(",")}, name


def test_every_alert_has_its_line_in_the_runbook_and_the_other_way_round():
    section = RUNBOOK.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(Tracead\w+)` \|", section, re.MULTILINE) == list(ALERTS)


def test_thresholds_are_those_of_the_code():
    from otel_tracead.processors.tracead.bounds import Bounds
    from otel_tracead.processors.tracead.config import TraceadConfig

    assert str(Bounds().pending_spans) in ALERTS["TraceadBackendSlow"]["annotations"]["summary"]
    assert ALERTS["TraceadBackendSlow"]["expr"].endswith(f"> {Bounds().pending_spans // 2}")
    budget = TraceadConfig().detection.false_positive_rate
    assert f"> {5 * budget:g}" in ALERTS["TraceadAnomalies"]["expr"]
    assert f"> {3 * budget:g}" in ALERTS["TraceadModelOutOfDate"]["expr"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_prometheus_takes_the_rules():
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_the_one_that_is_written():
    assert dashboard.PLACE.read_text(encoding="utf-8") == dashboard.text(), "run: python -m tools.dashboard"


def test_panels_have_their_places():
    panels = json.loads(dashboard.text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    units = {panel["fieldConfig"]["defaults"]["unit"] for panel in panels if panel["type"] != "row"}
    assert units <= {"cps", "short", "percentunit", "s", "bytes"}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Path) -> dict[str, set[tuple[str, ...]]]:
    """Names and labels on the page of a stage that has done something."""
    from otel_tracead.generator import Scenario, requests, simulate

    folder = tmp_path_factory.mktemp("monitored")
    start = time.time_ns() - 10 * 10**9
    bodies = [body for _, body in requests(simulate(Scenario(seed=5, start_unix_nano=start, duration_s=10)))]
    processors = {
        "memory_limiter": {"check_interval": "1s", "limit_mib": 4096},
        "tracead": {**scoring(tiny_artifact, "1s")["tracead"], "require_report_card": False},
        "batch": {},
    }
    with Stage(folder, {"file": {"path": str(folder / "out.jsonl")}}, processors) as stage:
        send_grpc(stage.grpc, bodies)
        deadline = time.monotonic() + 30
        while True:
            with urllib.request.urlopen(stage.metrics, timeout=10) as answer:
                page = answer.read().decode()
            scored = re.search(r"^otelcol_processor_tracead_traces_scored\{.*\} (\S+)$", page, re.MULTILINE)
            if (scored is not None and float(scored[1]) > 0) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
    # By hand: prometheus_client's parser puts `_total` behind the names of counters.
    names: dict[str, set[tuple[str, ...]]] = {}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
        names.setdefault(name, set()).add(tuple(re.findall(r'(\w+)="', labels)))
    return names


def test_a_running_stage_shows_what_they_ask_for(shown):
    # Only by those who have the component: partial successes, `record`, sampling; below, a storage and several exporters.
    rare = {metrics.EXPORTER_REJECTED.name, metrics.TRACES_NOT_RECORDED.name}
    asked = {one.name for _, query in QUERIES for one in selectors(query)}
    # Nobody has figures of drift in the first minutes.
    rare |= {metrics.DRIFT.name}
    rare |= {metrics.STORAGE_FAILURES.name, metrics.FANOUT_DROPPED.name}
    asked |= {one.name for rule in ALERTS.values() for one in selectors(rule["expr"])} - FOREIGN.keys()
    kafka = {name for name in asked if "kafka" in name}
    assert asked - rare - kafka <= shown.keys()


def test_a_running_stage_shows_what_the_catalogue_says(shown):
    for name, labels in shown.items():
        metric = metric_of(name)
        assert metric is not None, name
        for found in labels:
            assert tuple(label for label in found if label != "le") == metric.labels
