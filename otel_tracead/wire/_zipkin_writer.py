"""One OTLP span to a Zipkin v2 span.

Sources: OpenTelemetry specification, trace/sdk_exporters/zipkin.md; for what it leaves open (resource, links,
local endpoint) opentelemetry-collector-contrib, pkg/translator/zipkin/zipkinv2/from_translator.go.
"""

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from typing import Any

import orjson
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from otel_tracead.wire import _zipkin_names as names
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.values import plain_value, text

_Object = dict[str, Any]
_KINDS = {number: kind for kind, number in names.KINDS.items()}
_FLAGS = ((names.SHARED, "shared"), (names.DEBUG, "debug"))
_LONGEST_ADDRESS = 45  # characters: an IPv6 address that embeds an IPv4 address
_OUTGOING = ("CLIENT", "PRODUCER")
_HERE = (names.HOST_IP, names.HOST_PORT), (names.NEW_HOST_IP, names.NEW_HOST_PORT)
_THERE = (names.PEER_IP, names.PEER_PORT), (names.NEW_PEER_IP, names.NEW_PEER_PORT)


def shared_part(envelope: Envelope, default_service_name: str) -> tuple[str, dict[str, str]]:
    """Give the local service's name and the tags that every span of *envelope* gets."""
    tags = dict(envelope.attributes)
    service = tags.pop(names.SERVICE_NAME, "")
    for source in names.SERVICE_NAME_SOURCES:
        if not service and tags.get(source):
            service = tags.pop(source)
            tags[names.SERVICE_NAME_SOURCE] = source
    scope = ScopeSpans.FromString(envelope.scope).scope
    tags |= {attribute.key: text(attribute.value) for attribute in scope.attributes}
    tags |= {
        key: value for key, value in ((names.SCOPE_NAME, scope.name), (names.SCOPE_VERSION, scope.version)) if value
    }
    return service or default_service_name, tags


