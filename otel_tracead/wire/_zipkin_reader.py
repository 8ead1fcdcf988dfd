"""One parsed Zipkin v2 span to OTLP protobuf bytes.

Takes what Zipkin's own reader takes, and refuses what it refuses: a span passed on to a Zipkin server must not
cost the innocent ones in its request. The one difference is upper case in ids, which is lowered.
Sources: openzipkin/zipkin, zipkin2/internal/V2SpanReader.java and zipkin2/Span.java;
opentelemetry-collector-contrib, pkg/translator/zipkin/zipkinv2/to_translator.go.
"""

import re
from binascii import unhexlify
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from otel_tracead.wire import _writer
from otel_tracead.wire import _zipkin_names as names
from otel_tracead.wire._json_reader import Broken, describe, elements, integer, text
from otel_tracead.wire._writer import delimited, string_attribute
from otel_tracead.wire._zipkin_tags import count_of, json_object, take_fields, typed

_EVENT_OF_CONTRIB: Final = re.compile(r"([^|]*)\|(\{.*\})\|([0-9]{1,10})", re.DOTALL)
_EVENT_OF_SPEC: Final = re.compile(r'"(?:[^"\\]|\\.)*": ?\{.*\}', re.DOTALL)
END_OF_TIME: Final = (1 << 64) // 1000 + 1
"""The first microsecond whose nanoseconds need more than 64 bits."""

_TRACE_ID, _SPAN_ID = 32, 16  # digits
_LONG: Final = 256  # characters of an endpoint from which on it is not remembered: memory is bounded
_ENVELOPE_TAGS: Final = names.RESOURCE_TAGS | {
    *(names.SERVICE_NAME_SOURCE, names.SCOPE_NAME, names.SCOPE_VERSION, names.LIBRARY_NAME, names.LIBRARY_VERSION)
}
_ENDPOINT_TAGS: Final = frozenset({names.HOST_IP, names.HOST_PORT, names.PEER_SERVICE, names.PEER_IP, names.PEER_PORT})
_START_ABSENT: Final = _writer.attribute(b"\x4a", names.START_ABSENT, True)
_FLAGS: Final = tuple(
    (flag, _writer.attribute(b"\x4a", attribute, True))
    for flag, attribute in (("shared", names.SHARED), ("debug", names.DEBUG))
)
_KINDS: Final = {kind: b"\x30" + _writer.varint(number) for kind, number in names.KINDS.items()}

Object = dict[str, Any]
EnvelopeKey = tuple[tuple[tuple[str, str], ...], str, str]
"""(resource attributes, scope name, scope version)."""
EnvelopeFields = tuple[bytes, bytes]
"""The encoded fields of `ResourceSpans` and `ScopeSpans` that an `Envelope` is made of."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Zipkin endpoint.

    Attributes:
        service: its name, or an empty string.
        ip: the address as it is written, IPv6 rather than IPv4, or an empty string.
        port: 0 where there is none.
    """

    service: str = ""
    ip: str = ""
    port: int = 0


def read_span(span: object, *, parse_string_tags: bool = False) -> tuple[EnvelopeKey, bytes, bool]:
    """Translate one span.

    Args:
        span: parsed JSON.
        parse_string_tags: whether tags that spell a number or boolean become one.

    Returns:
        whose span it is, its encoding, and whether it has ids that are not in lower case.

    Raises:
        Broken: Zipkin would refuse it; with its path.
    """
    if type(span) is not dict:
        raise Broken(f"expected an object, not {describe(span)}")
    ids, lower = _ids(span)
    key, before, after = read_repeating(span, parse_string_tags=parse_string_tags)
    annotations = b"" if span.get("annotations") is None else read_annotations(span["annotations"])
    times = read_times(number(span, "timestamp", END_OF_TIME), number(span, "duration", END_OF_TIME))
    return key, b"".join((*ids, before, times, after, annotations)), not lower


def read_repeating(span: Object, *, parse_string_tags: bool) -> tuple[EnvelopeKey, bytes, bytes]:
    """Translate what spans of one operation have in common: all but ids, times and annotations.

    Args:
        span: parsed JSON.
        parse_string_tags: as `read_span` takes it.

    Returns:
        whose span it is, the fields that stand before its times, and those that stand behind them.

    Raises:
        Broken: Zipkin would refuse it; with its path.
    """
    tags = _tags(optional(span, "tags", dict))
    local, remote = endpoint(span, "localEndpoint"), endpoint(span, "remoteEndpoint")
    key = _envelope(local.service, tags)
    name = optional(span, "name", str)
    kind = _kind(span)
    before = [delimited(b"\x2a", name.encode()) if name else b"", kind, *take_fields(tags, kind=bool(kind))]
    if parse_string_tags:
        after = [_writer.attribute(b"\x4a", tag, typed(value)) for tag, value in tags.items()]
    else:
        after = [string_attribute(b"\x4a", tag, value) for tag, value in tags.items()]
    after.append(_endpoints(local, remote, tags))
    after += [encoded for flag, encoded in _FLAGS if flag in span and optional(span, flag, bool)]
    return key, b"".join(before), b"".join(after)


