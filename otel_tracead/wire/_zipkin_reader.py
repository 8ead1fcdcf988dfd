"""One parsed Zipkin v2 span to OTLP protobuf bytes.

Takes what Zipkin's own reader takes, and refuses what it refuses: a span passed on to a Zipkin server must not
cost the innocent ones in its request. The one difference is upper case in ids, which is lowered.
Sources: openzipkin/zipkin, zipkin2/internal/V2SpanReader.java and zipkin2/Span.java;
opentelemetry-collector-contrib, pkg/translator/zipkin/zipkinv2/to_translator.go.
"""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from otel_tracead.wire import _writer
from otel_tracead.wire import _zipkin_names as names
from otel_tracead.wire._json_reader import Broken, describe, elements, integer, text
from otel_tracead.wire._writer import delimited, string_attribute

_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
_EVENT_OF_CONTRIB = re.compile(r"([^|]*)\|(\{.*\})\|([0-9]{1,10})", re.DOTALL)
_EVENT_OF_SPEC = re.compile(r'"(?:[^"\\]|\\.)*": ?\{.*\}', re.DOTALL)
_END_OF_TIME = (1 << 64) // 1000 + 1  # the first microsecond whose nanoseconds need more than 64 bits

_Object = dict[str, Any]
EnvelopeKey = tuple[tuple[tuple[str, str], ...], str, str]
"""(resource attributes, scope name, scope version)."""


def read_span(span: object) -> tuple[EnvelopeKey, bytes]:
    """Translate one span; ids in *span* are lowered in place.

    Raises:
        Broken: Zipkin would refuse it; with its path.
    """
    if type(span) is not dict:
        raise Broken(f"expected an object, not {describe(span)}")
    tags = _tags(_optional(span, "tags", dict))
    parts = _ids(span)
    local, remote = _endpoint(span, "localEndpoint"), _endpoint(span, "remoteEndpoint")
    key = _envelope(local, tags)
    name = _optional(span, "name", str)
    if name:
        parts.append(delimited(b"\x2a", name.encode()))
    parts += (_state(tags), _kind(span, tags), _status(tags), *_links(tags), *_dropped(tags))
    parts += _times(span)
    parts += [string_attribute(b"\x4a", tag, value) for tag, value in tags.items()]
    parts += _endpoints(local, remote, tags)
    for flag, attribute in (("shared", names.SHARED), ("debug", names.DEBUG)):
        if _optional(span, flag, bool):
            parts.append(_writer.attribute(b"\x4a", attribute, True))
    parts += _annotations(span)
    return key, b"".join(parts)


def _optional(span: _Object, key: str, kind: type) -> Any:
    value = span.get(key)
    if value is None or type(value) is kind:
        return value
    expected = {str: "a string", dict: "an object", bool: "a boolean"}[kind]
    raise _at(key, f"expected {expected}, not {describe(value)}")


def _at(key: str | int, what: str) -> Broken:
    broken = Broken(what)
    broken.path.append(key)
    return broken


def _number(holder: _Object, key: str, high: int) -> int:
    value = holder.get(key)
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    try:
        return max(0, integer(value, -(1 << 63), high))
    except Broken as broken:
        broken.path.append(key)
        raise


def _ids(span: _Object) -> list[bytes]:
    trace_id, span_id = _id(span, "traceId", 32), _id(span, "id", 16)
    parts = [
        delimited(b"\x0a", bytes.fromhex(trace_id.zfill(32))),
        delimited(b"\x12", bytes.fromhex(span_id.zfill(16))),
    ]
    if span.get("parentId") is not None:
        parent_id = _id(span, "parentId", 16, zero=True).zfill(16)
        if parent_id not in (span_id.zfill(16), "0" * 16):
            parts.append(delimited(b"\x22", bytes.fromhex(parent_id)))
    return parts


def _id(span: _Object, key: str, digits: int, *, zero: bool = False) -> str:
    value = span.get(key)
    if value is None:
        raise _at(key, "missing")
    if type(value) is not str or not _HEX.fullmatch(value) or len(value) > digits:
        raise _at(key, f"expected 1 to {digits} hexadecimal digits, not {describe(value)}")
    if not zero and not value.strip("0"):
        raise _at(key, "is all zeros")
    lowered = value.lower()
    if lowered != value:
        span[key] = lowered
    return lowered


