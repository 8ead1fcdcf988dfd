"""Sends and receives spans without a line of otel-tracead: grpcio, http.client, opentelemetry-proto, and a field walker."""

import base64
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tools.peers.backend import EXPORT, Backend

_OWN = "tracead."


# --- protobuf, field by field -----------------------------------------------------------------------------------------


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (number, content, the whole field with its tag) in order; content is empty unless length-delimited."""
    position = 0
    while position < len(message):
        start = position
        tag, position = _varint(message, position)
        content = b""
        match tag & 7:
            case 0:
                _, position = _varint(message, position)
            case 1:
                position += 8
            case 2:
                length, position = _varint(message, position)
                content = message[position : position + length]
                position += length
            case 5:
                position += 4
            case wire_type:
                raise AssertionError(f"wire type {wire_type}")
        yield tag >> 3, content, message[start:position]


def _split(message: bytes, number: int) -> tuple[bytes, list[bytes]]:
    """Everything but field *number* as it stands, and the contents of field *number*."""
    rest, found = [], []
    for field, content, whole in fields(message):
        if field == number:
            found.append(content)
        else:
            rest.append(whole)
    return b"".join(rest), found


def raw_spans(body: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (the resource's bytes, the scope's bytes, the span's bytes) of a request, schema URLs included."""
    for resource_spans in _split(body, 1)[1]:
        resource, scopes = _split(resource_spans, 2)
        for scope_spans in scopes:
            scope, spans = _split(scope_spans, 2)
            for span in spans:
                yield resource, scope, span


def _is_own(attribute: bytes) -> bool:
    return any(number == 1 and content.startswith(_OWN.encode()) for number, content, _ in fields(attribute))


def without_own(span: bytes) -> bytes:
    """The span's bytes without its attributes `tracead.*`, everything else in its place."""
    return b"".join(whole for number, content, whole in fields(span) if not (number == 9 and _is_own(content)))


def census(bodies: Iterable[bytes]) -> Counter[tuple[bytes, bytes, bytes]]:
    """Count spans byte for byte with their resource and scope, `tracead.*` left out."""
    return Counter((resource, scope, without_own(span)) for body in bodies for resource, scope, span in raw_spans(body))


def parsed_census(requests: Iterable[ExportTraceServiceRequest]) -> Counter[bytes]:
    """Count spans with their resource and scope by content, `tracead.*` left out: for ways that re-encode them."""
    found: Counter[bytes] = Counter()
    for request in requests:
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    single = ExportTraceServiceRequest()
                    outer = single.resource_spans.add(
                        resource=resource_spans.resource, schema_url=resource_spans.schema_url
                    )
                    inner = outer.scope_spans.add(scope=scope_spans.scope, schema_url=scope_spans.schema_url)
                    copy = inner.spans.add()
                    copy.CopyFrom(span)
                    del copy.attributes[:]
                    copy.attributes.extend(kept for kept in span.attributes if not kept.key.startswith(_OWN))
                    if not copy.status.ByteSize():
                        copy.ClearField("status")  # a Collector writes an empty one where there was none
                    found[single.SerializeToString(deterministic=True)] += 1
    return found


def spans_of(requests: Iterable[ExportTraceServiceRequest]) -> Iterator[Span]:
    for request in requests:
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                yield from scope_spans.spans


def parse(bodies: Iterable[bytes]) -> list[ExportTraceServiceRequest]:
    return [ExportTraceServiceRequest.FromString(body) for body in bodies]


# --- verdicts ---------------------------------------------------------------------------------------------------------


def own(span: Span) -> dict[str, Any]:
    """The span's attributes `tracead.*` that are strings, numbers or booleans."""
    return {
        attribute.key: getattr(attribute.value, str(attribute.value.WhichOneof("value")))
        for attribute in span.attributes
        if attribute.key.startswith(_OWN)
    }


def verdicts(requests: Iterable[ExportTraceServiceRequest]) -> Counter[str]:
    """Count, for each trace id, the spans that carry its verdict (a score, or why there is none)."""
    found: Counter[str] = Counter()
    for span in spans_of(requests):
        found[span.trace_id.hex()] += bool({"tracead.trace.anomalous", "tracead.unscored"} & own(span).keys())
    return found


