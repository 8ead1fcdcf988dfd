"""The simulated shop with names that would do harm wherever they are shown as they are."""

from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.wire.files import TraceFileWriter
from otel_tracead.wire.otlp import Envelopes, decode_request

EVIL = "\x1b[31m\x9b2J\r\n\x00\x07\u202e<script>alert(1)</script>\"'`${7*7}{{7*7}}[red]\\\u2028"
START = 1_700_000_000


def bodies(seed: int = 1, *faults: Fault, duration_s: float = 30.0) -> list[bytes]:
    """Give requests in which every text holds `EVIL`, but for keys that say what a text is."""
    run = simulate(Scenario(seed=seed, start_unix_nano=START * 10**9, duration_s=duration_s, faults=faults))
    found = []
    for _, body in requests(run):
        request = ExportTraceServiceRequest.FromString(body)
        for resource_spans in request.resource_spans:
            for attribute in resource_spans.resource.attributes:
                attribute.value.string_value += EVIL
            resource_spans.resource.attributes.add(key=EVIL).value.string_value = EVIL
            for scope_spans in resource_spans.scope_spans:
                scope_spans.scope.name += EVIL
                for span in scope_spans.spans:
                    span.name += EVIL
                    span.trace_state, span.status.message = EVIL, EVIL
                    span.attributes.add(key=EVIL).value.string_value = EVIL
                    span.attributes.add(key="list").value.array_value.values.add().string_value = EVIL
                    span.events.add(name=EVIL, time_unix_nano=1).attributes.add(key=EVIL)
                    span.links.add(trace_state=EVIL).attributes.add(key=EVIL).value.string_value = EVIL
        found.append(request.SerializeToString())
    return found


def written(path: Path, seed: int = 1, *faults: Fault, duration_s: float = 30.0) -> Path:
    """Write the same as a trace file."""
    envelopes = Envelopes()
    with TraceFileWriter(path) as writer:
        for body in bodies(seed, *faults, duration_s=duration_s):
            writer.write(decode_request(body, envelopes))
    return path


def is_shown_safely(text: str) -> bool:
    """Whether nothing in *text* moves a cursor, colours, deletes, or turns the direction of writing."""
    return all(one.isprintable() or one == "\n" for one in text)
