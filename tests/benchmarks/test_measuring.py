"""The harness itself: a short run of the cheapest system there is, and the table."""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.measure import Load, Run, run
from benchmarks.systems import SYSTEMS
from benchmarks.traffic import pack
from otel_tracead.generator import Scenario, requests, simulate
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
SETTING = report.Setting(
    command="python -m benchmarks",
    commit="abc",
    machine="a machine",
    traffic="spans",
    bytes_per_span={512: 300.0},
    model="shop",
    repeats=3,
)


def test_a_short_run(tmp_path: Path) -> None:
    plumbing = next(system for system in SYSTEMS if system.name == "tracead-plumbing")
    simulation = simulate(Scenario(seed=1, start_unix_nano=1_767_603_600_000_000_000, duration_s=10))
    pool = [pair for _, body in requests(simulation) for pair in decode_request(body, Envelopes())]
    path = tmp_path / "traffic.npz"
    pack(pool, 50).save(path)
    load = Load(traffic=path, spans_per_request=50, rate=5_000, seconds=1, warm_up=0.5)
    measured = run(plumbing, load, tmp_path, tmp_path)
    assert measured.lost == 0
    assert measured.sent == 7_500
    assert 0 < measured.cpu_us < 1_000
    assert measured.rss_mib > 10


def test_the_table_shows_medians_and_the_ratio_to_the_collector() -> None:
    ours = [replace(RUN, system="tracead", cpu_us=cpu) for cpu in (4.0, 10.0, 9.0)]
    lines = report.as_text(SETTING, [RUN, *ours]).splitlines()
    row = next(line for line in lines if line.startswith("tracead  "))
    assert row.split()[1:4] == ["9.00", "4.00-10.00", "1.80"]


def test_what_is_lost_is_seen() -> None:
    lossy = replace(RUN, received=990)
    assert json.loads(report.as_json(SETTING, [lossy]))["runs"][0]["lost"] == 10
    row = next(line for line in report.as_text(SETTING, [lossy]).splitlines() if line.startswith("collector-forward"))
    assert row.split()[-2:] == ["10", "0"]
