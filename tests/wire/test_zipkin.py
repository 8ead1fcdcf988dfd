"""Zipkin v2 JSON: the rows of the two translations, and objects that go out as they came in."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.attributes import append_attributes, encode_attribute
from otel_tracead.wire.batch import SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.values import text
from otel_tracead.wire.zipkin import decode_spans, encode_spans
from tests.wire import protobuf_strategies as some

IDS = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312"}
FULL = {
    **IDS,
    "parentId": "0020000000000001",
    "kind": "SERVER",
    "name": "GET /Api",
    "timestamp": 1472470996199000,
    "duration": 207000,
    "localEndpoint": {"serviceName": "Frontend", "ipv4": "192.168.99.1", "port": 3306},
    "remoteEndpoint": {"serviceName": "backend", "ipv6": "2001:db8::c001", "port": 80},
    "annotations": [{"timestamp": 1472470996238000, "value": "ws"}],
    "tags": {"http.path": "/api", "count": "12"},
    "debug": True,
    "shared": True,
    "unheardOf": {"a": [1, 2.5, "x", None]},
}


def _decode(**fields):
    batch = decode_spans(orjson.dumps([{**IDS, **fields}]), Envelopes())
    [(envelope, span)] = batch
    return envelope, Span.FromString(span)


def _attributes(span):
    return {pair.key: text(pair.value) for pair in span.attributes}


def _encode(resource=None, scope=b"", **fields):
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    for key, value in (resource or {}).items():
        resource_spans.resource.attributes.add(key=key).value.string_value = value
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.MergeFromString(scope)
    attributes = fields.pop("attributes", {})
    span = scope_spans.spans.add(**({"trace_id": b"\xab" * 16, "span_id": b"\xcd" * 8} | fields))
    for key, value in attributes.items():
        kind = {str: "string_value", int: "int_value", bool: "bool_value", float: "double_value"}[type(value)]
        setattr(span.attributes.add(key=key).value, kind, value)
    [written] = orjson.loads(encode_spans(otlp.decode_request(request.SerializeToString(), Envelopes())))
    return written


def test_a_full_span():
    envelope, span = _decode(**FULL)
    assert envelope.service == "Frontend"
    assert (span.trace_id.hex(), span.span_id.hex()) == (IDS["traceId"], IDS["id"])
    assert span.parent_span_id.hex() == "0020000000000001"
    assert (span.kind, span.name) == (Span.SPAN_KIND_SERVER, "GET /Api")
    assert span.start_time_unix_nano == 1472470996199000000
    assert span.end_time_unix_nano == 1472470996406000000
    assert (span.events[0].time_unix_nano, span.events[0].name) == (1472470996238000000, "ws")
    assert _attributes(span) == {
        "http.path": "/api",
        "count": "12",
        "net.host.ip": "192.168.99.1",
        "net.host.port": "3306",
        "peer.service": "backend",
        "net.peer.ip": "2001:db8::c001",
        "net.peer.port": "80",
        "zipkin.shared": "true",
        "zipkin.debug": "true",
    }
    assert {pair.key: pair.value.WhichOneof("value") for pair in span.attributes}["count"] == "string_value"


@pytest.mark.parametrize(
    ("kind", "number"), [("CLIENT", 3), ("SERVER", 2), ("PRODUCER", 4), ("CONSUMER", 5), (None, 0)]
)
def test_kinds(kind, number):
    assert _decode(kind=kind)[1].kind == number
    assert _encode(kind=number).get("kind") == kind


def test_internal_kind_is_a_tag():
    assert _encode(kind=1)["tags"] == {"span.kind": "internal"}
    span = _decode(tags={"span.kind": "internal"})[1]
    assert (span.kind, len(span.attributes)) == (1, 1)  # the absent start
    assert _decode(tags={"span.kind": "other"})[1].kind == 0


@pytest.mark.parametrize(
    ("trace_id", "expected"),
    [
        ("48485a3953bb6124", "000000000000000048485a3953bb6124"),
        ("1", "00000000000000000000000000000001"),
        ("463AC35C9F6413AD48485A3953BB6124", "463ac35c9f6413ad48485a3953bb6124"),
        ("3ac35c9f6413ad48485a3953bb6124", "003ac35c9f6413ad48485a3953bb6124"),
    ],
)
def test_trace_ids_are_normalised(trace_id, expected):
    batch = decode_spans(orjson.dumps([{"traceId": trace_id, "id": "1"}]), Envelopes())
    [(_, encoded)] = batch
    assert Span.FromString(encoded).trace_id.hex() == expected
    assert orjson.loads(encode_spans(batch)) == [{"traceId": trace_id.lower(), "id": "1"}]


def test_parents():
    assert _decode(parentId=IDS["id"])[1].parent_span_id == b""
    assert _decode(parentId="0")[1].parent_span_id == b""
    assert _decode(parentId=None)[1].parent_span_id == b""
    assert _decode(parentId="2")[1].parent_span_id == b"\0" * 7 + b"\2"


def test_shared_halves_keep_their_ids():
    halves = [{**IDS, "kind": "CLIENT"}, {**IDS, "kind": "SERVER", "shared": True}]
    batch = decode_spans(orjson.dumps(halves), Envelopes())
    assert len({Span.FromString(span).span_id for _, span in batch}) == 1
    assert [_attributes(Span.FromString(span)).get("zipkin.shared") for _, span in batch] == [None, "true"]
    assert (
        _encode(attributes={"zipkin.shared": True, "zipkin.debug": True}).items()
        >= {
            "shared": True,
            "debug": True,
        }.items()
    )


@pytest.mark.parametrize(
    ("tags", "code", "message", "rest"),
    [
        ({}, 0, "", {}),
        ({"error": ""}, 2, "", {}),
        ({"error": "true"}, 2, "", {}),
        ({"error": "timeout"}, 2, "timeout", {}),
        ({"error": "false"}, 0, "", {"error": "false"}),
        ({"otel.status_code": "OK"}, 1, "", {}),
        ({"otel.status_code": "ERROR", "error": "bad"}, 2, "bad", {}),
        ({"otel.status_code": "STATUS_CODE_ERROR", "error": "true", "otel.status_description": "d"}, 2, "d", {}),
        ({"otel.status_code": "odd"}, 0, "", {"otel.status_code": "odd"}),
    ],
)
def test_status_is_read_in_every_form(tags, code, message, rest):
    span = _decode(tags=tags, timestamp=1)[1]
    assert (span.status.code, span.status.message, _attributes(span)) == (code, message, rest)


@pytest.mark.parametrize(
    ("code", "message", "attributes", "tags"),
    [
        (0, "", {"a": "b"}, {"a": "b"}),
        (0, "ignored", {"error": False}, None),
        (0, "", {"error": "oh"}, {"error": "oh"}),
        (1, "ignored", {}, {"otel.status_code": "OK"}),
        (1, "", {"error": "false"}, {"otel.status_code": "OK"}),
        (2, "", {}, {"otel.status_code": "ERROR", "error": ""}),
        (2, "bad", {"error": "x"}, {"otel.status_code": "ERROR", "error": "bad"}),
        (2, "", {"error": "false"}, {"otel.status_code": "ERROR", "error": ""}),
    ],
)
def test_status_is_written_as_the_specification_says(code, message, attributes, tags):
    assert _encode(status={"code": code, "message": message}, attributes=attributes).get("tags") == tags


@pytest.mark.parametrize(
    ("start", "end", "timestamp", "duration"),
    [
        (1_000_999, 2_001_998, 1000, 1000),
        (1000, 1001, 1, 1),
        (1, 2, 1, 1),
        (5000, 5000, 5, None),
        (5000, 4000, 5, None),
        (0, 5000, None, None),
    ],
)
def test_times_are_whole_microseconds_and_at_least_one(start, end, timestamp, duration):
    written = _encode(start_time_unix_nano=start, end_time_unix_nano=end)
    assert (written.get("timestamp"), written.get("duration")) == (timestamp, duration)


def test_an_absent_timestamp_comes_back_absent():
    envelope, span = _decode(duration=7)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (0, 7000)
    assert _attributes(span) == {"otel.zipkin.absentField.startTime": "true"}
    [written] = orjson.loads(encode_spans(SpanBatch([(envelope, [span.SerializeToString()])])))
    assert written == {**IDS, "duration": 7, "localEndpoint": {"serviceName": "unknown_service"}}
    assert _decode(timestamp=-1, duration=-5)[1].end_time_unix_nano == 0


@pytest.mark.parametrize(
    ("value", "name", "attributes", "dropped"),
    [
        ("ws", "ws", {}, 0),
        ("a|b", "a|b", {}, 0),
        ('e|{"k":"v","n":1}|2', "e", {"k": "v", "n": "1"}, 2),
        ("e|{broken}|2", "e|{broken}|2", {}, 0),
        ("e|{}|99999999999", "e|{}|99999999999", {}, 0),
        ('"e": {"k": [1, true]}', "e", {"k": "[1,true]"}, 0),
        ('"e": {"k": 1, "otel.dropped_attributes_count": 3}', "e", {"k": "1"}, 3),
        (r'"\x": {}', r'"\x": {}', {}, 0),
        ('"e": {"k": ' + "[" * 500 + "]" * 500 + "}", '"e": {"k": ' + "[" * 500 + "]" * 500 + "}", {}, 0),
    ],
)
def test_annotations_become_events(value, name, attributes, dropped):
    [event] = _decode(annotations=[{"timestamp": 3, "value": value}])[1].events
    assert (event.time_unix_nano, event.name, event.dropped_attributes_count) == (3000, name, dropped)
    assert _attributes(event) == attributes


def test_events_become_annotations():
    event = Span.Event(name='say "hi"', time_unix_nano=5999)
    event.attributes.add(key="k").value.int_value = 1
    written = _encode(events=[Span.Event(name="plain", time_unix_nano=1000), event])
    assert written["annotations"] == [
        {"timestamp": 1, "value": "plain"},
        {"timestamp": 5, "value": '"say \\"hi\\"": {"k":1}'},
    ]
    assert _decode(annotations=written["annotations"])[1].events[1].name == 'say "hi"'


def test_links_there_and_back():
    link = Span.Link(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, trace_state="a=b", dropped_attributes_count=2)
    link.attributes.add(key="k").value.string_value = "x|y"
    written = _encode(links=[link], start_time_unix_nano=1000)
    assert written["tags"] == {"otlp.link.0": f'{"01" * 16}|{"02" * 8}|a=b|{{"k":"x|y"}}|2'}
    assert list(_decode(**written)[1].links) == [link]
    for odd in ("", "a|b|c|{}|0", "||||", "01|02||[]|0", "01|02||{}|x"):
        span = _decode(tags={"otlp.link.0": odd}, timestamp=1)[1]
        assert not span.links
        assert _attributes(span) == {"otlp.link.0": odd}


def test_scope_state_and_dropped_counts_there_and_back():
    scope = ScopeSpans(scope={"name": "lib", "version": "2"})
    written = _encode(
        scope=scope.SerializeToString(),
        start_time_unix_nano=1000,
        trace_state="a=b",
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
    )
    assert written["tags"] == {
        "otel.scope.name": "lib",
        "otel.scope.version": "2",
        "w3c.tracestate": "a=b",
        "otel.dropped_attributes_count": "1",
        "otel.dropped_events_count": "2",
        "otel.dropped_links_count": "3",
    }
    envelope, span = _decode(**written)
    assert envelope.scope == scope.SerializeToString()
    assert (span.trace_state, span.dropped_attributes_count, len(span.attributes)) == ("a=b", 1, 0)
    assert (span.dropped_events_count, span.dropped_links_count) == (2, 3)
    older = _decode(tags={"otel.library.name": "lib", "otel.library.version": "2"})[0]
    assert older.scope == scope.SerializeToString()


def test_resource_attributes_are_tags_and_come_back_as_resource():
    written = _encode(resource={"service.name": "a", "k8s.pod.name": "a-1", "own": "x"}, attributes={"own": "y"})
    assert written["localEndpoint"] == {"serviceName": "a"}
    assert written["tags"] == {"k8s.pod.name": "a-1", "own": "y"}
    envelope, span = _decode(**written)
    assert (envelope.service, envelope.instance, _attributes(span)["own"]) == ("a", "a-1", "y")


def test_service_names_from_other_places():
    written = _encode(resource={"faas.name": "f"})
    assert written["localEndpoint"] == {"serviceName": "f"}
    assert written["tags"] == {"otlp.service.name.source": "faas.name"}
    assert _decode(**written)[0].attributes == {"faas.name": "f"}
    assert _encode()["localEndpoint"] == {"serviceName": "unknown_service"}
    assert _decode(localEndpoint={"serviceName": "OTLPResourceNoServiceName"})[0].attributes == {}
    batch = SpanBatch([(Envelopes().intern(b"", b""), [Span(span_id=b"1", trace_id=b"2").SerializeToString()])])
    assert orjson.loads(encode_spans(batch, "<missing>"))[0]["localEndpoint"] == {"serviceName": "<missing>"}


@pytest.mark.parametrize(
    ("kind", "attributes", "remote"),
    [
        (3, {"peer.service": "p", "server.address": "s"}, {"serviceName": "p"}),
        (3, {"server.address": "s", "db.name": "d"}, {"serviceName": "s"}),
        (4, {"net.peer.name": "n"}, {"serviceName": "n"}),
        (3, {"network.peer.address": "10.0.0.1", "network.peer.port": 80}, {"ipv4": "10.0.0.1", "port": 80}),
        (3, {"net.sock.peer.addr": "::1"}, {"ipv6": "::1"}),
        (3, {"network.peer.address": "/tmp/socket"}, {"serviceName": "/tmp/socket"}),
        (3, {"db.name": "d"}, {"serviceName": "d"}),
        (3, {"server.address": "s", "network.peer.port": 99999}, {"serviceName": "s"}),
        (2, {"server.address": "itself"}, None),
        (2, {"net.peer.ip": "10.0.0.1", "net.peer.port": 80}, {"ipv4": "10.0.0.1", "port": 80}),
        (2, {}, None),
    ],
)
def test_remote_endpoint_by_rank(kind, attributes, remote):
    assert _encode(kind=kind, attributes=attributes).get("remoteEndpoint") == remote


def test_values_are_strings():
    tags = _encode(attributes={"b": True, "i": 5, "d": 0.5})["tags"]
    assert tags == {"b": "true", "i": "5", "d": "0.5"}


def test_ids_that_zipkin_does_not_take():
    written = _encode(trace_id=b"", span_id=bytes(8), parent_span_id=bytes(8), name="x")
    assert len(written["traceId"]) == 32
    assert int(written["id"], 16)
    assert "parentId" not in written
    assert _encode(trace_id=bytes(8) + b"\xab" * 8)["traceId"] == "ab" * 8
    assert _encode(trace_id=b"\xab", span_id=b"\x01")["traceId"] == "00000000000000ab"
    assert _encode(span_id=b"x" + b"\xab" * 8)["id"] == "ab" * 8


def test_an_object_goes_out_as_it_came_in_with_our_tags():
    for span in (FULL, IDS, {**IDS, "tags": None}, {**IDS, "tags": {"tracead.anomaly.level": "low", "a": "b"}}):
        batch = decode_spans(orjson.dumps([span]), Envelopes())
        assert orjson.loads(encode_spans(batch)) == [span]
        [(envelope, spans)] = batch.groups
        own = encode_attribute("tracead.anomaly.detected", True) + encode_attribute("tracead.anomaly.level", "high")
        own += encode_attribute("tracead.anomaly.score", 2.5) + encode_attribute("tracead.trace.missing", ["a", "b"])
        annotated = SpanBatch([(envelope, [append_attributes(spans[0], own)])])
        tags = {
            "tracead.anomaly.detected": "true",
            "tracead.anomaly.level": "high",
            "tracead.anomaly.score": "2.5",
            "tracead.trace.missing": '["a","b"]',
        }
        assert orjson.loads(encode_spans(annotated)) == [{**span, "tags": {**(span.get("tags") or {}), **tags}}]


hexadecimal = st.text("0123456789abcdef", min_size=1, max_size=16).filter(lambda digits: digits.strip("0"))
endpoints = st.fixed_dictionaries(
    {}, optional={"serviceName": some.text, "ipv4": st.just("10.0.0.1"), "port": st.integers(0, 65535)}
)
zipkin_spans = st.fixed_dictionaries(
    {"traceId": hexadecimal, "id": hexadecimal},
    optional={
        "parentId": hexadecimal | st.none(),
        "name": some.text,
        "kind": st.sampled_from(["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]),
        "timestamp": st.integers(0, 2**50),
        "duration": st.integers(0, 2**50),
        "localEndpoint": endpoints,
        "remoteEndpoint": endpoints,
        "annotations": st.lists(
            st.fixed_dictionaries({"timestamp": st.integers(0, 2**50), "value": some.text}), max_size=2
        ),
        "tags": st.dictionaries(
            some.text | st.sampled_from(["error", "otlp.link.0", "otel.status_code", "host.name"]),
            some.text,
            max_size=4,
        ),
        "shared": st.booleans(),
        "extra": st.integers(0, 2**64 - 1) | some.text | st.lists(st.floats(allow_nan=False, allow_infinity=False)),
    },
)


@given(st.lists(zipkin_spans, max_size=4))
def test_any_object_goes_out_as_it_came_in_and_its_translation_is_valid(spans):
    batch = decode_spans(orjson.dumps(spans), Envelopes())
    by_id = sorted(orjson.dumps(span) for span in spans)
    assert sorted(orjson.dumps(span) for span in orjson.loads(encode_spans(batch))) == by_id
    assert len(otlp.decode_request(otlp.encode_request(batch), Envelopes())) == len(spans)
    plain = SpanBatch([(envelope, [bytes(span) for span in group]) for envelope, group in batch.groups])
    again = decode_spans(encode_spans(plain), Envelopes())
    ids = sorted((Span.FromString(span).trace_id, Span.FromString(span).span_id) for _, span in batch)
    assert sorted((Span.FromString(span).trace_id, Span.FromString(span).span_id) for _, span in again) == ids


@given(some.requests)
@settings(max_examples=30)
def test_any_otlp_becomes_json_that_zipkin_would_take(request_):
    batch = otlp.decode_request(request_.SerializeToString(), Envelopes())
    again = decode_spans(encode_spans(batch), Envelopes())
    assert len(again) == len(batch)
    assert all(isinstance(span, TranslatedSpan) for _, span in again)


@given(st.data())
def test_odd_json_raises_invalid_request_only(data):
    keys = st.sampled_from(
        [
            "traceId",
            "id",
            "parentId",
            "kind",
            "name",
            "timestamp",
            "duration",
            "localEndpoint",
            "remoteEndpoint",
            "annotations",
            "tags",
            "debug",
            "shared",
            "serviceName",
            "ipv4",
            "port",
            "value",
            "binaryAnnotations",
            "endpoint",
        ]
    )
    odd = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | some.text | st.just("1")
    values = st.recursive(
        odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
    )
    span = {**IDS, **data.draw(st.dictionaries(keys, values, max_size=4))}
    body = orjson.dumps(data.draw(values | st.just([span])))
    try:
        batch = decode_spans(body, Envelopes())
    except InvalidRequest:
        return
    otlp.decode_request(otlp.encode_request(batch), Envelopes())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"traceId": None}, r"\[1\].traceId: missing"),
        ({"traceId": ""}, r"\[1\].traceId: expected 1 to 32 hexadecimal digits, not ''"),
        ({"traceId": "0" * 32}, r"\[1\].traceId: is all zeros"),
        ({"traceId": "a" * 33}, r"\[1\].traceId: expected 1 to 32"),
        ({"traceId": 5}, r"\[1\].traceId: expected 1 to 32"),
        ({"id": "x"}, r"\[1\].id: expected 1 to 16"),
        ({"id": "a" * 17}, r"\[1\].id: expected 1 to 16"),
        ({"parentId": "-1"}, r"\[1\].parentId: "),
        ({"kind": "server"}, r"\[1\].kind: expected one of SERVER"),
        ({"name": 3}, r"\[1\].name: expected a string, not 3"),
        ({"timestamp": "now"}, r"\[1\].timestamp: expected an integer"),
        ({"timestamp": 1661140339213560192}, r"\[1\].timestamp: .* out of range"),
        ({"duration": 1.5}, r"\[1\].duration: expected an integer"),
        ({"tags": []}, r"\[1\].tags: expected an object"),
        ({"tags": {"a": None}}, r"\[1\].tags.a: expected a string, not null"),
        ({"tags": {"a": True}}, r"\[1\].tags.a: expected a string"),
        ({"localEndpoint": "x"}, r"\[1\].localEndpoint: expected an object"),
        ({"remoteEndpoint": {"port": 65536}}, r"\[1\].remoteEndpoint.port: 65536 is out of range"),
        ({"localEndpoint": {"serviceName": 1}}, r"\[1\].localEndpoint.serviceName: expected a string"),
        ({"annotations": {}}, r"\[1\].annotations: expected a list"),
        ({"annotations": [{"timestamp": 1}]}, r"\[1\].annotations\[0\].value: missing"),
        ({"annotations": [{"value": "a"}]}, r"\[1\].annotations\[0\].timestamp: missing"),
        ({"annotations": [{"value": 1, "timestamp": 1}]}, r"\[1\].annotations\[0\].value: expected a string"),
        ({"annotations": [3]}, r"\[1\].annotations\[0\]: expected an object"),
        ({"debug": "true"}, r"\[1\].debug: expected a boolean"),
        ({"binaryAnnotations": []}, r"\[1\]: Expected a JSON_V2 encoded list, but received: JSON_V1"),
        ({"annotations": [{"endpoint": {}}]}, r"JSON_V1"),
    ],
)
def test_broken_spans_are_refused_with_index_and_key(fields, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_spans(orjson.dumps([IDS, {**IDS, **fields}]), Envelopes())


@pytest.mark.parametrize(("body", "message"), [(b"", "JSON"), (b"{}", "list"), (b"[3]", r"\[0\]: expected an object")])
def test_broken_bodies_are_refused(body, message):
    with pytest.raises(InvalidRequest, match=message):
        decode_spans(body, Envelopes())


def test_numbers_that_zipkin_takes():
    envelope, span = _decode(timestamp="5", duration=2.0, tags={"n": 3}, name=None)
    assert (span.start_time_unix_nano, span.end_time_unix_nano, _attributes(span)) == (5000, 7000, {"n": "3"})
    assert envelope.attributes == {}
    assert len(decode_spans(b"[]", Envelopes())) == 0
