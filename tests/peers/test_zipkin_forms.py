"""What a real Zipkin makes of every form of its spans, sent to it at once, and by way of what we make of them."""

import http.client
import json
import random
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.zipkin import decode_protobuf, decode_spans, decode_v1_spans, encode_protobuf, encode_spans
from tests.faults.processes import until
from tests.fidelity import nasty_spans, pairwise
from tools.peers.zipkin import Zipkin

Spans = list[dict[str, Any]]
_JSON, _PROTOBUF = "application/json", "application/x-protobuf"
_ENDPOINTS = (
    None,
    {"serviceName": "web", "ipv4": "10.0.0.1", "port": 80},
    {"serviceName": "Web", "ipv6": "2001:db8::1"},
    {"serviceName": "shop", "ipv4": "10.0.0.2"},
    {"serviceName": "", "port": 9},
    {},
)


def _post(zipkin: Zipkin, path: str, body: bytes, content_type: str = _JSON) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(zipkin.url).netloc, timeout=30)
    try:
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _stored(zipkin: Zipkin, ids: Iterable[str]) -> dict[str, list[str]]:
    """What Zipkin keeps of the traces with *ids*, under the last eight digits of each; it stores after it has answered."""
    wanted = sorted(ids)
    until(lambda: len(_kept(zipkin, wanted)) == len(wanted))
    return _kept(zipkin, wanted)


