"""What a PromQL expression asks for, held against the catalogue of metrics."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from otel_tracead.metrics import CATALOGUE, Instrument, Metric

METRICS = {metric.name: metric for metric in CATALOGUE}
# What Prometheus adds by itself, and metrics of others that a rule may name, with their labels.
TARGET = {"job", "instance"}
FOREIGN = {
    "up": set(),
    "kube_pod_container_status_last_terminated_exitcode": {"namespace", "pod", "container", "uid"},
    "node_systemd_unit_state": {"name", "state", "type"},
}
GROWTH = {"rate", "increase"}


@dataclass(frozen=True)
class Asked:
    """A selector with what stands around it.

    Attributes:
        name: of the metric, as the text has it.
        labels: that are matched.
        functions: around it, the innermost first.
    """

    name: str
    labels: frozenset[str]
    functions: tuple[str, ...]


def selectors(expression: str) -> list[Asked]:
    """Every selector of *expression*.

    Raises:
        ValueError: it is no PromQL.
    """
    return list(_selectors(promql.parse(_without_variables(expression)), ()))


def _without_variables(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$__range", "3h")


def _selectors(node: Any, functions: tuple[str, ...]) -> Iterator[Asked]:
    match node:
        case promql.VectorSelector():
            matchers = frozenset(matcher.name for matcher in node.matchers.matchers)
            yield Asked(node.name, matchers, functions)
        case promql.MatrixSelector():
            yield from _selectors(node.vector_selector, functions)
        case promql.Call():
            for argument in node.args:
                yield from _selectors(argument, (node.func.name, *functions))
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            yield from _selectors(node.expr, functions)
        case promql.BinaryExpr():
            yield from _selectors(node.lhs, functions)
            yield from _selectors(node.rhs, functions)


def metric_of(name: str) -> Metric | None:
    """The catalogue's metric that *name* is of; a histogram is asked for by its parts."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    if base in METRICS and METRICS[base].instrument is Instrument.HISTOGRAM:
        return METRICS[base] if base != name else None
    return METRICS.get(name)


def problems(expression: str) -> list[str]:
    """What is wrong with *expression*: metrics and labels that do not exist, counters that are not looked at for growth."""
    found = []
    allowed: set[str] = set(TARGET)
    for asked in selectors(expression):
        metric = metric_of(asked.name)
        if metric is None and asked.name not in FOREIGN:
            found.append(f"no metric {asked.name}")
            continue
        labels = FOREIGN[asked.name] if metric is None else {*metric.labels}
        if asked.name.endswith("_bucket"):
            labels = labels | {"le"}
        allowed |= labels
        found += [f"{asked.name} has no label {label}" for label in asked.labels - labels - TARGET]
        if metric is not None:
            grows = metric.instrument is not Instrument.GAUGE
            looked_at = bool(GROWTH & {*asked.functions})
            if grows != looked_at:
                found.append(
                    f"{asked.name} is a {metric.instrument}, and {'not ' if grows else ''}looked at for growth"
                )
    found += [f"no label {label} to group by" for label in grouped_by(expression) - allowed]
    return found


def grouped_by(expression: str) -> set[str]:
    """Labels of every `by`, `on`, `without`, `ignoring` and `group_left` of *expression*."""
    clauses = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    return {label.strip() for clause in clauses for label in clause.split(",") if label.strip()}
