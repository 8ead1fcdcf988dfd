"""Traffic of any shape, and a model that knows it: so many labels, so many spans a trace.

The model is learned from it, all but its network, which has the default's sizes and random weights: the arithmetic is the
same, and no torch is needed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.spans import START_UNIX_NANO
from otel_tracead.traces.offline import gather
from otel_tracead.training.learning import LearningSettings
from otel_tracead.wire.batch import Envelope, group
from otel_tracead.wire.otlp import Envelopes, decode_request
from tests.tiny_model import learned, write_artifact

_DISTINCT: Final = 50  # labels in one trace, at most
_SERVICES: Final = 5
_MEAN_NS: Final = 2_000_000
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Shape:
    """What traces are like.

    Attributes:
        labels: how many there are in all.
        spans: of each trace: a root, and below it groups of a call and the calls that it makes.
    """

    labels: int
    spans: int

    @property
    def distinct(self) -> int:
        """How many labels a trace has; a longer one repeats its groups."""
        return min(self.spans, _DISTINCT, self.labels)

    @property
    def kinds(self) -> int:
        """How many kinds of traces there are, each with labels of its own."""
        return max(1, self.labels // self.distinct)


def spans(shape: Shape, traces: int, seed: int = 0) -> Iterator[tuple[Envelope, bytes]]:
    """Give the spans of *traces* traces, one trace after another, all kinds in turn."""
    random = np.random.default_rng(seed)
    envelopes = [_envelope(number) for number in range(_SERVICES)]
    at = START_UNIX_NANO
    for number in range(traces):
        trace_id, ids = random.bytes(16), random.integers(1, 1 << 62, shape.spans).tolist()
        kind = number % shape.kinds
        lasts = (_MEAN_NS * random.lognormal(0.0, 0.3, shape.spans)).astype(np.int64)
        starts = at + np.concatenate(([0], np.cumsum(lasts[:-1])))
        lasts[0] = lasts.sum()
        at += int(lasts[0])
        for place, (start, last) in enumerate(zip(starts.tolist(), lasts.tolist(), strict=True)):
            label = 0 if place == 0 else 1 + (place - 1) % (shape.distinct - 1)
            parent = place - label + 1 if label > 1 else 0
            span = Span(
                trace_id=trace_id,
                span_id=ids[place].to_bytes(8, "big"),
                parent_span_id=ids[parent].to_bytes(8, "big") if place else b"",
                name=_name(kind * shape.distinct + label),
                kind=Span.SPAN_KIND_SERVER,
                start_time_unix_nano=start,
                end_time_unix_nano=start + last,
            )
            yield envelopes[label % _SERVICES], span.SerializeToString()


def write_model(folder: Path, *examples: tuple[Shape, int]) -> None:
    """Learn a model of so many traces of each shape and write its artifact to *folder*."""
    made = [pair for shape, count in examples for pair in spans(shape, count, seed=1)]
    traces = gather([group([envelope for envelope, _ in made], [span for _, span in made])])
    write_artifact(folder, learned(list(traces), LearningSettings()))


def _envelope(number: int) -> Envelope:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = f"service-{_LETTERS[number]}"
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = "benchmarks"
    scope_spans.spans.add(trace_id=bytes(15) + b"1", span_id=bytes(7) + b"1")
    return next(envelope for envelope, _ in decode_request(request.SerializeToString(), Envelopes()))


def _name(number: int) -> str:
    """A name without digits: those may be taken for an id."""
    letters = ""
    while True:
        number, letter = divmod(number, len(_LETTERS))
        letters = _LETTERS[letter] + letters
        if not number:
            return f"operation {letters}"
