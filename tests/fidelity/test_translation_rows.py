"""Each row of the translations of docs/formats.md, in the ways that it names."""

import json

import pytest

from otel_tracead.wire import otlp as otlp_wire
from otel_tracead.wire import otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from tests.fidelity import translation
from tests.fidelity.carried import ExportTraceServiceRequest
from tests.fidelity.carried_zipkin import from_protobuf
from tests.fidelity.formats_page import cells

_ROWS = cells("Zipkin and OTLP, field by field")[1:]
_V1_ROWS = cells("Zipkin v1")[1:]
_DEFAULT_SERVICE = "<missing service name>"


def _read(batch: SpanBatch) -> list[translation.Object]:
    return translation.read(ExportTraceServiceRequest.FromString(otlp_wire.encode_request(batch)))


@pytest.mark.parametrize("row", [row for row in _ROWS if row[1] in ("both", "to OTLP")], ids=lambda row: row[0])
def test_to_otlp(row: list[str]) -> None:
    span = translation.zipkin(row[0])
    batch = zipkin.decode_spans(json.dumps([span]).encode(), Envelopes())
    assert _read(batch) == [translation.otlp(row[2])]


@pytest.mark.parametrize("row", [row for row in _ROWS if row[1] in ("both", "to Zipkin")], ids=lambda row: row[2])
def test_to_zipkin(row: list[str]) -> None:
    batch = otlp_json.decode_request(translation.to_json(translation.otlp(row[2])), Envelopes())
    [span] = json.loads(zipkin.encode_spans(batch, _DEFAULT_SERVICE))
    assert span == translation.zipkin(row[0])
    [by_protobuf] = from_protobuf(zipkin.encode_protobuf(batch, _DEFAULT_SERVICE))
    expected = {**span, "traceId": span["traceId"].zfill(32)}
    assert {key: value for key, value in by_protobuf.items() if value} == expected


@pytest.mark.parametrize("row", _V1_ROWS, ids=lambda row: row[0])
def test_v1(row: list[str]) -> None:
    body = json.dumps([translation.v1(row[0])]).encode()
    batch = zipkin.decode_v1_spans(body, Envelopes())
    found = sorted(json.loads(zipkin.encode_spans(batch)), key=lambda span: span.get("kind", ""))
    ids = {key: translation.ZIPKIN[key] for key in ("traceId", "id")}
    expected = [{**ids, **span} for span in json.loads(row[1].strip("`"))]
    assert found == sorted(expected, key=lambda span: span.get("kind", ""))


def test_the_rows_are_of_the_kinds_that_are_walked() -> None:
    assert {row[1] for row in _ROWS} == {"both", "to OTLP", "to Zipkin"}
    assert min(len(_ROWS), len(_V1_ROWS)) > 20
