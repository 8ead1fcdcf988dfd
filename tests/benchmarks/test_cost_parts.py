"""Parts of the benchmarks that need no running stage."""

import math
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.flames import clean, fitted
from benchmarks.growth import cases
from benchmarks.instant import InstantScorer
from benchmarks.made import Shape, spans, write_model
from benchmarks.several_processes import split
from benchmarks.stage_metrics import quantile
from otel_tracead.detection.detector import DetectionSettings, load_detector
from otel_tracead.traces.offline import gather
from otel_tracead.wire.batch import group

FRAME = (
    '<g><title>{title} (5 samples, {width}%)</title><rect x="0%" y="4" width="{width}%" height="15" fill="rgb(1,2,3)"/>'
    '<text x="0.25%" y="10">{title}</text></g>'
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg"><text id="title" y="24">py-spy record -o /home/me/flame.svg --pid 7</text>'
    '<svg id="frames">{frames}</svg></svg>'
)


def flame(*frames: tuple[str, float]) -> str:
    return SVG.format(frames="".join(FRAME.format(title=title, width=width) for title, width in frames))


def test_a_flame_graph_tells_nothing_of_the_machine() -> None:
    told = clean(
        flame(
            ("run (/home/me/checkout/otel_tracead/service/runner.py:9)", 50),
            ("0x7f63f7113e84 (grpc/_cython/cygrpc.so)", 20),
            ("call (asyncio/events.py:80)", 10),
        ),
        "tracead",
    )
    assert "/home" not in told
    assert "0x7f" not in told
    titles = [one.text for one in ET.fromstring(told).iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "run (runner.py:9) (5 samples, 50%)",
        "cygrpc.so (5 samples, 20%)",
        "call (asyncio/events.py:80) (5 samples, 10%)",
    ]
    assert ">tracead</text>" in told


def test_narrow_frames_make_room() -> None:
    wide = [("wide", 90.0)]
    narrow = [(f"narrow {number}", 0.06 + number / 1000) for number in range(2_000)]
    cleaned = fitted(flame(*wide, *narrow), "tracead")
    assert len(cleaned.encode()) <= 300_000
    assert "wide" in cleaned
    assert "narrow 0 " not in cleaned


def test_traces_are_of_their_shape() -> None:
    shape = Shape(labels=1000, spans=50)
    made = [Span.FromString(span) for _, span in spans(shape, 40)]
    assert len({span.trace_id for span in made}) == 40
    assert set(Counter(span.trace_id for span in made).values()) == {50}
    assert len({span.name for span in made}) == 1000
    by_id = {span.span_id: span for span in made}
    roots = [span for span in made if not span.parent_span_id]
    assert len(roots) == 40
    assert all(by_id[span.parent_span_id].trace_id == span.trace_id for span in made if span.parent_span_id)


def test_a_model_knows_what_was_made_for_it(tmp_path: Path) -> None:
    shape = Shape(labels=50, spans=10)
    write_model(tmp_path / "model", (shape, 400))
    detector = load_detector(
        tmp_path / "model", settings=DetectionSettings(), execution_provider="cpu", require_report_card=False
    )
    made = list(spans(shape, 50, seed=9))
    traces = list(gather([group([envelope for envelope, _ in made], [span for _, span in made])]))
    verdicts = detector.judge(traces)
    assert len(verdicts) == 50
    assert [verdict.unscored for verdict in verdicts if verdict.unscored] == []
    assert sum(verdict.anomalous for verdict in verdicts) < 25


def test_open_traces_are_what_a_wait_makes_of_the_rate() -> None:
    waits = {case.name: case.wait for case in cases(20_000) if case.group == "open traces"}
    assert waits == {"1,000": 0.25, "10,000": 2.5, "100,000": 25.0}


def test_whole_traces_go_to_one_process() -> None:
    pool = list(spans(Shape(labels=5, spans=5), 100))
    parts = split(pool, 3)
    ids = [{span[2:18] for _, span in part} for part in parts]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 100
    assert sum(map(len, parts)) == 500


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, 0.015), (1.0, 0.02), (0.25, 0.0125)],
)
def test_a_quantile_is_within_its_bucket(share: float, expected: float) -> None:
    before = {0.01: 5.0, 0.02: 5.0, math.inf: 5.0}
    after = {0.01: 5.0, 0.02: 105.0, math.inf: 105.0}
    assert quantile(before, after, share) == pytest.approx(expected)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile({}, {0.01: 1.0, math.inf: 10.0}, 0.99) == 0.01
    assert math.isnan(quantile({}, {0.01: 0.0, math.inf: 0.0}, 0.5))


def test_an_instant_network_answers_in_the_shape_of_the_real_one() -> None:
    import numpy as np

    offsets = np.array([0, 3, 5])
    surprise = InstantScorer(b"").surprise(np.zeros(5), np.zeros(5), offsets)
    assert surprise.offsets.tolist() == [0, 4, 7]
    assert len(surprise.label) == len(surprise.time) == 7
