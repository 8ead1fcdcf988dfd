"""One parsed Zipkin v1 span to the v2 spans that it is: v1 wrote client and server of a call into one.

In v1 every annotation names its endpoint, and times of a call are annotations: `cs` `cr` client sent and received,
`sr` `ss` the server, `ms` `mr` messages, `ws` `wr` the wire; `ca` `sa` `ma` are addresses of the other side.
Sources: openzipkin/zipkin, zipkin2/internal/V1JsonSpanReader.java and zipkin2/v1/V1SpanConverter.java, whose rules are
followed to the letter; the OpenTelemetry specification names them as its reference (trace/sdk_exporters/zipkin.md).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from otel_tracead.wire._json_reader import Broken, describe, elements, text
from otel_tracead.wire._zipkin_reader import END_OF_TIME, at, identifier, number, optional, timed_text

_Object = dict[str, Any]
_ReadT = TypeVar("_ReadT")
_KINDS: Final = {
    "cs": "CLIENT",
    "cr": "CLIENT",
    "sr": "SERVER",
    "ss": "SERVER",
    "ms": "PRODUCER",
    "mr": "CONSUMER",
    "ws": None,
    "wr": None,
}
_ADDRESSES: Final = ("ca", "sa", "ma")
_V2_KEYS: Final = frozenset({"localEndpoint", "remoteEndpoint", "tags"})
_ID_DIGITS: Final = 32  # what v1 reads of any id; of span ids the lower half counts


@dataclass(frozen=True, slots=True)
class _Event:
    """An annotation: microseconds, text, and whose it is."""

    timestamp: int
    value: str
    endpoint: _Object | None


@dataclass(slots=True)
class _Part:
    """A v2 span in the making."""

    local: _Object | None = None
    kind: str | None = None
    timestamp: int = 0
    duration: int = 0
    remote: _Object | None = None
    shared: bool = False
    annotations: list[tuple[int, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def convert(span: object) -> list[_Object]:
    """Give the v2 spans that a v1 span stands for, at least one.

    Raises:
        Broken: Zipkin would refuse it; with its path.
    """
    if type(span) is not dict:
        raise Broken(f"expected an object, not {describe(span)}")
    if not _V2_KEYS.isdisjoint(span):
        raise Broken("Expected a JSON_V1 encoded list, but received: JSON_V2; post it to /api/v2/spans")
    shared = _shared_fields(span)
    parts = _Conversion(span).parts
    return [{**shared, **_fields(part)} for part in parts]


def _shared_fields(span: _Object) -> _Object:
    low = -_ID_DIGITS // 2
    trace_id = identifier(span, "traceId", _ID_DIGITS)[0].hex()
    if len(span["traceId"]) != _ID_DIGITS or not trace_id[:low].strip("0"):
        trace_id = trace_id[low:]
    span_id = identifier(span, "id", _ID_DIGITS)[0].hex()[low:]
    for key, digits in (("traceId", trace_id[low:]), ("id", span_id)):
        if not digits.strip("0"):
            raise at(key, "is all zeros")
    result: _Object = {"traceId": trace_id, "id": span_id}
    if span.get("parentId") is not None:
        parent_id = identifier(span, "parentId", _ID_DIGITS, zero=True)[0].hex()[low:]
        if parent_id.strip("0") and parent_id != span_id:
            result["parentId"] = parent_id
    name = optional(span, "name", str)
    if name:
        result["name"] = name
    if optional(span, "debug", bool):
        result["debug"] = True
    return result


def _fields(part: _Part) -> _Object:
    result: _Object = {
        "kind": part.kind,
        "timestamp": part.timestamp,
        "duration": max(0, part.duration),
        "localEndpoint": part.local,
        "remoteEndpoint": part.remote,
        "annotations": [{"timestamp": time, "value": value} for time, value in sorted(set(part.annotations))],
        "tags": part.tags,
        "shared": part.shared and part.kind != "CLIENT",
    }
    return {key: value for key, value in result.items() if value}


class _Conversion:
    """The conversion of one span.

    Attributes:
        parts: what it gave.
    """

    def __init__(self, span: _Object) -> None:
        self._timestamp = number(span, "timestamp", END_OF_TIME)
        self._duration = number(span, "duration", END_OF_TIME)
        self.parts = [_Part()]
        self._core: dict[str, _Event] = {}
        events = _each(span, "annotations", _event)
        self._annotations(sorted(events, key=lambda event: (event.timestamp, event.value)))
        self._calls()
        self._messages()
        binary = (pair for pair in _each(span, "binaryAnnotations", _binary) if pair is not None)
        self._binary_annotations(sorted(binary, key=lambda pair: pair[0]))

    def _part(self, endpoint: _Object | None) -> _Part:
        """Give the part of the service of *endpoint*; what names none belongs to the first."""
        if endpoint is None:
            return self.parts[0]
        for part in self.parts:
            if part.local is None:
                part.local = endpoint
            if _service(part.local) == _service(endpoint):
                return part
        return self._new_part(endpoint)

    def _new_part(self, endpoint: _Object) -> _Part:
        part = _Part(endpoint)
        self.parts.append(part)
        return part

    def _annotations(self, events: Iterable[_Event]) -> None:
        for event in events:
            part = self._part(event.endpoint)
            if event.endpoint is not None and event.value in _KINDS:
                part.kind = _KINDS[event.value] or part.kind
                self._core[event.value] = event
            else:
                part.annotations.append((event.timestamp, event.value))

    def _calls(self) -> None:
        for start, end in (("cs", "cr"), ("sr", "ss")):  # events of a bridge may lack their start
            ended = self._core.get(end)
            timed = self._timestamp and self._duration
            if start not in self._core and ended and timed and self._timestamp + self._duration == ended.timestamp:
                self._core[start] = _Event(self._timestamp, start, ended.endpoint)
        cs, cr, sr, ss = (self._core.get(value) for value in ("cs", "cr", "sr", "ss"))
        if cs and sr:
            self._times(cs, cr)
            client, server = self._halves(cs, sr, "CLIENT", "SERVER")
            server.shared, server.timestamp = True, sr.timestamp
            if ss:
                server.duration = ss.timestamp - sr.timestamp
            if not cr and not self._duration:
                client.duration = 0
        elif cs and cr:
            self._times(cs, cr)
        elif sr and ss:
            self._times(sr, ss)
        else:
            self._incomplete_call()
        # v1 had no flag `shared`: a server's span without a time of its own was the client's.
        if not cs and sr and (not self._timestamp or (ss and not self._duration)):
            self._part(sr.endpoint).shared = True

    def _incomplete_call(self) -> None:
        for part in self.parts:
            for kind, start, end in (("CLIENT", "cs", "cr"), ("SERVER", "sr", "ss")):
                if part.kind == kind:
                    if begun := self._core.get(start):
                        part.timestamp = begun.timestamp
                    if ended := self._core.get(end):
                        part.annotations.append((ended.timestamp, end))
        if self._timestamp:
            self.parts[0].timestamp, self.parts[0].duration = self._timestamp, self._duration

    def _messages(self) -> None:
        ms, mr, ws, wr = (self._core.get(value) for value in ("ms", "mr", "ws", "wr"))
        if ms and mr:
            producer, consumer = self._halves(ms, mr, "PRODUCER", "CONSUMER")
            consumer.shared, consumer.timestamp = True, (wr or mr).timestamp
            if wr:
                consumer.duration = mr.timestamp - wr.timestamp
            producer.timestamp, producer.duration = ms.timestamp, ws.timestamp - ms.timestamp if ws else 0
        elif ms:
            self._times(ms, ws)
        elif mr:
            self._times(wr or mr, mr if wr else None)
        else:
            for event in (ws, wr):
                if event:
                    self._part(event.endpoint).annotations.append((event.timestamp, event.value))

    def _halves(self, first: _Event, second: _Event, kind: str, other: str) -> tuple[_Part, _Part]:
        """Give the two sides; a service that calls itself gets a part for each."""
        left = self._part(first.endpoint)
        if second.endpoint is None or _service(first.endpoint) != _service(second.endpoint):
            return left, self._part(second.endpoint)
        left.kind = kind
        right = self._new_part(second.endpoint)
        right.kind = other
        return left, right

    def _times(self, begin: _Event, end: _Event | None) -> None:
        part = self._part(begin.endpoint)
        if self._timestamp and self._duration:
            part.timestamp, part.duration = self._timestamp, self._duration
        else:
            part.timestamp = begin.timestamp
            if end:
                part.duration = end.timestamp - begin.timestamp

    def _binary_annotations(self, pairs: Iterable[tuple[str, str, _Object | None]]) -> None:
        addresses: dict[str, _Object | None] = {}
        for key, value, endpoint in pairs:
            if key in _ADDRESSES:
                addresses[key] = endpoint
                continue
            part = self._part(endpoint)
            if key != "lc" or value:  # an empty one only says whose span it is
                part.tags[key] = value
        client, server, broker = (addresses.get(key) for key in _ADDRESSES)
        cs, cr, sr, ss, ms, mr = (self._core.get(value) for value in ("cs", "cr", "sr", "ss", "ms", "mr"))
        if not (cs or cr or sr or ss) and (client or server):
            self._addresses_alone(client, server)
            return
        served = sr or ss
        if client and served and _in_lower_case(client) != _in_lower_case(served.endpoint):
            if _service(client) == _service(served.endpoint):  # Finagle's: the caller's port under the callee's name
                client = {key: value for key, value in client.items() if key != "serviceName"}
            self._part(served.endpoint).remote = client
        called = cs or cr
        if server and called:
            self._part(called.endpoint).remote = server
        for message in (ms, mr):
            if broker and message:
                self._part(message.endpoint).remote = broker

    def _addresses_alone(self, client: _Object | None, server: _Object | None) -> None:
        if client and server:
            self._part(client).remote = server
        elif server:
            self.parts[0].remote = server
        else:
            self.parts[0].kind, self.parts[0].remote = "SERVER", client


def _service(endpoint: _Object | None) -> str:
    name: str = (endpoint or {}).get("serviceName", "")
    return name.lower()


def _in_lower_case(endpoint: _Object | None) -> _Object:
    return {**(endpoint or {}), "serviceName": _service(endpoint)}


def _each(span: _Object, key: str, read: Callable[[Any], _ReadT]) -> list[_ReadT]:
    if span.get(key) is None:
        return []
    found = []
    try:
        for index, item in enumerate(elements(span[key])):
            try:
                found.append(read(item))
            except Broken as broken:
                broken.path.append(index)
                raise
    except Broken as broken:
        broken.path.append(key)
        raise
    return found


def _event(annotation: Any) -> _Event:
    microseconds, value = timed_text(annotation)
    return _Event(microseconds, value, _endpoint(annotation))


def _binary(annotation: Any) -> tuple[str, str, _Object | None] | None:
    """Give (key, value, endpoint); None of what is neither a tag nor an address."""
    if type(annotation) is not dict:
        raise Broken(f"expected an object, not {describe(annotation)}")
    if annotation.get("key") is None:
        raise at("key", "missing")
    try:
        key = text(annotation["key"])
    except Broken as broken:
        broken.path.append("key")
        raise
    value, endpoint = annotation.get("value"), _endpoint(annotation)
    if type(value) is str:
        return key, value, endpoint
    return (key, "", endpoint) if value is True and endpoint is not None and key in _ADDRESSES else None


def _endpoint(annotation: _Object) -> _Object | None:
    """Read an endpoint; one that says nothing is none."""
    value = optional(annotation, "endpoint", dict)
    if not value:
        return None
    try:
        found = {key: optional(value, key, str) for key in ("serviceName", "ipv4", "ipv6")}
        found["port"] = number(value, "port", 1 << 16)
    except Broken as broken:
        broken.path.append("endpoint")
        raise
    return {key: item for key, item in found.items() if item} or None