def envelope_fields(key: EnvelopeKey) -> EnvelopeFields:
    """Encode whose span it is."""
    attributes, name, version = key
    resource = b"".join(string_attribute(b"\x0a", tag, value) for tag, value in attributes)
    scope = b"".join(delimited(tag, value.encode()) for tag, value in ((b"\x0a", name), (b"\x12", version)) if value)
    return delimited(b"\x0a", resource) if resource else b"", delimited(b"\x0a", scope) if scope else b""


def optional(holder: Object, key: str, kind: type) -> Any:
    """Give the value under *key*, None if there is none, or raise Broken if it is not of the JSON type *kind*."""
    value = holder.get(key)
    if value is None or type(value) is kind:
        return value
    expected = {str: "a string", dict: "an object", bool: "a boolean"}[kind]
    raise at(key, f"expected {expected}, not {describe(value)}")


def at(key: str | int, what: str) -> Broken:
    """Make a `Broken` about the value under *key*."""
    broken = Broken(what)
    broken.path.append(key)
    return broken


def number(holder: Object, key: str, high: int) -> int:
    """Read an integer below *high* as Zipkin does: absent and negative are 0, a string of digits will do."""
    value = holder.get(key)
    if type(value) is int and 0 <= value < high:
        return value
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    try:
        return max(0, integer(value, -(1 << 63), high))
    except Broken as broken:
        broken.path.append(key)
        raise


def _ids(span: Object) -> tuple[list[bytes], bool]:
    trace_id, lower = identifier(span, "traceId", _TRACE_ID)
    span_id, lower_too = identifier(span, "id", _SPAN_ID)
    lower = lower and lower_too
    parts = [b"\x0a\x10", trace_id, b"\x12\x08", span_id]
    if span.get("parentId") is not None:
        parent_id, lower_too = identifier(span, "parentId", _SPAN_ID, zero=True)
        lower = lower and lower_too
        if parent_id != span_id and any(parent_id):
            parts += (b"\x22\x08", parent_id)
    return parts, lower


def identifier(span: Object, key: str, digits: int, *, zero: bool = False) -> tuple[bytes, bool]:
    """Read an id of up to *digits* hexadecimal digits; gives its bytes, and whether it was in lower case.

    Raises:
        Broken: it is none, or all zeros without leave.
    """
    value = span.get(key)
    if value is None:
        raise at(key, "missing")
    try:
        found = unhexlify(value if len(value) == digits else value.zfill(digits))
    except (ValueError, TypeError, AttributeError):
        found = b""
    if len(found) * 2 != digits or not value:
        raise at(key, f"expected 1 to {digits} hexadecimal digits, not {describe(value)}")
    if not zero and not any(found):
        raise at(key, "is all zeros")
    return found, value.lower() == value


def _tags(tags: Object | None) -> dict[str, str]:
    found = {}
    for key, value in (tags or {}).items():
        if type(value) is str:
            found[key] = value
        elif type(value) in (int, float):  # against the schema, but Zipkin takes numbers as their text
            found[key] = repr(value)
        else:
            broken = at(key, f"expected a string, not {describe(value)}")
            broken.path.append("tags")
            raise broken
    return found


def endpoint(holder: Object, key: str) -> Endpoint:
    """Read the endpoint under *key*, an empty one if there is none.

    Raises:
        Broken: it is no endpoint.
    """
    value = optional(holder, key, dict)
    if not value:
        return _NOWHERE
    try:
        return Endpoint(
            optional(value, "serviceName", str) or "",
            optional(value, "ipv6", str) or optional(value, "ipv4", str) or "",
            number(value, "port", 1 << 16) if "port" in value else 0,
        )
    except Broken as broken:
        broken.path.append(key)
        raise


_NOWHERE: Final = Endpoint()


