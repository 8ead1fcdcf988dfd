"""docs/reliability.md names tests, metrics and alerts: they exist."""

import ast
import re
from functools import cache

import pytest

from otel_tracead.metrics import CATALOGUE
from tests.source_tree import ROOT

PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!---|fault |what |in the )", line)]
FAULTS = [row for row in ROWS if "::" in row or row.count("|") == 6]


@cache
def defined_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = (node.targets[0] for node in tree.body if isinstance(node, ast.Assign))
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


@pytest.mark.parametrize("row", FAULTS, ids=lambda row: row.split("|")[1].strip())
def test_every_fault_is_shown_by_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
    assert named, "no test shows it"
    for path, name in named:
        assert re.match("[Tt]est", name)
        assert (ROOT / "tests" / path).exists(), path
        assert name in defined_in(path), f"{path}::{name}"


def test_every_test_of_faults_is_named() -> None:
    named = set(re.findall(r"`faults/(test_\w+\.py)::(\w+)`", PAGE))
    there = {
        (path.name, name)
        for path in (ROOT / "tests/faults").glob("test_*.py")
        for name in defined_in(f"faults/{path.name}")
        if name.startswith("test_")
    }
    assert there - named == set()


def test_metrics_and_alerts_exist() -> None:
    known = {metric.name for metric in CATALOGUE}
    wanted = set(re.findall(r"`(otelcol_\w+)", PAGE))
    assert wanted - known == set()
    for ending in set(re.findall(r"`…(_\w+)", PAGE)):
        assert any(name.endswith(ending) for name in known), ending
    rules = (ROOT / "deploy/prometheus/otel-tracead.rules.yaml").read_text(encoding="utf-8")
    assert {alert for alert in re.findall(r"`(Tracead[A-Z]\w+)`", PAGE) if alert not in rules} == set()


def test_there_is_a_row_for_every_kind_of_fault() -> None:
    assert len(FAULTS) > 40
