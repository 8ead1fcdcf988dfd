"""What is made of the memory benchmark's runs: costs are found again, and the load is what it says it is."""

from itertools import product

import pytest

from benchmarks.memory import Fit, Measured, Shape, fit, requests
from tests.peers.independent import parse, spans_of

COSTS = Fit(per_trace=250, per_part=40, per_span=80, factor=1.1, worst=0)
SHAPES = [Shape(*pair, size) for pair, size in product(((1, 1), (5, 1), (5, 5), (20, 5)), (100, 300, 1000))]


def _run(shape: Shape, spans: int = 10_000) -> Measured:
    size = spans * shape.bytes_per_span
    grown = int(COSTS.grown(shape, spans, size))
    return Measured(
        shape=shape, traces=spans // shape.spans_per_trace, spans=spans, span_bytes=size, grown=grown, idle=0
    )


def test_costs_are_found_again() -> None:
    found = fit([_run(shape) for shape in SHAPES])
    assert (found.per_trace, found.per_part, found.per_span) == pytest.approx((250, 40, 80), rel=0.01)
    assert found.factor == pytest.approx(1.1, rel=0.01)
    assert found.worst < 0.001


@pytest.mark.parametrize("shape", [Shape(1, 1, 100), Shape(5, 5, 300), Shape(20, 5, 1000)])
def test_the_load_has_its_shape(shape: Shape) -> None:
    made = list(requests(shape, 2_000))
    spans = list(spans_of(parse(body for body, _, _ in made)))
    assert len(spans) == sum(count for _, count, _ in made) == 2_000
    traces = {span.trace_id for span in spans}
    assert len(traces) == 2_000 // shape.spans_per_trace
    assert len({span.span_id for span in spans}) == 2_000
    assert sum(size for _, _, size in made) / 2_000 == pytest.approx(shape.bytes_per_span, rel=0.25)
    parts = {(span.trace_id, number) for number, (body, _, _) in enumerate(made) for span in spans_of(parse([body]))}
    assert len(parts) == shape.parts * len(traces)