def _kept(zipkin: Zipkin, ids: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for together in _chunks(ids, 50):
        asked = ",".join((*together, "f" * 16))  # of one alone it takes no question
        with urllib.request.urlopen(f"{zipkin.url}/api/v2/traceMany?traceIds={asked}", timeout=60) as answer:
            for trace in json.load(answer):
                spans = [{**span, "traceId": span["traceId"][-8:]} for span in trace]
                found[trace[0]["traceId"][-8:]] = sorted(json.dumps(span, sort_keys=True) for span in spans)
    return found


def _chunks(items: list[str], size: int) -> Iterable[list[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _under(spans: Spans, prefix: str) -> Spans:
    """The same spans under trace ids of their own: the tests share one Zipkin."""
    return [{**span, "traceId": f"{prefix}{span['traceId'][-8:]}"} for span in spans]


def _assert_the_same(
    zipkin: Zipkin, spans: Spans, prefix: str, path: str, decode: Callable[[bytes, Envelopes], SpanBatch]
) -> None:
    at_once, by_way, by_protobuf = (_under(spans, f"{prefix}{number:04}") for number in range(3))
    assert _post(zipkin, path, json.dumps(at_once).encode())[0] == 202
    batch = decode(json.dumps(by_way).encode(), Envelopes())
    assert _post(zipkin, "/api/v2/spans", encode_spans(batch))[0] == 202
    batch = decode(json.dumps(by_protobuf).encode(), Envelopes())
    assert _post(zipkin, "/api/v2/spans", encode_protobuf(batch), _PROTOBUF)[0] == 202
    expected = _stored(zipkin, {span["traceId"] for span in at_once})
    assert len(expected) == len({span["traceId"] for span in spans})
    assert _stored(zipkin, {span["traceId"] for span in by_way}) == expected
    assert _stored(zipkin, {span["traceId"] for span in by_protobuf}) == expected


def _v1_span(draw: random.Random, number: int) -> dict[str, Any]:
    """A v1 span as no tracer should write it: any core annotations, any addresses, times or none."""
    span: dict[str, Any] = {
        "traceId": f"{number + 1:08x}",
        "id": f"{number + 77:x}",
        "name": draw.choice(["GET /Api", ""]),
    }
    if draw.random() < 0.5:
        span["parentId"] = draw.choice(["0", "5", span["id"]])
    if draw.random() < 0.5:
        span["timestamp"] = draw.choice([0, 10, 20])
    if draw.random() < 0.5:
        span["duration"] = draw.choice([0, 5, 30])
    if draw.random() < 0.3:
        span["debug"] = draw.choice([True, False])
    values = draw.sample(["cs", "sr", "ss", "cr", "ms", "mr", "ws", "wr", "foo", "longer"], draw.randrange(6))
    span["annotations"] = [
        {"timestamp": draw.choice([10, 15, 20, 25, 40]), "value": value, "endpoint": draw.choice(_ENDPOINTS)}
        for value in values
    ]
    keys = draw.sample(["ca", "sa", "ma", "lc", "http.path", "error"], draw.randrange(4))
    span["binaryAnnotations"] = [
        {"key": key, "value": draw.choice([True, False, "", "x", "1", 7]), "endpoint": draw.choice(_ENDPOINTS)}
        for key in keys
    ]
    return span


def test_v1_spans_are_the_v2_spans_that_zipkin_makes_of_them(zipkin: Zipkin) -> None:
    draw = random.Random(5)
    spans = [_v1_span(draw, number) for number in range(400)]
    _assert_the_same(zipkin, spans, "a1", "/api/v1/spans", decode_v1_spans)


def _v2_span(draw: random.Random, number: int) -> dict[str, Any]:
    """A v2 span with everything that Zipkin takes, which is more than its schema has."""
    span: dict[str, Any] = {"traceId": f"{number + 1:08x}", "id": f"{number + 77:x}"}
    rare: dict[str, list[Any]] = {
        "parentId": ["0", "5", span["id"], None],
        "name": ["GET /Api", "", "naïve ☃", None],
        "kind": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER", None],
        "timestamp": [1_700_000_000_000_000, 0, -5, "1700000000000000", 1.7e15, None],
        "duration": [1, 0, -1, "7", 30.0, None],
        "localEndpoint": [*_ENDPOINTS, {"serviceName": "shop", "ipv4": "not an address", "port": -1}],
        "remoteEndpoint": [*_ENDPOINTS, {"ipv6": "10.1.1.1"}, {"ipv4": "2001:db8::2", "ipv6": "::ffff:10.2.2.2"}],
        "annotations": [[], None, [{"timestamp": 5, "value": "b"}, {"timestamp": 5, "value": "a", "host": {"x": 1}}]],
        "tags": [{}, None, {"a": "b", "n": 3, "d": 0.5, "error": ""}, {"binaryAnnotation": "x"}],
        "debug": [True, False, None],
        "shared": [True, False, None],
        "unheardOf": [{"a": [[[[1e30, {"b": None}]]]]}, "tags", '"tags":{', json.loads("[" * 253 + "]" * 253)],
    }
    for key, values in rare.items():
        if draw.random() < 0.6:
            span[key] = draw.choice(values)
    return span


def test_v2_spans_arrive_as_if_sent_at_once(zipkin: Zipkin) -> None:
    draw = random.Random(6)
    spans = [_v2_span(draw, number) for number in range(400)]
    _assert_the_same(zipkin, spans, "a2", "/api/v2/spans", decode_spans)


def test_protobuf_arrives_as_if_sent_at_once(zipkin: Zipkin) -> None:
    draw = random.Random(7)
    spans = [_v2_span(draw, number) for number in range(200)]
    at_once, by_way = (
        encode_protobuf(decode_spans(json.dumps(_under(spans, f"a3{number:04}")).encode(), Envelopes()))
        for number in range(2)
    )
    assert _post(zipkin, "/api/v2/spans", at_once, _PROTOBUF)[0] == 202
    assert _post(zipkin, "/api/v2/spans", encode_spans(decode_protobuf(by_way, Envelopes())))[0] == 202
    expected = _stored(zipkin, {span["traceId"] for span in _under(spans, "a30000")})
    assert len(expected) == len(spans)
    assert _stored(zipkin, {span["traceId"] for span in _under(spans, "a30001")}) == expected


@pytest.mark.parametrize(
    ("number", "tags"), [(1, {"myAnnotations": "b"}), (2, {"a": "myAnnotations"}), (3, {"a\\yAnnotations": "b"})]
)
def test_a_tag_that_zipkin_would_take_for_v1_arrives(zipkin: Zipkin, number: int, tags: dict[str, str]) -> None:
    span = {"traceId": f"b{number:015}", "id": "0" * 15 + "1", "tags": tags}
    body = json.dumps([span]).encode()
    assert _post(zipkin, "/api/v2/spans", body) == (400, "Expected a JSON_V2 encoded list, but received: JSON_V1\n")
    assert _post(zipkin, "/api/v2/spans", encode_spans(decode_spans(body, Envelopes())))[0] == 202
    [[stored]] = _stored(zipkin, {span["traceId"]}).values()
    assert json.loads(stored) == {**span, "traceId": span["traceId"][-8:]}


def test_every_nasty_otlp_span_is_taken(zipkin: Zipkin) -> None:
    rows = pairwise.read("spans")
    requests = [nasty_spans.single(row, number).SerializeToString() for number, row in enumerate(rows)]
    batch = otlp.decode_request(b"".join(requests), Envelopes())  # messages in a row are one
    ids = {span["traceId"] for span in json.loads(encode_spans(batch))}
    for body, content_type in ((encode_spans(batch), _JSON), (encode_protobuf(batch), _PROTOBUF)):
        assert _post(zipkin, "/api/v2/spans", body, content_type) == (202, "")
    assert len(_stored(zipkin, ids)) == len(rows)


_IDS = {"traceId": "c1", "id": "1"}


@pytest.mark.parametrize(
    "span",
    [
        {"id": "1"},
        {"traceId": "c1"},
        {**_IDS, "traceId": "0"},
        {**_IDS, "id": ""},
        {**_IDS, "id": "g"},
        {**_IDS, "id": "a" * 17},
        {**_IDS, "parentId": "a" * 17},
        {**_IDS, "kind": "server"},
        {**_IDS, "timestamp": "now"},
        {**_IDS, "duration": 1.5},
        {**_IDS, "tags": []},
        {**_IDS, "tags": {"a": None}},
        {**_IDS, "tags": {"a": {}}},
        {**_IDS, "localEndpoint": "x"},
        {**_IDS, "remoteEndpoint": {"port": 65536}},
        {**_IDS, "annotations": {}},
        {**_IDS, "annotations": [{"timestamp": 1}]},
        {**_IDS, "debug": 3},
        {**_IDS, "binaryAnnotations": []},
        [],
    ],
)
def test_what_zipkin_refuses_is_refused(zipkin: Zipkin, span: Any) -> None:
    body = json.dumps([span]).encode()
    assert _post(zipkin, "/api/v2/spans", body)[0] in (400, 500)  # it has errors of its own that it calls internal
    with pytest.raises(InvalidRequest):
        decode_spans(body, Envelopes())