def assert_one_verdict_each(received: Iterable[ExportTraceServiceRequest], sent: Iterable[bytes]) -> None:
    found = verdicts(received)
    assert found.keys() == {span.trace_id.hex() for span in spans_of(parse(sent))}
    assert set(found.values()) == {1}


def marked(requests: Iterable[ExportTraceServiceRequest], key: str, value: str | bool) -> set[str]:
    """The ids of traces with a span whose attribute *key* is *value*."""
    return {span.trace_id.hex() for span in spans_of(requests) if own(span).get(key) == value}


# --- OTLP/JSON --------------------------------------------------------------------------------------------------------


def _ids(document: dict[str, Any], convert: Any) -> None:
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(key):
                            holder[key] = convert(holder[key])


def to_json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON as the specification has it: ids in hex, enums as integers."""
    document = json_format.MessageToDict(request, use_integers_for_enums=True)
    _ids(document, lambda text: base64.b64decode(text).hex())
    return json.dumps(document).encode()


def from_json(line: bytes | str) -> ExportTraceServiceRequest:
    document = json.loads(line)
    _ids(document, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    return json_format.ParseDict(document, ExportTraceServiceRequest())


# --- Zipkin -----------------------------------------------------------------------------------------------------------

_KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}


def _tag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_zipkin(requests: Iterable[ExportTraceServiceRequest]) -> list[dict[str, Any]]:
    """Zipkin v2 spans as a tracer of its own would have sent them; values of tags are strings, times microseconds."""
    found = []
    for request in requests:
        for resource_spans in request.resource_spans:
            resource = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
            for span in (span for scope in resource_spans.scope_spans for span in scope.spans):
                tags = {a.key: _tag(getattr(a.value, str(a.value.WhichOneof("value")))) for a in span.attributes}
                document = {
                    "traceId": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "name": span.name,
                    "timestamp": span.start_time_unix_nano // 1000,
                    "duration": max(1, (span.end_time_unix_nano - span.start_time_unix_nano) // 1000),
                    "localEndpoint": {"serviceName": resource["service.name"]},
                }
                if span.parent_span_id:
                    document["parentId"] = span.parent_span_id.hex()
                if span.kind in _KINDS:
                    document["kind"] = _KINDS[span.kind]
                if span.status.code == 2:
                    tags["error"] = span.status.message
                if tags:
                    document["tags"] = tags
                found.append(document)
    return found


# --- clients ----------------------------------------------------------------------------------------------------------


class Pace:
    """Holds a sender to a number of spans a second; 0 is as fast as it goes."""

    def __init__(self, spans_per_second: float = 0.0) -> None:
        self._rate = spans_per_second
        self._due = time.monotonic()

    def wait(self, spans: int) -> None:
        if self._rate:
            time.sleep(max(0.0, self._due - time.monotonic()))
            self._due += spans / self._rate


def send_grpc(target: str, bodies: Iterable[bytes], rate: float = 0.0) -> None:
    """Export *bodies* one by one; one that is refused with UNAVAILABLE is sent again, as clients do."""
    pace = Pace(rate)
    with grpc.insecure_channel(target) as channel:
        export = channel.unary_unary(EXPORT)
        for body in bodies:
            pace.wait(len(list(raw_spans(body))))
            while True:
                try:
                    export(body, timeout=30, wait_for_ready=True)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    time.sleep(0.1)
                else:
                    break


def post(url: str, bodies: Iterable[bytes], content_type: str, *, expect: int) -> None:
    """POST *bodies* one by one over one connection."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        for body in bodies:
            connection.request("POST", parts.path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == expect, (answer.status, text[:500])
    finally:
        connection.close()


# --- servers ----------------------------------------------------------------------------------------------------------


class GrpcSink(Backend):
    """A backend whose requests can be read."""

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return parse(self.bodies)


class HttpSink:
    """Takes any POST with 202 and keeps the bodies as they came."""

    def __init__(self) -> None:
        bodies = self.bodies = list[bytes]()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
