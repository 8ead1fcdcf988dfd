"""What there is to carry of a Zipkin span, row by row of docs/formats.md, and how to see what became of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any

from tests.fidelity.carried import AS_TEXT, CHANGED, KEPT, LOST, PADDED, Otlp, kind
from tests.peers.independent import fields

AS_ATTRIBUTE, AS_NUMBER, LOWER, JOINED = "as attribute", "as number", "in lower case", "joined"

Span = Mapping[str, Any]
_ENDPOINTS = {"localEndpoint": "net.host", "remoteEndpoint": "net.peer"}


@dataclass(frozen=True)
class ZipkinRow:
    """Something that a Zipkin span may hold.

    Attributes:
        name: as the table has it.
        read: gives it of the span as `json` reads it, or None where there is none.
        protobuf: says what became of it in protobuf, being given it and what `from_protobuf` gives.
        otlp: likewise in OTLP.
        json: what becomes of it in Zipkin's JSON.
    """

    name: str
    read: Callable[[Span], Any]
    protobuf: Callable[[Any, Span], str]
    otlp: Callable[[Any, Otlp], str]
    json: str = KEPT

    def outcome(self, source: Span, carried: Span | Otlp) -> str | None:
        """Say what became of it; None where *source* does not have it."""
        value = self.read(source)
        if value is None:
            return None
        return self.otlp(value, carried) if isinstance(carried, Otlp) else self.protobuf(value, carried)


def spelled(text: str | bytes) -> Any:
    """Read JSON so that only what says the same in the same spelling is equal: objects as pairs, numbers as text."""
    return json.loads(text, parse_int=_Number, parse_float=_Number, object_pairs_hook=_Pairs)


class _Number(str):
    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    __slots__ = ()


def without_own(span: Any) -> Any:
    """A span that `spelled` gave, without `tracead.*` in its tags, two `tags` joined, and ids in lower case."""
    tags = [pair for key, value in span if key == "tags" for pair in value if not pair[0].startswith("tracead.")]
    return [*((key, _lower(key, value)) for key, value in span if key != "tags"), ("tags", tags)]


def _lower(key: str, value: Any) -> Any:
    return value.lower() if key in ("traceId", "id", "parentId") and value else value


# --- protobuf ---------------------------------------------------------------------------------------------------------


def from_protobuf(body: bytes) -> Iterator[Span]:
    """Read a `ListOfSpans` field by field into objects of v2 JSON; source: openzipkin/zipkin-api, zipkin.proto."""
    for number, content, _ in fields(body):
        assert number == 1
        span: dict[str, Any] = {"tags": {}, "annotations": []}
        for field, inside, whole in fields(content):
            _read_field(span, field, inside, whole)
        yield span


def _read_field(span: dict[str, Any], field: int, inside: bytes, whole: bytes) -> None:
    kinds = ("", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
    match field:
        case 1 | 2 | 3:
            span[("traceId", "parentId", "id")[field - 1]] = inside.hex()
        case 4:
            span["kind"] = kinds[whole[-1]]
        case 5:
            span["name"] = inside.decode()
        case 6:
            span["timestamp"] = int.from_bytes(whole[1:], "little")
        case 7:
            span["duration"] = _varint(whole[1:])
        case 8 | 9:
            span["localEndpoint" if field == 8 else "remoteEndpoint"] = dict(_endpoint(inside))
        case 10:
            found = {number: (content, all_) for number, content, all_ in fields(inside)}
            time = int.from_bytes(found[1][1][1:], "little") if 1 in found else 0
            span["annotations"].append({"timestamp": time, "value": found[2][0].decode() if 2 in found else ""})
        case 11:
            pair = {number: content.decode() for number, content, _ in fields(inside)}
            span["tags"][pair.get(1, "")] = pair.get(2, "")
        case 12 | 13:
            span["debug" if field == 12 else "shared"] = bool(whole[-1])


def _endpoint(message: bytes) -> Iterator[tuple[str, Any]]:
    for number, content, whole in fields(message):
        match number:
            case 1:
                yield "serviceName", content.decode()
            case 2 | 3:
                yield f"ipv{4 if number == 2 else 6}", str(ip_address(content))
            case 4:
                yield "port", _varint(whole[1:])


def _varint(digits: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(digits))


# --- outcomes ---------------------------------------------------------------------------------------------------------


def _same(key: str, otherwise: str = CHANGED) -> Callable[[Any, Span], str]:
    return lambda value, span: KEPT if span.get(key) == value else otherwise


def _lost(key: str) -> Callable[[Any, Span], str]:
    return lambda _value, span: CHANGED if key in span else LOST


def _attributes(otlp: Otlp) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, kind(pair.value)) for pair in otlp.span.attributes}


def _gone(_value: Any, _carried: Span | Otlp) -> str:
    return LOST


def _ids(span: Span) -> tuple[str, str]:
    return span["traceId"], span["id"]


def _ids_of(span: Span, *, digits: int) -> tuple[str, str] | None:
    trace_id = span["traceId"]
    return _ids(span) if len(trace_id) == digits and trace_id == trace_id.lower() else None


def _short_ids(span: Span) -> tuple[str, str] | None:
    return _ids(span) if len(span["traceId"]) not in (16, 32) else None


def _upper_ids(span: Span) -> tuple[str, str] | None:
    return _ids(span) if span["traceId"] != span["traceId"].lower() else None


def _compare_ids(value: tuple[str, str], found: tuple[str, str]) -> str:
    (trace_id, span_id), (there, same) = value, found
    if span_id != same:
        return CHANGED
    if there == trace_id:
        return KEPT
    return PADDED if there.lstrip("0") == trace_id.lstrip("0") else LOWER if there == trace_id.lower() else CHANGED


def _ids_protobuf(value: tuple[str, str], span: Span) -> str:
    return _compare_ids(value, _ids(span))


def _ids_otlp(value: tuple[str, str], otlp: Otlp) -> str:
    return _compare_ids(value, (otlp.span.trace_id.hex(), otlp.span.span_id.hex()))


def _parent(span: Span, *, real: bool) -> str | None:
    if "parentId" not in span:
        return None
    parent = span["parentId"] or "0"
    return parent if bool(parent.strip("0") and parent != span["id"]) is real else None


def _time(key: str, span: Span) -> int | None:
    return span[key] if type(span.get(key)) is int and span[key] > 0 else None


def _odd_time(key: str, span: Span) -> int | None:
    return int(float(span[key])) if type(span.get(key)) in (str, float) else None


def _start(value: int, otlp: Otlp, *, outcome: str) -> str:
    return outcome if otlp.span.start_time_unix_nano == value * 1000 else CHANGED


def _took(value: int, otlp: Otlp, *, outcome: str) -> str:
    took = otlp.span.end_time_unix_nano - otlp.span.start_time_unix_nano
    return outcome if took == value * 1000 else CHANGED


def _absent(_value: Any, otlp: Otlp) -> str:
    marked = _attributes(otlp).get("otel.zipkin.absentField.startTime") is True
    return AS_ATTRIBUTE if marked and not otlp.span.start_time_unix_nano else CHANGED


def _each_endpoint(span: Span, read: Callable[[Span], Any]) -> dict[str, Any] | None:
    found = {key: read(span[key]) for key in _ENDPOINTS if span.get(key) and read(span[key])}
    return found or None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(endpoint: Span) -> tuple[str, str] | None:
    found = [(key, endpoint[key]) for key in ("ipv4", "ipv6") if key in endpoint]
    return found[-1] if found and _is_address(found[-1][1]) and "ffff" not in found[-1][1] else None


def _addresses_protobuf(value: Span, span: Span) -> str:
    return KEPT if all(span[end][key] == text for end, (key, text) in value.items()) else CHANGED


def _attributes_of(value: Mapping[str, Any], otlp: Otlp, *, name: str) -> str:
    found = _attributes(otlp)
    same = all(found.get(f"{_ENDPOINTS[end]}.{name}") == item for end, item in value.items())
    return AS_ATTRIBUTE if same else CHANGED


def _port(endpoint: Span) -> int:
    return int(endpoint.get("port") or 0)


def _only(endpoint: Span, key: str, *, when: Callable[[Span], bool]) -> str | None:
    return endpoint[key] if when(endpoint) else None


def _tags(span: Span, *, texts: bool) -> dict[str, Any] | None:
    found = {
        key: value
        for key, value in span["tags"].items()
        if not key.startswith("tracead.") and isinstance(value, str) is texts
    }
    return found or None


def _in_attributes(value: Mapping[str, str], otlp: Otlp) -> str:
    status = {"error": ""} if otlp.span.status.code else {}  # an empty `error` is the status ERROR
    return KEPT if value.items() <= {**_attributes(otlp), **status}.items() else CHANGED


def _annotations(span: Span, *, timed: bool) -> list[tuple[int, str]] | None:
    found = [(one["timestamp"], one["value"]) for one in span.get("annotations") or ()]
    return [pair for pair in found if bool(pair[0]) is timed] or None


def _events(otlp: Otlp, *, timed: bool) -> list[tuple[int, str]]:
    found = [(event.time_unix_nano // 1000, event.name) for event in otlp.span.events]
    return [pair for pair in found if bool(pair[0]) is timed]


def _unknown(span: Span) -> Any:
    known = {"serviceName", "ipv4", "ipv6", "port"}
    inside = [key for end in _ENDPOINTS for key in (span.get(end) or {}) if key not in known]
    return [key for key in span if key == "unheardOf"] + inside or None


def _flags(span: Span, *, on: bool) -> list[str] | None:
    return [flag for flag in ("shared", "debug") if flag in span and bool(span[flag]) is on] or None


ROWS = (
    ZipkinRow("`traceId` of 32 digits", partial(_ids_of, digits=32), _ids_protobuf, _ids_otlp),
    ZipkinRow("`traceId` of 16 digits", partial(_ids_of, digits=16), _ids_protobuf, _ids_otlp),
    ZipkinRow("ids of fewer digits", _short_ids, _ids_protobuf, _ids_otlp),
    ZipkinRow("ids in upper case", _upper_ids, _ids_protobuf, _ids_otlp, LOWER),
    ZipkinRow(
        "`parentId`",
        partial(_parent, real=True),
        _same("parentId"),
        lambda value, otlp: KEPT if otlp.span.parent_span_id.hex() == value else CHANGED,
    ),
    ZipkinRow(
        "`parentId` that is null, zeros or the span's own `id`",
        partial(_parent, real=False),
        _lost("parentId"),
        lambda _value, otlp: CHANGED if otlp.span.parent_span_id else LOST,
    ),
    ZipkinRow(
        "`kind`",
        lambda span: span.get("kind"),
        _same("kind"),
        lambda value, otlp: (
            KEPT if {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}[value] == otlp.span.kind else CHANGED
        ),
    ),
    ZipkinRow(
        "`name`",
        lambda span: span.get("name"),
        _same("name"),
        lambda value, otlp: KEPT if otlp.span.name == value else CHANGED,
    ),
    ZipkinRow("`timestamp`", partial(_time, "timestamp"), _same("timestamp"), partial(_start, outcome=KEPT)),
    ZipkinRow("`duration`", partial(_time, "duration"), _same("duration"), partial(_took, outcome=KEPT)),
    ZipkinRow(
        "`timestamp` that is text or has a point",
        partial(_odd_time, "timestamp"),
        lambda value, span: AS_NUMBER if span["timestamp"] == value else CHANGED,
        partial(_start, outcome=AS_NUMBER),
    ),
    ZipkinRow(
        "`duration` that is text or has a point",
        partial(_odd_time, "duration"),
        lambda value, span: AS_NUMBER if span["duration"] == value else CHANGED,
        partial(_took, outcome=AS_NUMBER),
    ),
    ZipkinRow(
        "`timestamp` that is null or 0",
        lambda span: True if "timestamp" in span and not span["timestamp"] else None,
        _lost("timestamp"),
        _absent,
    ),
    ZipkinRow(
        "`localEndpoint.serviceName`",
        lambda span: (span.get("localEndpoint") or {}).get("serviceName"),
        lambda value, span: KEPT if span["localEndpoint"]["serviceName"] == value else CHANGED,
        lambda value, otlp: (
            KEPT if [pair.value.string_value for pair in otlp.outer.resource.attributes] == [value] else CHANGED
        ),
    ),
    ZipkinRow(
        "`remoteEndpoint.serviceName`",
        lambda span: (span.get("remoteEndpoint") or {}).get("serviceName"),
        lambda value, span: KEPT if span["remoteEndpoint"]["serviceName"] == value else CHANGED,
        lambda value, otlp: AS_ATTRIBUTE if _attributes(otlp).get("peer.service") == value else CHANGED,
    ),
    ZipkinRow(
        "endpoints: `ipv4`, `ipv6`",
        partial(_each_endpoint, read=_address),
        _addresses_protobuf,
        lambda value, otlp: _attributes_of({end: text for end, (_, text) in value.items()}, otlp, name="ip"),
    ),
    ZipkinRow(
        "endpoints: `ipv4` beside `ipv6`",
        partial(
            _each_endpoint, read=partial(_only, key="ipv4", when=lambda endpoint: {"ipv4", "ipv6"} <= endpoint.keys())
        ),
        lambda value, span: KEPT if all(span[end]["ipv4"] == text for end, text in value.items()) else CHANGED,
        lambda value, otlp: CHANGED if set(value.values()) & set(map(str, _attributes(otlp).values())) else LOST,
    ),
    ZipkinRow(
        "endpoints: `ipv6` that embeds an IPv4 address",
        partial(
            _each_endpoint, read=partial(_only, key="ipv6", when=lambda endpoint: "ffff" in endpoint.get("ipv6", ""))
        ),
        lambda value, span: "as `ipv4`" if all(span[end]["ipv4"] in text for end, text in value.items()) else CHANGED,
        partial(_attributes_of, name="ip"),
    ),
    ZipkinRow(
        "endpoints: an address that is none",
        partial(
            _each_endpoint,
            read=partial(_only, key="ipv4", when=lambda endpoint: not _is_address(endpoint.get("ipv4", "::"))),
        ),
        lambda value, span: CHANGED if any("ipv4" in span[end] for end in value) else LOST,
        partial(_attributes_of, name="ip"),
    ),
    ZipkinRow(
        "endpoints: `port`",
        partial(_each_endpoint, read=_port),
        lambda value, span: KEPT if all(span[end]["port"] == port for end, port in value.items()) else CHANGED,
        partial(_attributes_of, name="port"),
    ),
    ZipkinRow(
        "`annotations`",
        partial(_annotations, timed=True),
        lambda value, span: KEPT if _annotations(span, timed=True) == value else CHANGED,
        lambda value, otlp: KEPT if _events(otlp, timed=True) == value else CHANGED,
    ),
    ZipkinRow(
        "`annotations` at time 0",
        partial(_annotations, timed=False),
        lambda value, span: KEPT if _annotations(span, timed=False) == value else CHANGED,
        lambda value, otlp: KEPT if _events(otlp, timed=False) == value else CHANGED,
    ),
    ZipkinRow(
        "`tags`",
        partial(_tags, texts=True),
        lambda value, span: KEPT if value.items() <= span["tags"].items() else CHANGED,
        _in_attributes,
    ),
    ZipkinRow(
        "`tags` that are numbers",
        partial(_tags, texts=False),
        lambda value, span: AS_TEXT if all(span["tags"][key] == str(item) for key, item in value.items()) else CHANGED,
        lambda value, otlp: (
            AS_TEXT if all(_attributes(otlp)[key] == str(item) for key, item in value.items()) else CHANGED
        ),
    ),
    ZipkinRow(
        "two `tags` in one span",
        lambda span: True if "again" in span["tags"] else None,
        lambda _value, span: JOINED if {"first", "again"} <= span["tags"].keys() else CHANGED,
        lambda _value, otlp: JOINED if {"first", "again"} <= _attributes(otlp).keys() else CHANGED,
        JOINED,
    ),
    ZipkinRow(
        "`shared`, `debug`",
        partial(_flags, on=True),
        lambda value, span: KEPT if all(span[flag] is True for flag in value) else CHANGED,
        lambda value, otlp: (
            AS_ATTRIBUTE if all(_attributes(otlp)[f"zipkin.{flag}"] is True for flag in value) else CHANGED
        ),
    ),
    ZipkinRow(
        "`shared`, `debug` that are false or null",
        partial(_flags, on=False),
        lambda value, span: CHANGED if set(value) & span.keys() else LOST,
        lambda value, otlp: CHANGED if {f"zipkin.{flag}" for flag in value} & _attributes(otlp).keys() else LOST,
    ),
    ZipkinRow("fields that Zipkin does not know", _unknown, _lost("unheardOf"), _gone),
)
