"""Jaeger JSON, as the UI and the query API hand it out, to `SpanBatch`; read only.

Sources: jaegertracing/jaeger, internal model/json; opentelemetry-collector-contrib, pkg/translator/jaeger;
OpenTelemetry specification, trace/sdk_exporters/jaeger.md.
"""

from base64 import b64decode
from typing import Any

import orjson

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _writer
from otel_tracead.wire import _zipkin_names as names
from otel_tracead.wire._json_reader import Broken, describe, elements, integer, text
from otel_tracead.wire._writer import delimited
from otel_tracead.wire.batch import Envelope, SpanBatch, group
from otel_tracead.wire.otlp import Envelopes

_KINDS = {"internal": 1} | {kind.lower(): number for kind, number in names.KINDS.items()}
_END_OF_TIME = (1 << 64) // 1000 + 1  # the first microsecond whose nanoseconds need more than 64 bits

_Object = dict[str, Any]


def decode_traces(body: bytes, envelopes: Envelopes) -> SpanBatch:
    """Decode `{"data": [trace, ...]}`, one trace `{traceID, spans, processes}`, or a list of traces.

    Raises:
        InvalidRequest: no such JSON; says where.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"not valid JSON: {error}") from error
    found_envelopes: list[Envelope] = []
    spans: list[bytes] = []
    try:
        for steps, trace in _traces(document):
            try:
                for envelope, span in _trace(trace, envelopes):
                    found_envelopes.append(envelope)
                    spans.append(span)
            except Broken as broken:
                broken.path += steps
                raise
    except Broken as broken:
        raise InvalidRequest(f"not valid Jaeger JSON: {broken}") from broken
    return group(found_envelopes, spans)


def _traces(document: object) -> list[tuple[list[str | int], object]]:
    if type(document) is dict and "data" in document:
        return [([index, "data"], trace) for index, trace in enumerate(_at("data", elements, document["data"] or []))]
    if type(document) is list:
        return [([index], trace) for index, trace in enumerate(document)]
    return [([], document)]


def _at(key: str | int, read: Any, *arguments: Any) -> Any:
    """Call *read* and put *key* on the path of what it complains about."""
    try:
        return read(*arguments)
    except Broken as broken:
        broken.path.append(key)
        raise


def _object(value: object) -> _Object:
    if type(value) is not dict:
        raise Broken(f"expected an object, not {describe(value)}")
    return value


def _each(holder: _Object, key: str, read: Any) -> list[Any]:
    """Read every item of an optional list."""
    items = _at(key, elements, holder.get(key) or [])
    return [_at(key, _at, index, read, item) for index, item in enumerate(items)]


def _trace(trace: object, envelopes: Envelopes) -> list[tuple[Envelope, bytes]]:
    found = _object(trace)
    if "spans" not in found:
        raise Broken("expected a trace with `spans` and `processes`")
    processes = _at("processes", _object, found.get("processes") or {})
    resources = {key: _at("processes", _at, key, _resource, value) for key, value in processes.items()}

    def read(span: object) -> tuple[Envelope, bytes]:
        return _span(_object(span), resources, envelopes)

    return _each(found, "spans", read)


def _resource(process: object) -> bytes:
    found = _object(process)
    name = _at("serviceName", text, found.get("serviceName") or "")
    tags = dict(_each(found, "tags", _tag))
    if name and name != names.NO_SERVICE_NAME:
        tags = {names.SERVICE_NAME: name, **{key: value for key, value in tags.items() if key != names.SERVICE_NAME}}
    encoded = b"".join(_writer.attribute(b"\x0a", key, value) for key, value in tags.items())
    return delimited(b"\x0a", encoded) if encoded else b""


def _tag(tag: object) -> tuple[str, Any]:
    """Read `{key, type, value}`; the value may come as text whatever its type, as storage back ends return it."""
    found = _object(tag)
    key = _at("key", text, found.get("key"))
    return key, _at("value", _tag_value, found.get("type"), found.get("value"))


def _tag_value(kind: object, value: Any) -> Any:
    try:
        if kind == "bool" and type(value) is str:
            return {"true": True, "false": False}[value.lower()]
        if kind == "int64":
            return integer(value, -(1 << 63), 1 << 63)
        if kind == "float64":
            return float(value)
        if kind == "binary":
            return b64decode(text(value), validate=True)
        _writer.any_value(value)
    except (ValueError, TypeError, KeyError):
        raise Broken(f"expected a {kind}, not {describe(value)}") from None
    return value


def _span(span: _Object, resources: dict[str, bytes], envelopes: Envelopes) -> tuple[Envelope, bytes]:
    trace_id = _at("traceID", _id, span.get("traceID"), 16)
    tags = dict(_each(span, "tags", _tag))
    if type(span.get("process")) is dict:  # some downloads hold it in the span
        resource = _at("process", _resource, span["process"])
    else:
        resource = resources.get(_at("processID", text, span.get("processID") or ""), b"")
    envelope = envelopes.intern(resource, _scope(tags))
    start = _at("startTime", integer, span.get("startTime"), 0, _END_OF_TIME) * 1000
    end = start + _at("duration", integer, span.get("duration") or 0, 0, _END_OF_TIME) * 1000
    name = _at("operationName", text, span.get("operationName") or "")
    parts = [delimited(b"\x0a", trace_id), delimited(b"\x12", _at("spanID", _id, span.get("spanID"), 8))]
    state = tags.pop(names.TRACE_STATE, "")
    if type(state) is str and state:
        parts.append(delimited(b"\x1a", state.encode()))
    parts += _references(span, trace_id)
    parts.append(delimited(b"\x2a", name.encode()))
    kind = tags.get(names.SPAN_KIND)
    if type(kind) is str and kind in _KINDS:
        del tags[names.SPAN_KIND]
        parts.append(b"\x30" + _writer.varint(_KINDS[kind]))
    parts += [b"\x39" + start.to_bytes(8, "little"), b"\x41" + min(end, (1 << 64) - 1).to_bytes(8, "little")]
    parts.append(_status(tags))
    parts += [_writer.attribute(b"\x4a", key, value) for key, value in tags.items()]
    parts += [delimited(b"\x5a", event) for event in _each(span, "logs", _event)]
    return envelope, b"".join(parts)


def _id(value: object, size: int) -> bytes:
    """Read an id; older versions leave its leading zeros away."""
    digits = text(value)
    if digits.isascii() and digits.isalnum() and len(digits) <= size * 2:
        try:
            return bytes.fromhex(digits.zfill(16 if len(digits) <= 16 else 32)).rjust(size, b"\0")
        except ValueError:
            pass
    raise Broken(f"expected 1 to {size * 2} hexadecimal digits, not {describe(value)}")


def _references(span: _Object, trace_id: bytes) -> list[bytes]:
    """Take the first CHILD_OF of the same trace for the parent (else its first FOLLOWS_FROM), the others for links."""

    def read(reference: object) -> tuple[str, bytes, bytes]:
        found = _object(reference)
        kind = _at("refType", text, found.get("refType") or "")
        return kind, _at("traceID", _id, found.get("traceID"), 16), _at("spanID", _id, found.get("spanID"), 8)

    references = _each(span, "references", read)
    parent = span.get("parentSpanID")
    if parent:  # what stood there before there were references
        references.insert(0, ("CHILD_OF", trace_id, _at("parentSpanID", _id, parent, 8)))
    own = [reference for reference in references if reference[1] == trace_id]
    children = [reference for reference in own if reference[0] == "CHILD_OF"] or own
    parts = [delimited(b"\x22", children[0][2])] if children else []
    for reference in references:
        if not children or reference[1:] != children[0][1:]:
            link = delimited(b"\x0a", reference[1]) + delimited(b"\x12", reference[2])
            parts.append(delimited(b"\x6a", link))
    return parts


def _scope(tags: dict[str, Any]) -> bytes:
    encoded = b""
    for tag, keys in (
        (b"\x0a", (names.SCOPE_NAME, names.LIBRARY_NAME)),
        (b"\x12", (names.SCOPE_VERSION, names.LIBRARY_VERSION)),
    ):
        found = [value for key in keys if type(value := tags.pop(key, None)) is str and value]
        if found:
            encoded += delimited(tag, found[0].encode())
    return delimited(b"\x0a", encoded) if encoded else b""


def _status(tags: dict[str, Any]) -> bytes:
    code = names.STATUS_CODES.get(str(tags.get(names.STATUS_CODE)), 0)
    message = ""
    if code:
        del tags[names.STATUS_CODE]
        message = str(tags.pop(names.STATUS_DESCRIPTION, ""))
    if tags.get(names.ERROR) in (True, "true"):
        del tags[names.ERROR]
        code = names.STATUS_CODES["ERROR"]
    if not code:
        return b""
    text_field = delimited(b"\x12", message.encode()) if message else b""
    return delimited(b"\x7a", text_field + b"\x18" + _writer.varint(code))


def _event(log: object) -> bytes:
    found = _object(log)
    time = _at("timestamp", integer, found.get("timestamp"), 0, _END_OF_TIME) * 1000
    fields = dict(_each(found, "fields", _tag))
    key = next((key for key in ("event", "message") if type(fields.get(key)) is str), None)
    parts = [b"\x09" + time.to_bytes(8, "little")]
    if key:
        parts.append(delimited(b"\x12", fields.pop(key).encode()))
    parts += [_writer.attribute(b"\x1a", name, value) for name, value in fields.items()]
    return b"".join(parts)
