"""The harness itself: short runs of the cheapest systems there are, and the table."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cpu_table, plots, report
from benchmarks.measure import Load, Run, rate_of, run, words_of
from benchmarks.systems import named
from benchmarks.traffic import Protocol, pack
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.otlp import Envelopes, decode_request

RUN = Run(
    system="collector-forward",
    spans_per_request=512,
    rate=20_000,
    achieved=19_900,
    cpu_us=5.0,
    cores=0.1,
    rss_mib=46,
    sent=1000,
    received=1000,
    refused=0,
    p50_ms=2,
    p99_ms=4,
)
HEADER = {"command": "python -m benchmarks", "commit": "abc", "machine": "a machine", "date": "2026-01-05"}


@pytest.fixture(scope="module")
def pool() -> list[tuple[Envelope, bytes]]:
    simulation = simulate(Scenario(seed=1, start_unix_nano=1_767_603_600_000_000_000, duration_s=10))
    return [pair for _, body in requests(simulation) for pair in decode_request(body, Envelopes())]


@pytest.mark.parametrize(
    ("system", "takes"), [("tracead-plumbing", Protocol.OTLP), ("tracead-zipkin-plumbing", Protocol.ZIPKIN)]
)
def test_a_short_run(pool: list[tuple[Envelope, bytes]], system: str, takes: Protocol, tmp_path: Path) -> None:
    path = tmp_path / "traffic.npz"
    pack(pool, 50, takes).save(path)
    load = Load(traffic=path, spans_per_request=50, rate=5_000, seconds=0.6, warm_up=0.2)
    measured = run(named(system), load, tmp_path, tmp_path)
    assert measured.lost == 0
    assert measured.sent == 4_000
    assert 0 < measured.cpu_us < 2_000
    assert measured.rss_mib > 10


def test_at_full_speed_time_is_the_measure(pool: list[tuple[Envelope, bytes]], tmp_path: Path) -> None:
    path = tmp_path / "traffic.npz"
    pack(pool, 50).save(path)
    load = Load(traffic=path, spans_per_request=50, rate=math.inf, seconds=0.5, warm_up=0.1)
    measured = run(named("tracead-plumbing"), load, tmp_path, tmp_path)
    assert measured.lost == 0
    assert measured.sent > 1_000


def test_a_rate_is_a_number_or_max() -> None:
    assert rate_of("max") == math.inf
    assert words_of(rate_of("max")) == "full speed"
    assert words_of(rate_of("50000")) == "50,000 spans a second"
    with pytest.raises(ValueError, match="not a rate"):
        rate_of("0")


def test_the_table_shows_medians_and_the_ratio_to_the_collector() -> None:
    ours = [replace(RUN, system="tracead", cpu_us=cpu) for cpu in (4.0, 10.0, 9.0)]
    sections = cpu_table.tables([RUN, *ours], {"otlp/512": 98.0})
    row = next(line for section in sections for line in section.splitlines() if line.startswith("tracead  "))
    assert row.split()[1:4] == ["9.00", "4.00-10.00", "1.80"]
    assert cpu_table.ratios([RUN, *ours])["otlp/512/20000/tracead"] == 1.8


def test_what_is_lost_is_seen() -> None:
    lossy = replace(RUN, received=990)
    assert cpu_table.as_json([lossy])[0]["lost"] == 10
    sections = cpu_table.tables([lossy], {"otlp/512": 98.0})
    row = next(line for part in sections for line in part.splitlines() if line.startswith("collector-forward"))
    assert row.split()[-2:] == ["10", "0"]


def test_what_a_peer_loses_is_not_ours() -> None:
    doubled = replace(RUN, system="tracead-instant", received=1003)
    assert cpu_table.lost([replace(RUN, received=990), doubled]) == {"ours": 3, "peers": 10}


def test_full_speed_is_written_in_json_as_a_word() -> None:
    fast = replace(RUN, rate=math.inf)
    assert json.loads(json.dumps(cpu_table.as_json([fast])))[0]["rate"] == "max"
    assert list(cpu_table.medians([fast])) == ["otlp/512/max"]


def test_history_only_grows(tmp_path: Path) -> None:
    for ratio in (2.0, 1.5):
        report.write(tmp_path / "part", "A title", {**HEADER, "ratios": {"tracead": ratio}}, ["text"])
    lines = [json.loads(line) for line in (tmp_path / report.HISTORY).read_text().splitlines()]
    assert [line["ratios"] for line in lines] == [{"tracead": 2.0}, {"tracead": 1.5}]
    assert lines[0]["part"] == "part"


def test_a_command_is_written_down_without_folders_of_this_machine(tmp_path: Path) -> None:
    told = report.header("benchmarks.memory", ["--output", str(tmp_path / "memory"), "--spans", "5"])
    assert told["command"] == "python -m benchmarks.memory --output memory --spans 5"


def test_the_same_figures_give_the_same_picture(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plots.bars(tmp_path / name, cpu_table.panels([RUN, replace(RUN, system="tracead")]), "µs")
    first, second = ((tmp_path / f"{name}.svg").read_text() for name in ("a", "b"))
    assert first == second
    assert "collector-forward" in first
