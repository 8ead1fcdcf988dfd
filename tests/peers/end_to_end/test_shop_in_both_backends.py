"""The whole way, everything real: Zipkin and Jaeger hold every span, once, with what the stage said of it, and no more."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from scipy.stats import binom

from tests.peers.end_to_end.chain import Seen, attributes
from tests.peers.independent import spans_of

pytestmark = pytest.mark.peers

Ids = tuple[str, str]
BUDGET = 0.01  # `false_positive_rate`, as it is unless said otherwise


def _ids(span: Span) -> Ids:
    return span.trace_id.hex(), span.span_id.hex()


@pytest.fixture(scope="module")
def in_zipkin(seen: Seen) -> list[dict[str, Any]]:
    return [span for trace in seen.zipkin.search({"limit": 100_000, "lookback": 3_600_000}) for span in trace]


@pytest.fixture(scope="module")
def in_jaeger(seen: Seen) -> list[dict[str, Any]]:
    # `raw`: as they were stored; otherwise Jaeger itself would leave out what came twice.
    traces = {
        trace["traceID"]: trace
        for service in seen.jaeger.services()
        for trace in seen.jaeger.search(service, {}, limit=100_000, raw="true")
    }
    return [span for trace in traces.values() for span in trace["spans"]]


def _others(seen: Seen) -> Iterator[Span]:
    """The spans beside those of the shop."""
    shop = {(span.trace_id.hex(), span.span_id.hex()) for span in seen.sent}
    return (span for span in spans_of(seen.judged) if _ids(span) not in shop)


def test_the_applications_lose_nothing_on_the_way(seen: Seen) -> None:
    arrived = Counter(map(_ids, spans_of(seen.judged)))
    assert set(arrived.values()) == {1}
    assert {(span.trace_id.hex(), span.span_id.hex()) for span in seen.sent} <= arrived.keys()
    assert Counter(span.name for span in _others(seen)) == Counter(
        {"afterwards": 2, "monthly invoices": 3, "collect": 3, "render": 3, "send": 3}
    )


def test_zipkin_holds_every_span_once(seen: Seen, in_zipkin: list[dict[str, Any]]) -> None:
    found = Counter((span["traceId"], span["id"]) for span in in_zipkin)
    assert seen.zipkin.spans_received() == len(in_zipkin)
    assert found == Counter(map(_ids, spans_of(seen.judged)))


def test_jaeger_holds_every_span_once(seen: Seen, in_jaeger: list[dict[str, Any]]) -> None:
    found = Counter((span["traceID"], span["spanID"]) for span in in_jaeger)
    assert found == Counter(map(_ids, spans_of(seen.judged)))


def test_a_query_finds_the_traces_that_went_wrong_and_hardly_any_other(seen: Seen) -> None:
    affected = {trace.trace_id.hex() for trace in seen.truth.traces}
    clean = {span.trace_id.hex() for span in seen.sent} - affected
    query = {"annotationQuery": "tracead.trace.anomalous=true", "limit": 100_000, "lookback": 3_600_000}
    by_zipkin = {trace[0]["traceId"] for trace in seen.zipkin.search(query)}
    by_jaeger = {
        trace["traceID"]
        for service in seen.jaeger.services()
        for trace in seen.jaeger.search(service, {"tracead.trace.anomalous": "true"}, limit=100_000)
    }
    assert by_jaeger == by_zipkin
    assert len(affected) > 25
    assert len(by_zipkin & affected) >= 0.95 * len(affected)
    assert len(by_zipkin & clean) <= binom.ppf(0.999, len(clean), BUDGET)


@pytest.mark.parametrize(
    ("kind", "type_"), [("missing_call", "structural"), ("slow_edge", "response_time"), ("error", "structural")]
)
def test_each_kind_of_fault_is_called_what_it_is(
    seen: Seen, in_zipkin: list[dict[str, Any]], kind: str, type_: str
) -> None:
    hit = {trace.trace_id.hex(): trace for trace in seen.truth.traces if trace.kind == kind}
    marks: dict[str, list[dict[str, Any]]] = {trace: [] for trace in hit}
    missing = set()
    for span in in_zipkin:
        tags = span.get("tags", {})
        if span["traceId"] in hit and "tracead.anomaly.detected" in tags:
            marks[span["traceId"]].append(tags)
        if span["traceId"] in hit and any("currency" in label for label in _list(tags, "tracead.trace.missing")):
            missing.add(span["traceId"])
    named = [any(tags["tracead.anomaly.type"] in {type_, "both"} for tags in found) for found in marks.values()]
    assert len(hit) >= 5
    assert sum(named) >= 0.9 * len(hit)
    if kind == "missing_call":
        assert len(missing) >= 0.9 * len(hit)
    if kind == "slow_edge":
        slow = [tags for found in marks.values() for tags in found if tags["tracead.anomaly.type"] == "response_time"]
        assert all(
            float(tags["tracead.response_time.expected_ms"]) < float(tags["tracead.response_time.upper_ms"]) < 400
            for tags in slow
        )


def _list(tags: dict[str, str], key: str) -> list[str]:
    return list(json.loads(tags.get(key, "[]")))


def test_zipkin_has_what_the_stage_wrote_as_text(seen: Seen, in_zipkin: list[dict[str, Any]]) -> None:
    expected = {_ids(span): attributes(span) for span in spans_of(seen.judged)}
    found = {
        (span["traceId"], span["id"]): {
            key: value for key, value in span.get("tags", {}).items() if key.startswith("tracead.")
        }
        for span in in_zipkin
    }
    for ids, written in expected.items():
        text = found[ids]
        assert text.keys() == written.keys()
        for key, value in written.items():
            assert (text[key] if isinstance(value, str) else json.loads(text[key])) == value, key


def test_jaeger_has_what_the_stage_wrote_with_its_type(seen: Seen, in_jaeger: list[dict[str, Any]]) -> None:
    expected = {_ids(span): attributes(span) for span in spans_of(seen.judged)}
    types = {bool: "bool", int: "int64", float: "float64", str: "string", list: "string"}
    for span in in_jaeger:
        tags = {tag["key"]: tag for tag in span["tags"] if tag["key"].startswith("tracead.")}
        written = expected[span["traceID"], span["spanID"]]
        assert tags.keys() == written.keys()
        for key, value in written.items():
            assert tags[key]["type"] == types[type(value)], key
            assert (json.loads(tags[key]["value"]) if isinstance(value, list) else tags[key]["value"]) == value, key


def test_what_came_late_and_what_nobody_knows_says_so(seen: Seen) -> None:
    written = {_ids(span): attributes(span) for span in _others(seen)}
    late = {trace: found for (trace, _), found in written.items() if "tracead.late" in found}
    assert [late[trace]["tracead.late_verdict"] for trace in seen.late] == ["anomalous", "normal"]
    assert Counter(found.get("tracead.unscored") for found in written.values())["unknown_traffic"] == 3
