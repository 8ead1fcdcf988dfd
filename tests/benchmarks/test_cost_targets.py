"""The table of targets: what was measured is found, what was not is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.summary import TARGETS, Reading, Target, lost, rows, table

HEADER = {"command": "python -m benchmarks.x", "commit": "abc", "machine": "a machine", "date": "2026-01-05"}
CPU = {
    **HEADER,
    "medians": {
        "otlp/512/50000": {"tracead": 4.0, "tracead-plumbing": 3.0, "rotel": 2.0, "collector-groupbytrace": 8.0},
    },
    "lost": 0,
}


def write(folder: Path, name: str, document: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(document))


def found(folder: Path, what: str) -> tuple[str, float | None]:
    row = next(row for row in rows(folder) if row.target.what == what)
    return row.outcome, row.reading.value if row.reading else None


def test_a_ratio_is_of_the_medians_of_one_run(tmp_path: Path) -> None:
    write(tmp_path, "cpu-per-span", CPU)
    assert found(tmp_path, "whole stage beside groupbytrace, 512, 50,000 a second") == ("met", 0.5)
    assert found(tmp_path, "plumbing beside Rotel, 512 spans a request") == ("missed", 1.5)
    assert found(tmp_path, "whole stage beside groupbytrace, 512, full speed") == ("not measured", None)


def test_real_spans_go_before_simulated_ones(tmp_path: Path) -> None:
    write(tmp_path, "cpu-per-span", CPU)
    real = {**CPU, "medians": {"otlp/512/50000": {"tracead": 7.0, "collector-groupbytrace": 7.0}}}
    write(tmp_path, "cpu-per-span-real", real)
    assert found(tmp_path, "whole stage beside groupbytrace, 512, 50,000 a second") == ("missed", 1.0)


@pytest.mark.parametrize("slow", ["tracead-zipkin", "collector-zipkin"])
def test_who_does_not_follow_the_rate_is_nobody_to_compare_with(tmp_path: Path, slow: str) -> None:
    what, cpu = "Zipkin JSON in, whole stage, 50 a request", {"tracead-zipkin": 10.0, "collector-zipkin": 20.0}
    runs = [
        {"system": system, "takes": "zipkin", "spans_per_request": 50, "rate": 50000.0, "achieved": achieved}
        for system in cpu
        for achieved in (49_900.0, 50_000.0, 36_000.0)
    ]
    write(tmp_path, "cpu-per-span-zipkin", {**CPU, "medians": {"zipkin/50/50000": cpu}, "runs": runs})
    assert found(tmp_path, what) == ("met", 0.5)
    for run in runs:
        if run["system"] == slow:
            run["achieved"] = 40_000.0
    write(tmp_path, "cpu-per-span-zipkin", {**CPU, "medians": {"zipkin/50/50000": cpu}, "runs": runs})
    assert found(tmp_path, what) == ("not measured", None)


def test_more_is_better_where_it_is_a_speed(tmp_path: Path) -> None:
    write(tmp_path, "offline", {**HEADER, "rows": [{"spans_per_second": 2e5, "growth": 1.0}]})
    assert found(tmp_path, "score, OTLP protobuf files") == ("met", 2e5)
    assert found(tmp_path, "score, OTLP JSON lines") == ("not measured", None)


def test_flat_is_flat_in_both_directions(tmp_path: Path) -> None:
    write(tmp_path, "growth", {**HEADER, "ratios": {"open traces/1,000": 1.0, "open traces/100,000": 0.8}})
    what = "CPU a span from 1,000 to 100,000 open traces: difference"
    assert found(tmp_path, what) == ("missed", pytest.approx(0.2))


def test_the_gpu_says_its_name(tmp_path: Path) -> None:
    target = {"name": "GPU's time meanwhile, %", "found": 12.0, "bound": 20}
    write(tmp_path, "gpu", {**HEADER, "gpu": "NVIDIA H100", "targets": [target]})
    row = next(row for row in rows(tmp_path) if row.target.what == "GPU time meanwhile")
    assert (row.outcome, row.reading) == ("met", Reading(12.0, "NVIDIA H100"))


def test_nothing_measured_is_no_error(tmp_path: Path) -> None:
    assert {row.outcome for row in rows(tmp_path)} == {"not measured"}
    assert len(table(rows(tmp_path)).splitlines()) == len(TARGETS) + 1


def test_what_was_lost_is_added_up(tmp_path: Path) -> None:
    write(tmp_path, "cpu-per-span", {**CPU, "lost": 3})
    write(tmp_path, "other", {"figures": 1})
    assert lost(tmp_path) == {"cpu-per-span": 3}


def test_a_promise_in_words() -> None:
    target = Target(what="speed", bound=1e7, unit="spans/s", files=(), read=lambda _: Reading(0), at_least=True)
    assert target.promised == "≥ 10,000,000 spans/s"
