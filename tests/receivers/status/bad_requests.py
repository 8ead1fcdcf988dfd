"""The requests of docs/status-codes.md, by the names that stand there."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.receivers import samples
from tests.receivers.status.raw import GRPC_PATH, Grpc, Http

LIMIT = 1 << 20  # the smallest limit that gRPC's key can be given

PROTOBUF, JSON = "application/x-protobuf", "application/json"
GOOD, GOOD_JSON, GOOD_ZIPKIN = samples.otlp(2), samples.otlp_json(2), samples.zipkin(2)


def _span(**fields: Any) -> bytes:
    always = {"trace_id": bytes(15) + b"\7", "span_id": bytes(7) + b"\1", "name": "operation"}
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(**{**always, **fields})
    return request.SerializeToString()


def _changed(**fields: Any) -> bytes:
    document = json.loads(samples.otlp_json(1))
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    for name, value in fields.items():
        if value is None:
            del span[name]
        else:
            span[name] = value
    return json.dumps(document).encode()


def _zipkin(**fields: Any) -> bytes:
    (span,) = json.loads(samples.zipkin(1))
    for name, value in fields.items():
        if value is None:
            del span[name]
        else:
            span[name] = value
    return json.dumps([span]).encode()


def _wrong_wire_type() -> bytes:
    return b"\x0a\x04\x12\x02\x10\x07"  # resource_spans { scope_spans { spans: the varint 7 } }


def _numbered_name() -> bytes:
    request = ExportTraceServiceRequest.FromString(_span(name=""))
    span = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString() + b"\x28\x07"  # name: the varint 7
    for _ in range(2):
        span = bytes((0x12, len(span))) + span
    return bytes((0x0A, len(span))) + span


def _broken_utf8() -> bytes:
    return _span(name="operation").replace(b"operation", b"operat\xff\xfen")


LARGE = samples.otlp(1, "x" * LIMIT)
BOMB = gzip.compress(samples.otlp(1, "x" * 20 * LIMIT))


def otlp_grpc() -> dict[str, Grpc]:
    """OTLP over gRPC."""
    packed = gzip.compress(GOOD)
    return {
        "spans": Grpc(GOOD),
        "no spans": Grpc(b""),
        "gzip": Grpc(packed, compressed=True, encoding="gzip"),
        "deflate": Grpc(zlib.compress(GOOD), compressed=True, encoding="deflate"),
        "another method": Grpc(GOOD, GRPC_PATH + "All"),
        "another service": Grpc(GOOD, "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        "another content type": Grpc(GOOD, content_type="application/json"),
        "an unknown compression": Grpc(packed, compressed=True, encoding="br"),
        "compressed, and not said how": Grpc(packed, compressed=True),
        "a body that is not the gzip it says": Grpc(GOOD, compressed=True, encoding="gzip"),
        "gzip cut off": Grpc(packed[:-6], compressed=True, encoding="gzip"),
        "protobuf cut off": Grpc(GOOD[:-1]),
        "random bytes": Grpc(b"\xff\xff\xff"),
        "a number where a span should be": Grpc(_wrong_wire_type()),
        "a number where a name should be": Grpc(_numbered_name()),
        "a name that is not UTF-8": Grpc(_broken_utf8()),
        "ids of a wrong length": Grpc(_span(trace_id=b"\7" * 3)),
        "ids of zeros": Grpc(_span(trace_id=bytes(16), span_id=bytes(8))),
        "larger than the limit": Grpc(LARGE),
        "larger than the limit once unpacked": Grpc(BOMB, compressed=True, encoding="gzip"),
    }


def otlp_http() -> dict[str, Http]:
    """OTLP over HTTP."""

    def proto(body: bytes, **headers: str) -> Http:
        return Http(body, headers={"Content-Type": PROTOBUF, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def in_json(body: bytes) -> Http:
        return Http(body, headers={"Content-Type": JSON})

    packed = gzip.compress(GOOD)
    return {
        "spans, protobuf": proto(GOOD),
        "spans, JSON": in_json(GOOD_JSON),
        "no spans, protobuf": proto(b""),
        "no spans, JSON": in_json(b"{}"),
        "spans without saying how many bytes": Http(GOOD, headers={"Content-Type": PROTOBUF}, chunked=True),
        "`application/json; charset=utf-8`": Http(
            GOOD_JSON, headers={"Content-Type": "application/json; charset=utf-8"}
        ),
        "gzip": proto(packed, Content_Encoding="gzip"),
        "deflate": proto(zlib.compress(GOOD), Content_Encoding="deflate"),
        "zstd": proto(zstandard.ZstdCompressor().compress(GOOD), Content_Encoding="zstd"),
        "another path": Http(GOOD, "/v1/spans", headers={"Content-Type": PROTOBUF}),
        "another signal's path": Http(GOOD, "/v1/metrics", headers={"Content-Type": PROTOBUF}),
        "GET": Http(b"", method="GET"),
        "PUT": Http(GOOD, method="PUT", headers={"Content-Type": PROTOBUF}),
        "another content type": Http(GOOD, headers={"Content-Type": "text/plain"}),
        "no content type": Http(GOOD),
        "an unknown compression": proto(GOOD, Content_Encoding="br"),
        "two compressions": proto(gzip.compress(packed), Content_Encoding="gzip, gzip"),
        "a body that is not the gzip it says": proto(GOOD, Content_Encoding="gzip"),
        "gzip cut off": proto(packed[:-6], Content_Encoding="gzip"),
        "nothing, said to be gzip": proto(b"", Content_Encoding="gzip"),
        "protobuf cut off": proto(GOOD[:-1]),
        "random bytes": proto(b"\xff\xff\xff"),
        "a number where a span should be": proto(_wrong_wire_type()),
        "a number where a name should be": proto(_numbered_name()),
        "a name that is not UTF-8": proto(_broken_utf8()),
        "ids of a wrong length, protobuf": proto(_span(trace_id=b"\7" * 3)),
        "ids of zeros": proto(_span(trace_id=bytes(16), span_id=bytes(8))),
        "no JSON": in_json(b"spans"),
        "JSON cut off": in_json(GOOD_JSON[:-2]),
        "nothing, said to be JSON": in_json(b""),
        "a JSON list": in_json(b"[]"),
        "JSON a thousand levels deep": in_json(b'{"x":' * 1000 + b"1" + b"}" * 1000),
        "ids that are not hex": in_json(_changed(traceId="g" * 32)),
        "ids of a wrong length, JSON": in_json(_changed(traceId="070707")),
        "an id of an odd number of digits": in_json(_changed(spanId="7" * 15)),
        "an enum in words": in_json(_changed(kind="SPAN_KIND_SERVER")),
        "a time that is no number": in_json(_changed(startTimeUnixNano="noon")),
        "a time below zero": in_json(_changed(startTimeUnixNano="-1")),
        "a name that is a number": in_json(_changed(name=7)),
        "an unknown field": in_json(_changed(colour="red")),
        "larger than the limit": proto(LARGE),
        "larger than the limit, without saying so": Http(LARGE, headers={"Content-Type": PROTOBUF}, chunked=True),
        "larger than the limit once unpacked": proto(BOMB, Content_Encoding="gzip"),
    }


def zipkin() -> dict[str, Http]:
    """Zipkin."""

    def v2(body: bytes, **headers: str) -> Http:
        return Http(body, headers={"Content-Type": JSON, **{k.replace("_", "-"): v for k, v in headers.items()}})

    packed = gzip.compress(GOOD_ZIPKIN)
    return {
        "spans": v2(GOOD_ZIPKIN),
        "no spans": v2(b"[]"),
        "nothing": v2(b""),
        "no content type": Http(GOOD_ZIPKIN),
        "gzip": v2(packed, Content_Encoding="gzip"),
        "another path": Http(GOOD_ZIPKIN, "/api/v3/spans", headers={"Content-Type": JSON}),
        "GET": Http(b"", method="GET"),
        "thrift": Http(b"", headers={"Content-Type": "application/x-thrift"}),
        "an unknown compression": v2(GOOD_ZIPKIN, Content_Encoding="br"),
        "a body that is not the gzip it says": v2(GOOD_ZIPKIN, Content_Encoding="gzip"),
        "gzip cut off": v2(packed[:-6], Content_Encoding="gzip"),
        "no JSON": v2(b"spans"),
        "JSON cut off": v2(GOOD_ZIPKIN[:-1]),
        "a JSON object": v2(b"{}"),
        "v1 spans on the path of v2": v2(b'[{"traceId":"7","id":"1","name":"x","binaryAnnotations":[]}]'),
        "a trace id that is not hex": v2(_zipkin(traceId="g" * 16)),
        "a trace id that is too long": v2(_zipkin(traceId="7" * 33)),
        "a trace id of zeros": v2(_zipkin(traceId="0" * 16)),
        "no trace id": v2(_zipkin(traceId=None)),
        "no span id": v2(_zipkin(id=None)),
        "a kind that is none": v2(_zipkin(kind="LISTENER")),
        "a time that is no number": v2(_zipkin(timestamp="noon")),
        "a time below zero": v2(_zipkin(timestamp=-1)),
        "a duration below zero": v2(_zipkin(duration=-1)),
        "a tag that is a number": v2(_zipkin(tags={"a": 1})),
        "an unknown field": v2(_zipkin(colour="red")),
        "protobuf that is none": Http(b"\xff\xff\xff", headers={"Content-Type": PROTOBUF}),
        "larger than the limit": v2(samples.zipkin(1, "x" * LIMIT)),
        "larger than the limit once unpacked": v2(
            gzip.compress(samples.zipkin(1, "x" * 20 * LIMIT)), Content_Encoding="gzip"
        ),
    }


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "OTLP over gRPC": otlp_grpc,
    "OTLP over HTTP": otlp_http,
    "Zipkin": zipkin,
}
PATHS = {"OTLP over gRPC": "", "OTLP over HTTP": "/v1/traces", "Zipkin": "/api/v2/spans"}
