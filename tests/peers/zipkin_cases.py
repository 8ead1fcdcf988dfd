"""Zipkin requests to send to two receivers: each row of docs/formats.md, and what a receiver must make up its mind about."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fidelity import translation
from tests.fidelity.formats_page import cells

MARK = "case"
_JSON, _PROTOBUF = "application/json", "application/x-protobuf"


@dataclass(frozen=True)
class Case:
    """A request.

    Attributes:
        name: what is in it, as docs/formats.md writes it.
        form: `v2`, `v1` or `protobuf`.
        body: its body.
    """

    name: str
    form: str
    body: bytes

    @property
    def path(self) -> str:
        return "/api/v1/spans" if self.form == "v1" else "/api/v2/spans"

    @property
    def content_type(self) -> str:
        return _PROTOBUF if self.form == "protobuf" else _JSON


def cases() -> list[Case]:
    """Give all of them; every span has a tag `case` with the place of its case."""
    return [Case(name, form, body(str(place))) for place, (name, form, body) in enumerate(_described())]


def _described() -> Iterator[tuple[str, str, Any]]:
    for cell, way, _ in cells("Zipkin and OTLP, field by field")[1:]:
        if way != "to Zipkin":
            yield cell, "v2", lambda mark, cell=cell: _v2([translation.zipkin(cell)], mark)
    for name, spans in _MORE.items():
        yield name, "v2", lambda mark, spans=spans: _v2([{**translation.ZIPKIN, **span} for span in spans], mark)
    for cell, *_ in cells("Zipkin v1")[1:]:
        yield cell, "v1", lambda mark, cell=cell: _v1([translation.v1(cell)], mark)
    for name, span in _MORE_V1.items():
        yield name, "v1", lambda mark, span=span: _v1([{**translation.v1("cs@10 of web"), **span}], mark)
    for name, parts in _PROTOBUF_SPANS.items():
        yield name, "protobuf", lambda mark, parts=parts: _field(0x0A, b"".join(parts) + _tag(MARK, mark))


def _v2(spans: list[dict[str, Any]], mark: str) -> bytes:
    return json.dumps([{**span, "tags": {**(span.get("tags") or {}), MARK: mark}} for span in spans]).encode()


def _v1(spans: list[dict[str, Any]], mark: str) -> bytes:
    binary = {"key": MARK, "value": mark}
    return json.dumps(
        [{**span, "binaryAnnotations": [*span.get("binaryAnnotations", ()), binary]} for span in spans]
    ).encode()


_MORE: dict[str, list[dict[str, Any]]] = {
    "two spans of a service, one with a resource tag": [{"tags": {"k8s.pod.name": "a"}}, {"id": "2", "tags": {}}],
    "two spans of a service with different resource tags": [
        {"tags": {"k8s.pod.name": "a"}},
        {"id": "2", "tags": {"k8s.pod.name": "b"}},
    ],
    "two scopes of a service": [
        {"tags": {"otel.scope.name": "a"}},
        {"id": "2", "tags": {"otel.scope.name": "b"}},
        {"id": "3"},
    ],
    "a tag that is null": [{"tags": {"a": None}}],
    "ids of zeros": [{"traceId": "0" * 32}],
    "a kind that is none": [{"kind": "server"}],
    "a negative duration": [{"duration": -5}],
    "an address that is none": [{"localEndpoint": {"serviceName": "shop", "ipv4": "localhost"}}],
    "an annotation at time 0": [{"annotations": [{"timestamp": 0, "value": "ws"}]}],
    "an annotation with one bar": [{"annotations": [{"timestamp": 5, "value": "a|b"}]}],
    "a field of nobody's": [{"unheardOf": 1}],
    "an empty name": [{"name": ""}],
}
_MORE_V1: dict[str, dict[str, Any]] = {
    "`error=timeout of web`": {
        "binaryAnnotations": [{"key": "error", "value": "timeout", "endpoint": {"serviceName": "web"}}]
    },
    "`http.status_code=500 of web`": {
        "binaryAnnotations": [{"key": "http.status_code", "value": "500", "endpoint": {"serviceName": "web"}}]
    },
    "an address and a port of the service": {
        "annotations": [
            {"timestamp": 10, "value": "cs", "endpoint": {"serviceName": "web", "ipv4": "192.0.2.1", "port": 80}}
        ]
    },
    "`traceId` of 15 digits": {"traceId": "48485a3953bb612"},
    "`debug` and a name": {"debug": True, "name": "GET /Api"},
}


def _varint(value: int) -> bytes:
    digits = b""
    while value > 0x7F:
        digits += bytes([value & 0x7F | 0x80])
        value >>= 7
    return digits + bytes([value])


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _varint(len(content)) + content


def _tag(key: str, value: str) -> bytes:
    return _field(0x5A, _field(0x0A, key.encode()) + _field(0x12, value.encode()))


_IDS = (
    _field(0x0A, bytes.fromhex(translation.ZIPKIN["traceId"])),
    _field(0x1A, bytes.fromhex(translation.ZIPKIN["id"])),
)
_START = b"\x31" + (1_700_000_000_123_456).to_bytes(8, "little")
_PROTOBUF_SPANS: dict[str, tuple[bytes, ...]] = {
    "kind, name, times, endpoints, annotation, tag": (
        *_IDS,
        b"\x20\x02",
        _field(0x2A, b"GET /Api"),
        _START,
        b"\x38" + _varint(207),
        _field(0x42, _field(0x0A, b"Shop") + _field(0x12, bytes([192, 0, 2, 1])) + b"\x20" + _varint(80)),
        _field(0x4A, _field(0x0A, b"db") + _field(0x1A, bytes.fromhex("20010db8000000000000000000000001"))),
        _field(0x52, b"\x09" + (5).to_bytes(8, "little") + _field(0x12, b"ws")),
        _tag("a", "b"),
    ),
    "a parent": (*_IDS, _START, _field(0x12, bytes.fromhex("0020000000000001"))),
    "a trace id of 8 bytes": (_field(0x0A, bytes.fromhex("48485a3953bb6124")), _IDS[1], _START),
    "`debug` and `shared`": (*_IDS, _START, b"\x60\x01\x68\x01"),
    "no timestamp": _IDS,
    "a field that does not exist yet": (*_IDS, _START, _field(0x7A, b"later")),
}