def _tags(tags: _Object | None) -> dict[str, str]:
    found = {}
    for key, value in (tags or {}).items():
        if type(value) is str:
            found[key] = value
        elif type(value) in (int, float):  # against the schema, but Zipkin takes numbers as their text
            found[key] = repr(value)
        else:
            broken = _at(key, f"expected a string, not {describe(value)}")
            broken.path.append("tags")
            raise broken
    return found


def _endpoint(span: _Object, key: str) -> _Object:
    endpoint = _optional(span, key, dict) or {}
    try:
        return {
            "serviceName": _optional(endpoint, "serviceName", str) or "",
            "ip": _optional(endpoint, "ipv6", str) or _optional(endpoint, "ipv4", str) or "",
            "port": _number(endpoint, "port", 1 << 16),
        }
    except Broken as broken:
        broken.path.append(key)
        raise


def _envelope(local: _Object, tags: dict[str, str]) -> EnvelopeKey:
    service = local["serviceName"]
    source = tags.pop(names.SERVICE_NAME_SOURCE, "")
    resource = [(key, tags.pop(key)) for key in sorted(names.RESOURCE_TAGS & tags.keys())]
    if service and service != names.NO_SERVICE_NAME:
        key = source if source in names.SERVICE_NAME_SOURCES else names.SERVICE_NAME
        resource = [(key, service), *(pair for pair in resource if pair[0] != key)]
    name, version = tags.pop(names.LIBRARY_NAME, ""), tags.pop(names.LIBRARY_VERSION, "")
    scope = tags.pop(names.SCOPE_NAME, name), tags.pop(names.SCOPE_VERSION, version)
    return (tuple(resource), *scope)


def _state(tags: dict[str, str]) -> bytes:
    state = tags.pop(names.TRACE_STATE, "")
    return delimited(b"\x1a", state.encode()) if state else b""


def _kind(span: _Object, tags: dict[str, str]) -> bytes:
    kind = _optional(span, "kind", str)
    if kind is not None:
        if kind not in names.KINDS:
            raise _at("kind", f"expected one of {', '.join(names.KINDS)}, not {describe(kind)}")
        return b"\x30" + _writer.varint(names.KINDS[kind])
    if tags.get(names.SPAN_KIND) == "internal":
        del tags[names.SPAN_KIND]
        return b"\x30" + _writer.varint(names.INTERNAL)
    return b""


def _status(tags: dict[str, str]) -> bytes:
    code = names.STATUS_CODES.get(tags.get(names.STATUS_CODE, ""), 0)
    description = ""
    if code:
        del tags[names.STATUS_CODE]
        description = tags.pop(names.STATUS_DESCRIPTION, "")
    error = tags.get(names.ERROR)
    if error is not None and error.lower() != "false":
        del tags[names.ERROR]
        code = names.STATUS_CODES["ERROR"]
        description = description or ("" if error.lower() == "true" else error)
    if not code:
        return b""
    text_field = delimited(b"\x12", description.encode()) if description else b""
    return delimited(b"\x7a", text_field + b"\x18" + _writer.varint(code))


def _dropped(tags: dict[str, str]) -> Iterable[bytes]:
    for tag, key in (
        (b"\x50", names.DROPPED_ATTRIBUTES),
        (b"\x60", names.DROPPED_EVENTS),
        (b"\x70", names.DROPPED_LINKS),
    ):
        if key in tags and (count := _count(tags[key])) is not None:
            del tags[key]
            yield tag + _writer.varint(count)


def _count(digits: str) -> int | None:
    if digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) < 1 << 32:
        return int(digits)
    return None