def _envelope(service: str, tags: dict[str, str]) -> EnvelopeKey:
    named = bool(service) and service != names.NO_SERVICE_NAME
    if _ENVELOPE_TAGS.isdisjoint(tags):
        return ((names.SERVICE_NAME, service),) if named else (), "", ""
    source = tags.pop(names.SERVICE_NAME_SOURCE, "")
    resource = [(key, tags.pop(key)) for key in sorted(names.RESOURCE_TAGS & tags.keys())]
    if named:
        key = source if source in names.SERVICE_NAME_SOURCES else names.SERVICE_NAME
        resource = [(key, service), *(pair for pair in resource if pair[0] != key)]
    name, version = tags.pop(names.LIBRARY_NAME, ""), tags.pop(names.LIBRARY_VERSION, "")
    scope = tags.pop(names.SCOPE_NAME, name), tags.pop(names.SCOPE_VERSION, version)
    return (tuple(resource), *scope)


def _kind(span: Object) -> bytes:
    kind = optional(span, "kind", str)
    if kind is None:
        return b""
    encoded = _KINDS.get(kind)
    if encoded is None:
        raise at("kind", f"expected one of {', '.join(names.KINDS)}, not {describe(kind)}")
    return encoded


def read_times(timestamp: int, duration: int) -> bytes:
    """Translate microseconds below `END_OF_TIME`, 0 where there are none."""
    start, duration = timestamp * 1000, duration * 1000
    began = b"\x39" + start.to_bytes(8, "little") if start else _START_ABSENT
    if start + duration:
        return began + b"\x41" + min(start + duration, (1 << 64) - 1).to_bytes(8, "little")
    return began


def _endpoints(local: Endpoint, remote: Endpoint, tags: dict[str, str]) -> bytes:
    short = len(local.ip) + len(remote.service) + len(remote.ip) < _LONG
    if short and _ENDPOINT_TAGS.isdisjoint(tags):
        return _remembered(local.ip, local.port, remote.service, remote.ip, remote.port)
    return b"".join(
        _writer.attribute(b"\x4a", key, value) for key, value in _addresses(local, remote) if value and key not in tags
    )


@lru_cache(maxsize=1 << 12)
def _remembered(local_ip: str, local_port: int, service: str, ip: str, port: int) -> bytes:
    pairs = _addresses(Endpoint("", local_ip, local_port), Endpoint(service, ip, port))
    return b"".join(_writer.attribute(b"\x4a", key, value) for key, value in pairs if value)


def _addresses(local: Endpoint, remote: Endpoint) -> tuple[tuple[str, str | int], ...]:
    return (
        (names.HOST_IP, local.ip),
        (names.HOST_PORT, local.port),
        (names.PEER_SERVICE, remote.service),
        (names.PEER_IP, remote.ip),
        (names.PEER_PORT, remote.port),
    )


def read_annotations(annotations: object) -> bytes:
    """Translate the list of annotations, or raise Broken."""
    parts: list[bytes] = []
    try:
        for index, annotation in enumerate(elements(annotations)):
            try:
                parts.append(delimited(b"\x5a", _event(annotation)))
            except Broken as broken:
                broken.path.append(index)
                raise
    except Broken as broken:
        broken.path.append("annotations")
        raise
    return b"".join(parts)


def _event(annotation: object) -> bytes:
    microseconds, value = timed_text(annotation)
    name, attributes, dropped = _event_parts(value)
    parts = [b"\x09" + (microseconds * 1000).to_bytes(8, "little")] if microseconds else []
    parts.append(delimited(b"\x12", name.encode()))
    parts += [_writer.attribute(b"\x1a", key, value) for key, value in attributes.items()]
    if dropped:
        parts.append(b"\x20" + _writer.varint(dropped))
    return b"".join(parts)


def timed_text(annotation: object) -> tuple[int, str]:
    """Read an annotation; gives its microseconds and its text, or raises Broken."""
    if type(annotation) is not dict:
        raise Broken(f"expected an object, not {describe(annotation)}")
    for key in ("timestamp", "value"):
        if annotation.get(key) is None:
            raise at(key, "missing")
    microseconds = number(annotation, "timestamp", END_OF_TIME)
    try:
        return microseconds, text(annotation["value"])
    except Broken as broken:
        broken.path.append("value")
        raise


def _event_parts(value: str) -> tuple[str, Object, int]:
    """Take apart `name`, `"name": {json}` (specification) or `name|{json}|dropped` (contrib)."""
    if match := _EVENT_OF_CONTRIB.fullmatch(value):
        attributes, count = json_object(match[2]), count_of(match[3])
        if attributes is not None and count is not None:
            return match[1], attributes, count
    if match := _EVENT_OF_SPEC.fullmatch(value):
        named = json_object(f"{{{value}}}")
        if named is not None and len(named) == 1:
            [(name, attributes)] = named.items()
            dropped = attributes.pop(names.DROPPED_ATTRIBUTES, 0)
            if type(dropped) is int and 0 <= dropped < 1 << 32:
                return name, attributes, dropped
    return value, {}, 0
