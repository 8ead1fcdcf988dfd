"""The check on traffic whose clock counts whole milliseconds, as some Zipkin clients do: many spans take none at all."""

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tiny_model import learned, shop_traces, write_artifact

from otel_tracead.detection.check import conclude, try_out
from otel_tracead.detection.detector import load_detector
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.trace import Trace

MILLISECOND = 1_000_000


def coarse(traces: list[Trace]) -> list[Trace]:
    for trace in traces:
        for place, encoded in enumerate(trace.spans):
            span = Span.FromString(encoded)
            span.start_time_unix_nano -= span.start_time_unix_nano % MILLISECOND
            span.end_time_unix_nano -= span.end_time_unix_nano % MILLISECOND
            trace.spans[place] = span.SerializeToString()
    return traces


def test_whole_milliseconds_are_normal_input(tmp_path) -> None:
    write_artifact(tmp_path / "model", learned(coarse(shop_traces(seed=60, duration_s=60.0))))
    events = Encoder(LabelTemplate()).encode(coarse(shop_traces(seed=61, duration_s=15.0)))
    assert (events.self_us == 0).mean() > 0.2
    result = conclude([try_out(lambda: load_detector(tmp_path / "model"), events, count=15, seed=0)], 0.01)
    assert result.passed, result.reasons
    # Floors that a detector which guesses fails by far.
    assert result.figures["auc_lower_95"] > 0.85
    assert result.figures["recall_stall"] > 0.4
    assert result.figures["recall_swapped"] > 0.6
