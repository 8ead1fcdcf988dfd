"""`python -m tools.dashboard`: writes the Grafana dashboard, deploy/grafana/otel-tracead.json.

Metrics are named by the catalogue's constants, so that a panel cannot name one that does not exist.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from otel_tracead import metrics as m
from otel_tracead.metrics import Instrument, Metric

PLACE: Final = Path(__file__).parent.parent / "deploy/grafana/otel-tracead.json"

_ALL: Final = 'job=~"$job", instance=~"$instance"'
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 24
_FASTEST, _MEDIAN, _SLOWEST = (f'quantile="{share:g}"' for share in (0.0, 0.5, 1.0))


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: of it.
        queries: (PromQL, legend) pairs.
        unit: as Grafana calls it.
        about: shown on hover.
        kind: `timeseries` or `stat`.
        width: of 24 columns.
        warn: from here on red, for a `stat`.
        stacked: whether areas lie on each other.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str
    about: str
    kind: str = "timeseries"
    width: int = 8
    warn: float | None = None
    stacked: bool = False


def _of(metric: Metric, *matchers: str, suffix: str = "") -> str:
    return f"{metric.name}{suffix}{{{', '.join((_ALL, *matchers))}}}"


def _rate(metric: Metric, *by: str, matchers: Sequence[str] = ()) -> str:
    if metric.instrument is not Instrument.COUNTER:
        raise ValueError(f"{metric.name} is no counter")
    labels = f" by ({', '.join(by)})" if by else ""
    return f"sum{labels} (rate({_of(metric, *matchers)}[$__rate_interval]))"


def _share(part: Metric, whole: Metric, *by: str, matchers: Sequence[str] = ()) -> str:
    return f"{_rate(part, *by, matchers=matchers)} / {_rate(whole, *by)}"


def _quantile(share: float, metric: Metric) -> str:
    if metric.instrument is not Instrument.HISTOGRAM:
        raise ValueError(f"{metric.name} is no histogram")
    return f"histogram_quantile({share:g}, sum by (le) (rate({_of(metric, suffix='_bucket')}[$__rate_interval])))"


def _quantiles(metric: Metric) -> list[tuple[str, str]]:
    return [(_quantile(share, metric), f"{share * 100:g} %") for share in (0.5, 0.9, 0.99)]


_LOST: Final = " + ".join(
    f"(sum(increase({_of(metric)}[$__range])) or vector(0))"
    for metric in (m.EXPORTER_FAILED, m.SPANS_DROPPED, m.EXPORTER_REJECTED, m.RECEIVER_FAILED)
)

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "At a glance": (
        Panel(
            "Spans taken",
            [(_rate(m.RECEIVER_ACCEPTED), "")],
            "cps",
            "Spans a second that the receivers took.",
            "stat",
            4,
        ),
        Panel(
            "Spans lost",
            [(_LOST, "")],
            "short",
            "In the range shown: given up, dropped, rejected by a backend, or failed. Should be 0.",
            "stat",
            4,
            1,
        ),
        Panel(
            "Spans refused",
            [(_share(m.RECEIVER_REFUSED, m.RECEIVER_ACCEPTED), "")],
            "percentunit",
            "Against those taken. Senders keep them and come back.",
            "stat",
            4,
            0.01,
        ),
        Panel(
            "Traces anomalous",
            [(_share(m.TRACES_ANOMALOUS, m.TRACES_SCORED), "")],
            "percentunit",
            "Of those judged. The budget of normal ones is `false_positive_rate`, 1 % by default.",
            "stat",
            4,
            0.05,
        ),
        Panel(
            "Traces unscored",
            [(_share(m.TRACES_UNSCORED, m.TRACES_RELEASED), "")],
            "percentunit",
            "Forwarded without a verdict.",
            "stat",
            4,
            0.05,
        ),
        Panel(
            "Spans late",
            [(_share(m.SPANS_LATE, m.PROCESSOR_INCOMING, "processor"), "")],
            "percentunit",
            "Came after their trace's verdict.",
            "stat",
            4,
            0.05,
        ),
    ),
    "Spans": (
        Panel(
            "Taken", [(_rate(m.RECEIVER_ACCEPTED, "receiver", "transport"), "{{receiver}} {{transport}}")], "cps", ""
        ),
        Panel(
            "Refused and failed",
            [
                (_rate(m.RECEIVER_REFUSED, "receiver"), "refused by {{receiver}}"),
                (_rate(m.MEMORY_LIMITER_REFUSED, "processor"), "refused by {{processor}}"),
                (_rate(m.EXPORTER_ENQUEUE_FAILED, "exporter"), "queue of {{exporter}} full"),
                (_rate(m.RECEIVER_FAILED, "receiver"), "failed in {{receiver}}"),
            ],
            "cps",
            "Refused ones come again; failed ones are lost.",
        ),
        Panel(
            "Handed to backends",
            [
                (_rate(m.EXPORTER_SENT, "exporter"), "{{exporter}}"),
                (_rate(m.EXPORTER_FAILED, "exporter"), "given up by {{exporter}}"),
                (_rate(m.EXPORTER_REJECTED, "exporter"), "rejected by the backend of {{exporter}}"),
            ],
            "cps",
            "",
        ),
        Panel(
            "Fill of queues",
            [(f"{_of(m.EXPORTER_QUEUE_SIZE)} / {_of(m.EXPORTER_QUEUE_CAPACITY)}", "{{exporter}} {{instance}}")],
            "percentunit",
            "A full one makes the stage refuse.",
        ),
        Panel(
            "Requests sent again, under way",
            [
                (_rate(m.EXPORTER_RETRIES, "exporter"), "again a second, {{exporter}}"),
                (f"sum by (exporter) ({_of(m.EXPORTER_IN_FLIGHT)})", "under way, {{exporter}}"),
            ],
            "short",
            "Many sent again: the backend is slow or away.",
        ),
        Panel(
            "Judged and waiting",
            [(f"sum by (instance) ({_of(m.SPANS_PENDING)})", "{{instance}}")],
            "short",
            "Spans that the next consumer has not taken. From 200000 on new ones are refused.",
        ),
    ),
    "Traces": (
        Panel(
            "Open",
            [
                (f"sum by (instance) ({_of(m.TRACES_OPEN)})", "traces, {{instance}}"),
                (f"sum by (instance) ({_of(m.SPANS_OPEN)})", "spans, {{instance}}"),
            ],
            "short",
            "What waits for more spans. Replicas should have about the same.",
        ),
        Panel(
            "Released",
            [(_rate(m.TRACES_RELEASED, "release"), "{{release}}")],
            "cps",
            "`limit`: before their time, since num_traces or max_spans_per_trace was reached.",
            stacked=True,
        ),
        Panel(
            "Incomplete",
            [(_share(m.TRACES_INCOMPLETE, m.TRACES_RELEASED, "instance"), "{{instance}}")],
            "percentunit",
            "Released with orphans or without one root. More after a change of routing: traces are split.",
        ),
        Panel("Spans a trace", _quantiles(m.TRACE_SPANS), "short", ""),
        Panel("From release to hand-over", _quantiles(m.RELEASE_LATENCY), "s", "Scoring, and the next consumer."),
        Panel("Scoring a batch", _quantiles(m.SCORING_DURATION), "s", ""),
    ),
    "Verdicts": (
        Panel(
            "Share of anomalous traces",
            [(_share(m.TRACES_ANOMALOUS, m.TRACES_SCORED, "instance"), "{{instance}}")],
            "percentunit",
            "The first thing to look at in an incident.",
        ),
        Panel(
            "Anomalous traces",
            [(_rate(m.TRACES_ANOMALOUS, "level"), "{{level}}")],
            "cps",
            "By level; high is a tenth of the budget or less.",
            stacked=True,
        ),
        Panel("Marked spans", [(_rate(m.SPANS_ANOMALOUS, "type"), "{{type}}")], "cps", "By type.", stacked=True),
        Panel(
            "Unscored traces", [(_rate(m.TRACES_UNSCORED, "reason"), "{{reason}}")], "cps", "By reason.", stacked=True
        ),
        Panel(
            "Spans that the model does not know, or that come late",
            [
                (_share(m.SPANS_UNKNOWN_LABEL, m.PROCESSOR_INCOMING, "processor"), "unknown label"),
                (_share(m.SPANS_LATE, m.PROCESSOR_INCOMING, "processor"), "late"),
                (_share(m.SPANS_INVALID_ID, m.PROCESSOR_INCOMING, "processor"), "without valid ids"),
            ],
            "percentunit",
            "",
        ),
        Panel(
            "Failures",
            [
                (_rate(m.SCORING_FAILURES, "instance"), "batches not scored, {{instance}}"),
                (_rate(m.TRACES_NOT_RECORDED, "instance"), "traces not recorded, {{instance}}"),
                (_rate(m.SPANS_SPOOFED, "instance"), "spans with foreign tracead.*, {{instance}}"),
            ],
            "cps",
            "Should be empty.",
        ),
    ),
    "Model": (
        Panel(
            "Drift",
            [
                (f"max({_of(m.DRIFT, _SLOWEST)})", "slowest operation"),
                (f"max({_of(m.DRIFT, _MEDIAN)})", "median"),
                (f"min({_of(m.DRIFT, _FASTEST)})", "fastest operation"),
            ],
            "short",
            "How many times as long as in training. Followed from 0.5 to 10.",
        ),
        Panel(
            "In use",
            [(f"count by (name, version) ({_of(m.MODEL_INFO)})", "{{name}} {{version}}")],
            "short",
            "Replicas that judge with each model.",
        ),
        Panel(
            "Age, and models offered",
            [
                (f"max by (instance) ({_of(m.MODEL_AGE)})", "age, {{instance}}"),
                (f"sum by (outcome) (increase({_of(m.MODEL_LOADS)}[$__range]))", "{{outcome}}"),
            ],
            "short",
            "Seconds since the model was made; loaded, refused and reverted in the range shown.",
        ),
    ),
    "Kafka": (
        Panel(
            "Behind",
            [(f"sum by (receiver, topic) ({_of(m.KAFKA_LAG)})", "{{receiver}} {{topic}}")],
            "short",
            "Records that were not yet read.",
        ),
        Panel(
            "Not yet handed on",
            [(f"sum by (instance) ({_of(m.KAFKA_UNSETTLED)})", "{{instance}}")],
            "short",
            "Records whose offsets are not committed yet.",
        ),
        Panel(
            "Records",
            [
                (_rate(m.KAFKA_RECORDS, "receiver", "topic"), "read, {{topic}}"),
                (_rate(m.KAFKA_UNMARSHAL_FAILED, "receiver", "topic"), "unreadable, {{topic}}"),
                (_rate(m.KAFKA_DUPLICATES, "receiver", "topic"), "twice, {{topic}}"),
            ],
            "cps",
            "",
        ),
    ),
    "Process": (
        Panel("Memory", [(_of(m.PROCESS_RSS), "{{instance}}")], "bytes", "Resident."),
        Panel(
            "Processor",
            [(f"rate({_of(m.PROCESS_CPU)}[$__rate_interval])", "{{instance}}")],
            "short",
            "Cores. One process fills about one.",
        ),
        Panel("Time since the start", [(_of(m.PROCESS_UPTIME), "{{instance}}")], "s", ""),
    ),
}


def _panel(panel: Panel, number: int, x: int, y: int, height: int) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.warn is not None:
        steps.append({"color": "red", "value": panel.warn})
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value"}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"fillOpacity": 30 if panel.stacked else 5, "showPoints": "never", "stacking": stacking}
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"h": height, "w": panel.width, "x": x, "y": y},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
        "sort": 1,
    }


def dashboard() -> dict[str, Any]:
    """Make the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y}}
        )
        y += 1
        x, height = 0, 4 if row[0].kind == "stat" else 8
        for panel in row:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + height
            panels.append(_panel(panel, len(panels) + 1, x, y, height))
            x += panel.width
        y += height
    return {
        "uid": "otel-tracead",
        "title": "otel-tracead",
        "description": "Marks anomalous spans of a tracing pipeline. Written by `python -m tools.dashboard`.",
        "tags": ["opentelemetry", "tracing"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                _variable("job", "Job", f"label_values({m.PROCESS_UPTIME.name}, job)"),
                _variable("instance", "Replica", f'label_values({m.PROCESS_UPTIME.name}{{job=~"$job"}}, instance)'),
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """Give the file's content."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    PLACE.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"{PLACE}\n")


if __name__ == "__main__":
    main()