def _links(tags: dict[str, str]) -> Iterable[bytes]:
    """Read `traceid|spanid|tracestate|json|dropped`; a tag in another form stays a tag."""
    for number in range(names.MAX_LINKS):
        key = f"{names.LINK}{number}"
        if key not in tags:
            return
        parts = tags[key].split("|")
        count = _count(parts[-1])
        attributes = _json_object("|".join(parts[3:-1]) or "{}")
        if len(parts) < 5 or count is None or attributes is None:
            continue
        try:
            trace_id, span_id = bytes.fromhex(parts[0]), bytes.fromhex(parts[1])
        except ValueError:
            continue
        del tags[key]
        link = [delimited(b"\x0a", trace_id), delimited(b"\x12", span_id)]
        if parts[2]:
            link.append(delimited(b"\x1a", parts[2].encode()))
        link += [_writer.attribute(b"\x22", name, value) for name, value in attributes.items()]
        if count:
            link.append(b"\x28" + _writer.varint(count))
        yield delimited(b"\x6a", b"".join(link))


def _times(span: _Object) -> list[bytes]:
    start, duration = _number(span, "timestamp", _END_OF_TIME) * 1000, _number(span, "duration", _END_OF_TIME) * 1000
    parts = []
    if start:
        parts.append(b"\x39" + start.to_bytes(8, "little"))
    else:
        parts.append(_writer.attribute(b"\x4a", names.START_ABSENT, True))
    if start + duration:
        parts.append(b"\x41" + min(start + duration, (1 << 64) - 1).to_bytes(8, "little"))
    return parts


def _endpoints(local: _Object, remote: _Object, tags: dict[str, str]) -> list[bytes]:
    attributes: tuple[tuple[str, str | int], ...] = (
        (names.HOST_IP, local["ip"]),
        (names.HOST_PORT, local["port"]),
        (names.PEER_SERVICE, remote["serviceName"]),
        (names.PEER_IP, remote["ip"]),
        (names.PEER_PORT, remote["port"]),
    )
    return [_writer.attribute(b"\x4a", key, value) for key, value in attributes if value and key not in tags]


def _annotations(span: _Object) -> list[bytes]:
    parts: list[bytes] = []
    if span.get("annotations") is None:
        return parts
    try:
        for index, annotation in enumerate(elements(span["annotations"])):
            try:
                parts.append(delimited(b"\x5a", _event(annotation)))
            except Broken as broken:
                broken.path.append(index)
                raise
    except Broken as broken:
        broken.path.append("annotations")
        raise
    return parts


def _event(annotation: object) -> bytes:
    if type(annotation) is not dict:
        raise Broken(f"expected an object, not {describe(annotation)}")
    for key in ("timestamp", "value"):
        if annotation.get(key) is None:
            raise _at(key, "missing")
    microseconds = _number(annotation, "timestamp", _END_OF_TIME)
    name, attributes, dropped = _event_parts(_text(annotation["value"]))
    parts = [b"\x09" + (microseconds * 1000).to_bytes(8, "little")] if microseconds else []
    parts.append(delimited(b"\x12", name.encode()))
    parts += [_writer.attribute(b"\x1a", key, value) for key, value in attributes.items()]
    if dropped:
        parts.append(b"\x20" + _writer.varint(dropped))
    return b"".join(parts)


def _text(value: object) -> str:
    try:
        return text(value)
    except Broken as broken:
        broken.path.append("value")
        raise


def _event_parts(value: str) -> tuple[str, _Object, int]:
    """Take apart `name`, `"name": {json}` (specification) or `name|{json}|dropped` (contrib)."""
    if match := _EVENT_OF_CONTRIB.fullmatch(value):
        attributes, count = _json_object(match[2]), _count(match[3])
        if attributes is not None and count is not None:
            return match[1], attributes, count
    if match := _EVENT_OF_SPEC.fullmatch(value):
        named = _json_object(f"{{{value}}}")
        if named is not None and len(named) == 1:
            [(name, attributes)] = named.items()
            dropped = attributes.pop(names.DROPPED_ATTRIBUTES, 0)
            if type(dropped) is int and 0 <= dropped < 1 << 32:
                return name, attributes, dropped
    return value, {}, 0


def _json_object(encoded: str) -> _Object | None:
    """Parse a JSON object that holds attribute values; None if it is something else."""
    try:
        found = orjson.loads(encoded)
        _writer.any_value(found)
    except ValueError:
        return None
    return found if type(found) is dict else None
