"""The sizing page: its figures are those of docs/results, and its plan follows from them."""

import json
import re
from statistics import median

import pytest

from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from tests.source_tree import ROOT

TEXT = " ".join((ROOT / "docs/scaling.md").read_text(encoding="utf-8").split())
RESULTS = ROOT / "docs/results"


def _result(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


MEMORY, ROUTED, CPU = _result("memory"), _result("load-balancing"), _result("cpu-per-span")
FIT, STEADY = MEMORY["fit"], MEMORY["steady"]
MIB = 1 << 20
_REPLICAS = 14


def _cpu(per_request: int, system: str = "tracead") -> float:
    runs = [run for run in CPU["runs"] if (run["system"], run["spans_per_request"]) == (system, per_request)]
    return median(run["cpu_us"] for run in runs)


def _a_span(size: float, spans_per_trace: int = 15, parts: int = 5) -> float:
    of_trace = (FIT["per_trace"] + FIT["per_part"] * parts) / spans_per_trace
    return FIT["per_span"] + FIT["factor"] * size + of_trace


def _stands(text: str) -> None:
    assert text in TEXT, text


def test_the_formula_is_the_fit():
    _stands(
        f"{MEMORY['idle_bytes'] / MIB:.0f} MiB + open spans x ({FIT['per_span']:.0f} + {FIT['factor']:.2f} x bytes a span + "
        f"({FIT['per_trace']:.0f} + {FIT['per_part']:.0f} x services a trace) / spans a trace) bytes"
    )
    _stands(f"an open span costs {_a_span(320):.0f} bytes")
    _stands(f"{80_000 * _a_span(320) / MIB:.0f} MiB. Measured at that rate it was {STEADY['resident'] / MIB:.0f} MiB")
    _stands(f"where the formula says {STEADY['foreseen'] / MIB:.0f}")
    assert STEADY["resident"] / STEADY["foreseen"] < 1.3


def test_limits_are_those_of_the_code():
    _stands(f"`num_traces` ({TraceadConfig().num_traces:,})")
    _stands(f"`max_spans_per_trace` ({TraceadConfig().max_spans_per_trace:,})")
    _stands(f"up to {Bounds().pending_spans:,} spans")


def test_costs_are_those_measured():
    _stands(f"{_cpu(512):.1f} µs a span in requests of 512 spans, {_cpu(50):.1f} in requests of 50")
    assert 1e6 / _cpu(512) == pytest.approx(120_000, rel=0.02)


def test_what_was_split_is_what_was_measured():
    for name, words in (("restart", "drained and started again"), ("join", "a third joined"), ("leave", "one left")):
        run = ROUTED["runs"][name]
        row = re.search(rf"\| [^|]*{words}[^|]*\| (\d+) \| (\d+) \| (\d+) % \|", TEXT)
        assert row is not None, words
        marked = round(100 * run["split_marked"] / run["split"])
        assert [int(number) for number in row.groups()] == [run["lost"], run["split"], marked]
    killed = ROUTED["runs"]["kill"]
    _stands(f"| {killed['lost']:,} of {killed['sent']:,}, all of which it held | {killed['split']} |")
    assert killed["lost_by_others"] == 0
    _stands(f"of {killed['traces']:,}")


def test_rings_are_those_measured():
    rings = {(row["what"].split()[0], row["replicas"]): row for row in ROUTED["rings"]}
    shares = ", ".join(f"{rings['is', n]['moved']:.0%} with {n}".replace("%", " %") for n in (8, 50))
    _stands(f"{rings['is', 2]['moved']:.0%} of all with 2 replicas, {shares}".replace("% of", " % of"))
    _stands(f"the busiest of 16 replicas gets {rings['joins', 16]['busiest']:.2f} times its share")
    _stands(f"{rings['joins', 50]['busiest']:.2f} times its share (50 replicas)")


def test_the_plan_follows():
    size, busiest = CPU["bytes_per_span"]["otlp/512"], 1.23
    cores = 1e6 * round(_cpu(512), 1) * 1e-6
    _stands(f"| {cores:.1f} cores busy |")
    _stands(f"each at 65 % of a core: {cores / 0.65:.1f} | {_REPLICAS}, of one core each")
    each = 1e6 / _REPLICAS
    _stands(f"{busiest * each:,.0f} spans a second, {busiest * each * _cpu(512) * 1e-6:.0%}".replace("%", " %"))
    spans = round(each * 11, -3)
    _stands(f"{spans:,.0f}, in {round(spans / 15, -2):,.0f} traces")
    assert spans / 15 < 70_000
    _stands("set `num_traces` to 70,000")
    memory = 1.3 * (MEMORY["idle_bytes"] + spans * _a_span(size))
    _stands(
        f"{MEMORY['idle_bytes'] / MIB:.0f} MiB + {spans:,.0f} x {_a_span(size):.0f} bytes, times 1.3 | {memory / MIB:.0f} MiB"
    )
    assert memory < 0.8 * 1.5 * (1 << 30)
    _stands(f"{8 * size * 1e6 / 1e9:.1f} Gbit/s in, and the same out; {8 * size * each / 1e6:.0f} Mbit/s each way")
    _stands(f"{_cpu(512, 'collector-forward'):.1f} µs a span only to receive")
    split = 1e6 / 15 / (_REPLICAS + 1) * 2
    assert split == pytest.approx(8_900, rel=0.01)
