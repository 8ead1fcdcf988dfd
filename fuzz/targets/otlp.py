"""OTLP requests, as protobuf and as JSON."""

from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fuzz import mutation, samples
from fuzz.target import Target
from fuzz.targets import oracles
from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _json_reader, _otlp_records, otlp, otlp_json
from otel_tracead.wire.otlp import Envelopes

KEYS: Final = (
    *("resourceSpans", "resource_spans", "resource", "scopeSpans", "scope_spans", "scope", "schemaUrl", "spans"),
    *(key for fields in (_json_reader.SPAN, _json_reader.RESOURCE_SPANS, _json_reader.SCOPE_SPANS) for key in fields),
    *("key", "value", "stringValue", "boolValue", "intValue", "doubleValue", "bytesValue", "arrayValue", "kvlistValue"),
    *("values", "code", "message", "timeUnixNano", "version", "string_value", "entityRefs", "idKeys", "unheardOf"),
)


def _protobuf(data: bytes) -> None:
    try:
        batch = otlp.decode_request(data, Envelopes())
    except InvalidRequest:
        return
    oracles.holds(oracles.parts(oracles.leaves(batch)), oracles.parts(data), "spans were lost or changed")
    oracles.leaves_as_json(batch)
    oracles.leaves_to_zipkin(batch)


def _json(data: bytes) -> None:
    try:
        batch = otlp_json.decode_request(data, Envelopes())
        found: object = oracles.groups(batch)
    except InvalidRequest as error:
        found, batch = str(error), None
    usual = _otlp_records.read
    _otlp_records.read = lambda _: None  # type: ignore[assignment]
    try:
        wanted: object = oracles.groups(otlp_json.decode_request(data, Envelopes()))
    except InvalidRequest as error:
        wanted = str(error)
    finally:
        _otlp_records.read = usual
    oracles.holds(found, wanted, "the reader of records and the plain one differ")
    if batch is not None:
        oracles.leaves(batch)
        again = otlp_json.decode_request(otlp_json.encode_request(batch), Envelopes())
        ExportTraceServiceRequest.FromString(otlp.encode_request(again))
        oracles.leaves_as_json(batch)
        oracles.leaves_to_zipkin(batch)


OTLP_PROTOBUF: Final = Target(
    name="otlp_protobuf",
    what="OTLP requests in protobuf; against protobuf's own parser, OTLP/JSON and Zipkin on the way out",
    run=_protobuf,
    seeds=lambda: [b"", samples.request(), *samples.golden("otlp_plain.pb")],
    mutate=mutation.protobuf,
)
OTLP_JSON: Final = Target(
    name="otlp_json",
    what="OTLP requests in JSON; the reader of records against the plain one, and all ways out",
    run=_json,
    seeds=lambda: [b"{}", samples.otlp_json(), *samples.golden("otlp_document.json")],
    mutate=mutation.json_text(KEYS),
)
