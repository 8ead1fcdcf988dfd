"""Jaeger's JSON, as its UI and API hand it out."""

from typing import Final

from fuzz import mutation, samples
from fuzz.target import Target
from fuzz.targets import oracles
from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import jaeger
from otel_tracead.wire.otlp import Envelopes

_KEYS: Final = (
    *("data", "traceID", "spanID", "spans", "processes", "process", "processID", "operationName", "references"),
    *("refType", "startTime", "duration", "tags", "logs", "fields", "timestamp", "key", "type", "value", "serviceName"),
    *("parentSpanID", "flags", "p1", "unheardOf"),
)


def _run(data: bytes) -> None:
    try:
        batch = jaeger.decode_traces(data, Envelopes())
    except InvalidRequest:
        return
    oracles.leaves(batch)
    oracles.leaves_as_json(batch)
    oracles.leaves_to_zipkin(batch)


JAEGER_JSON: Final = Target(
    name="jaeger_json",
    what="Jaeger JSON; what it becomes is taken by every reader",
    run=_run,
    seeds=lambda: [b"[]", samples.jaeger(), *samples.golden("jaeger_document.json")],
    mutate=mutation.json_text(_KEYS),
)
