"""Every nasty span by every way in and every way out: docs/formats.md says what is lost on it, no more and no less."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fidelity import carried, carried_zipkin, nasty_spans, nasty_zipkin, pairwise
from tests.fidelity.carried import KEPT, LOST, Otlp
from tests.fidelity.formats_page import table
from tests.fidelity.ways import INPUTS, OUTPUTS, ZIPKIN_INPUTS, Input, through
from tests.peers.independent import census, own, parsed_census

OTLP_TABLE, ZIPKIN_TABLE = (
    table("What a format carries of an OTLP span"),
    table("What a format carries of a Zipkin span"),
)


@pytest.fixture(scope="module")
def requests() -> list[Any]:
    return [nasty_spans.single(row, number) for number, row in enumerate(pairwise.read("spans"))]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [nasty_zipkin.span(row, number) for number, row in enumerate(pairwise.read("zipkin_spans"))]


def test_the_page_has_a_row_for_everything_there_is_to_carry() -> None:
    assert [row.name for row in carried.ROWS] == list(OTLP_TABLE)
    assert [row.name for row in carried_zipkin.ROWS] == list(ZIPKIN_TABLE)


def test_every_row_is_tried(requests: list[Any], texts: list[str]) -> None:
    sources = [span for request in requests for span in Otlp.of(request)]
    assert [row.name for row in carried.ROWS if all(row.read(span) is None for span in sources)] == []
    spans = [json.loads(text) for text in texts]
    assert [row.name for row in carried_zipkin.ROWS if all(row.read(span) is None for span in spans)] == []


@pytest.mark.parametrize("way", INPUTS, ids=lambda way: way.name)
async def test_otlp(way: Input, requests: list[Any], tiny_artifact: Path, tmp_path: Path) -> None:
    written = await through(way, requests, tiny_artifact, tmp_path)
    sources = {span.row: span for request in requests for span in Otlp.of(request)}
    for output in OUTPUTS:
        found = output.read(written[output.name])
        spans = {_row(span): span for span in (_spans(found))}
        assert spans.keys() == sources.keys(), output.name
        assert sum(1 for _ in _spans(found)) == len(sources), output.name
        for number, span in spans.items():
            assert _own(span), (output.name, number)
            assert "tracead.unheard.of" not in _own(span), (output.name, number)
        expected = {name: _worse(cells[way.column], cells[output.column]) for name, cells in OTLP_TABLE.items()}
        outcomes = {
            row.name: {row.outcome(source, spans[number]) for number, source in sources.items()} - {None}
            for row in carried.ROWS
        }
        assert {name: found for name, found in outcomes.items() if found != {expected[name]}} == {}, output.name
        if way.column == output.column == "OTLP protobuf":
            sent = census(request.SerializeToString() for request in requests)
            received = census(request.SerializeToString() for request in found)
            assert received == sent


def _worse(one: str, other: str) -> str:
    return other if one == KEPT else one if other == KEPT or one == LOST else other


@pytest.mark.parametrize("way", ZIPKIN_INPUTS, ids=lambda way: way.name)
async def test_zipkin(way: Input, texts: list[str], tiny_artifact: Path, tmp_path: Path) -> None:
    written = await through(way, texts, tiny_artifact, tmp_path)
    sources = {number: json.loads(text) for number, text in enumerate(texts)}
    requests = []
    for output in OUTPUTS:
        if output.column == "Zipkin JSON":
            _assert_the_same_objects(texts, written[output.name])
            continue
        found = output.read(written[output.name])
        spans = list(_spans(found))
        assert Counter(map(_row, spans)) == dict.fromkeys(sources, 2), output.name
        column = "OTLP" if output.column.startswith("OTLP") else output.column
        outcomes = {
            row.name: {row.outcome(sources[_row(span)], span) for span in spans} - {None} for row in carried_zipkin.ROWS
        }
        assert outcomes == {name: {cells[column]} for name, cells in ZIPKIN_TABLE.items()}, output.name
        assert {_row(span) for span in spans if _own(span)} == sources.keys(), output.name
        if column == "OTLP":
            requests.append(parsed_census(found))
    assert all(request == requests[0] for request in requests)


def _assert_the_same_objects(texts: list[str], bodies: list[bytes]) -> None:
    """Zipkin's JSON in, Zipkin's JSON out: every key in its place, every number as it was spelled, `tracead.*` in the tags."""
    cells = {name: cells["Zipkin JSON"] for name, cells in ZIPKIN_TABLE.items()}
    assert cells == {row.name: row.json for row in carried_zipkin.ROWS}
    found = [span for body in bodies for span in carried_zipkin.spelled(body)]
    expected = [carried_zipkin.without_own(carried_zipkin.spelled(text)) for text in texts]
    assert Counter(map(repr, map(carried_zipkin.without_own, found))) == {repr(span): 2 for span in expected}
    assert sum("tracead.unscored" in repr(span) for span in found) >= len(texts)
    assert not any("tracead.late'" in repr(span) or "'tracead.anomaly.level', 'high'" in repr(span) for span in found)


def _spans(found: list[Any]) -> list[Any]:
    return [span for item in found for span in ([item] if isinstance(item, Mapping) else Otlp.of(item))]


def _row(span: Any) -> int:
    return span.row if isinstance(span, Otlp) else int(span["tags"][nasty_spans.MARK])


def _own(span: Any) -> dict[str, Any]:
    if isinstance(span, Otlp):
        return own(span.span)
    return {key: value for key, value in span["tags"].items() if key.startswith("tracead.")}