def write_span(encoded: bytes, service: str, shared_tags: Mapping[str, str]) -> _Object:
    """Translate one span; a span without valid ids gets some that are made of its bytes, as Zipkin takes no other."""
    span = Span.FromString(encoded)
    tags = dict(shared_tags)
    tags |= {attribute.key: text(attribute.value) for attribute in span.attributes}
    kind = _KINDS.get(span.kind)
    result = _ids(span, encoded)
    if kind:
        result["kind"] = kind
    elif span.kind == names.INTERNAL:
        tags[names.SPAN_KIND] = "internal"
    if span.name:
        result["name"] = span.name
    result |= _times(span, absent=tags.pop(names.START_ABSENT, "") == "true")
    result["localEndpoint"] = {"serviceName": service, **_address(tags, *_HERE)}
    remote = _remote(tags, kind)
    if remote:
        result["remoteEndpoint"] = remote
    if span.events:  # at 1 µs rather than 0, for which a Collector refuses the whole request
        result["annotations"] = [
            {"timestamp": max(1, event.time_unix_nano // 1000), "value": _annotation(event)} for event in span.events
        ]
    _status(span, tags)
    _rest(span, tags)
    result |= {flag: True for key, flag in _FLAGS if tags.get(key) == "true" and tags.pop(key)}
    return {**result, "tags": tags} if tags else result


def _times(span: Any, *, absent: bool) -> _Object:
    """Give whole microseconds; Zipkin takes 0 for absent, so what is there is at least 1."""
    start, duration = span.start_time_unix_nano, span.end_time_unix_nano - span.start_time_unix_nano
    result = {"timestamp": max(1, start // 1000)} if start and not absent else {}
    if duration > 0 and (start or absent):
        result["duration"] = max(1, duration // 1000)
    return result


def _ids(span: Any, encoded: bytes) -> _Object:
    trace_id, span_id, parent_id = span.trace_id[-16:], span.span_id[-8:], span.parent_span_id[-8:]
    substitute = blake2b(encoded, digest_size=16).digest()
    digits = (trace_id if any(trace_id) else substitute).hex().zfill(32)
    result = {
        "traceId": digits.removeprefix("0" * 16),
        "id": (span_id if any(span_id) else substitute[-8:]).hex().zfill(16),
    }
    if any(parent_id):
        result["parentId"] = parent_id.hex().zfill(16)
    return result


def _address(tags: dict[str, str], *keys: tuple[str, str]) -> _Object:
    """Move an address and a port from the tags into an endpoint's fields, by the first keys that have one; else they stay."""
    endpoint: _Object = {}
    family = None
    for ip_key, port_key in keys:
        if family is None and ip_key in tags:
            family = _family(tags[ip_key])
            if family:
                endpoint[family] = tags.pop(ip_key)
        if "port" not in endpoint and port_key in tags:
            port = _port(tags[port_key])
            if port:
                del tags[port_key]
                endpoint["port"] = port
    return endpoint


def _family(address: str) -> str | None:
    """Tell under which key of an endpoint *address* stands; None if it is none."""
    return _known_family(address) if len(address) <= _LONGEST_ADDRESS else None


@lru_cache(maxsize=1 << 14)
def _known_family(address: str) -> str | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        return None if parsed.scope_id else "ipv6"  # fe80::1%eth0 is one that no server reads
    return "ipv4"


def _port(digits: str) -> int | None:
    return (
        int(digits)
        if digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 1 << 16
        else None
    )


def _remote(tags: dict[str, str], kind: str | None) -> _Object:
    service = tags.pop(names.PEER_SERVICE, "") or tags.pop(names.NEW_PEER_SERVICE, "")
    remote = {"serviceName": service} if service else {}
    # Alone, the newer address of a call's other side is one of the ranks, and stays a tag.
    remote |= _address(tags, *(_THERE if service or kind not in _OUTGOING else _THERE[:1]))
    if remote or kind not in _OUTGOING:
        return remote
    for name_key, port_key in names.REMOTE_RANKS:
        name = tags.get(name_key)
        if name:
            remote = {_family(name) or "serviceName": name}
            port = _port(tags.get(port_key, "")) if port_key else None
            return {**remote, "port": port} if port else remote
    return {}


def _annotation(event: Any) -> str:
    attributes = {attribute.key: plain_value(attribute.value) for attribute in event.attributes}
    if event.dropped_attributes_count:
        attributes[names.DROPPED_ATTRIBUTES] = event.dropped_attributes_count
    if not attributes:
        return str(event.name)
    return f"{orjson.dumps(event.name).decode()}: {orjson.dumps(attributes).decode()}"


def _status(span: Any, tags: dict[str, str]) -> None:
    code = span.status.code
    if code == names.STATUS_CODES["ERROR"]:
        tags[names.STATUS_CODE] = "ERROR"
        tags[names.ERROR] = span.status.message or tags.get(names.ERROR, "")
    elif code == names.STATUS_CODES["OK"]:
        tags[names.STATUS_CODE] = "OK"
    if tags.get(names.ERROR, "").lower() == "false":  # Zipkin takes any `error` for a failure
        tags[names.ERROR] = ""
        if code != names.STATUS_CODES["ERROR"]:
            del tags[names.ERROR]


def _rest(span: Any, tags: dict[str, str]) -> None:
    if span.trace_state:
        tags[names.TRACE_STATE] = span.trace_state
    for key, count in (
        (names.DROPPED_ATTRIBUTES, span.dropped_attributes_count),
        (names.DROPPED_EVENTS, span.dropped_events_count),
        (names.DROPPED_LINKS, span.dropped_links_count),
    ):
        if count:
            tags[key] = str(count)
    for number, link in enumerate(span.links):
        tags[f"{names.LINK}{number}"] = _link(link)


def _link(link: Any) -> str:
    """Write `traceid|spanid|tracestate|json|dropped` such that a Collector reads it: it refuses whole requests for a link."""
    trace_id = link.trace_id[-16:].hex().zfill(32) if link.trace_id else ""
    span_id = link.span_id[-8:].hex().zfill(16) if link.span_id else ""
    state = "" if "|" in link.trace_state else link.trace_state
    attributes = orjson.dumps({attribute.key: plain_value(attribute.value) for attribute in link.attributes}).decode()
    return f"{trace_id}|{span_id}|{state}|{attributes}|{link.dropped_attributes_count}"
