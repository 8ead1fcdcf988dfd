"""The same Zipkin requests to a real Collector and to ours: they differ as docs/formats.md says, and in nothing else."""

import http.client
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp, zipkin
from otel_tracead.wire.otlp import Envelopes
from tests.fidelity import nasty_spans, pairwise, translation
from tests.fidelity.carried import ExportTraceServiceRequest
from tests.fidelity.formats_page import cells
from tests.peers.stage import StartCollector
from tests.peers.zipkin_cases import MARK, Case, cases
from tools.peers import free_port
from tools.peers.process import HOST

pytestmark = pytest.mark.peers

Spans = list[translation.Object]
_REFUSED = "400"
_DECODE = {"v2": zipkin.decode_spans, "v1": zipkin.decode_v1_spans, "protobuf": zipkin.decode_protobuf}


def test_the_differences_are_those_of_the_page(start_collector: StartCollector, tmp_path: Path) -> None:
    sent = cases()
    theirs = _by_collector(sent, start_collector, tmp_path)
    found = []
    for case, their_spans in zip(sent, theirs, strict=True):
        our_spans = _by_us(case)
        if our_spans != their_spans:
            found.append([case.form, case.name, *_differing(their_spans, our_spans)])
    written = [row[:4] for row in cells("Zipkin in, beside the Collector")[1:]]
    missing = [
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " | |" for row in found if row not in written
    ]
    assert missing == [], "write:\n" + "\n".join(missing)
    assert [row for row in written if row not in found] == [], "they agree now"


def test_every_nasty_otlp_span_is_taken(start_collector: StartCollector, tmp_path: Path) -> None:
    rows = pairwise.read("spans")
    requests = [nasty_spans.single(row, number).SerializeToString() for number, row in enumerate(rows)]
    batch = otlp.decode_request(b"".join(requests), Envelopes())
    bodies = {"v2": zipkin.encode_spans(batch), "protobuf": zipkin.encode_protobuf(batch)}
    sent = [Case(form, form, body) for form, body in bodies.items()]
    answers, lines = _send(sent, start_collector, tmp_path)
    assert answers == [http.HTTPStatus.ACCEPTED] * 2
    received = Counter(span["attributes"][nasty_spans.MARK] for line in lines for span in translation.read(line))
    assert received == {str(number): 2 for number in range(len(rows))}


def test_every_difference_has_a_reason() -> None:
    assert [row[:2] for row in cells("Zipkin in, beside the Collector")[1:] if not row[4]] == []


def _send(sent: list[Case], start: StartCollector, folder: Path) -> tuple[list[int], list[bytes]]:
    """Give the Collector's answers, and what it wrote."""
    ports = [free_port() for _ in range(3)]
    names = ("DOWNSTREAM_GRPC", "DOWNSTREAM_HTTP", "DOWNSTREAM_ZIPKIN")
    file = folder / "collector.jsonl"
    env = {name: f"{HOST}:{port}" for name, port in zip(names, ports, strict=True)} | {"DOWNSTREAM_FILE": str(file)}
    collector = start(Path(__file__).parent / "configs/downstream.yaml", ports, env)
    connection = http.client.HTTPConnection(HOST, ports[-1], timeout=30)
    answers = []
    for case in sent:
        connection.request("POST", case.path, case.body, {"Content-Type": case.content_type})
        answer = connection.getresponse()
        answer.read()
        answers.append(answer.status)
    connection.close()
    assert collector.stop() == 0, collector.tail()
    return answers, file.read_bytes().splitlines()


def _by_collector(sent: list[Case], start: StartCollector, folder: Path) -> list[Spans | str]:
    answers, lines = _send(sent, start, folder)
    taken: dict[int, Spans] = {}
    for line in lines:
        for span in translation.read(line):
            taken.setdefault(int(span["attributes"][MARK]), []).append(span)
    return [
        _comparable(taken[place]) if status == http.HTTPStatus.ACCEPTED else str(status)
        for place, status in enumerate(answers)
    ]


def _by_us(case: Case) -> Spans | str:
    try:
        batch = _DECODE[case.form](case.body, Envelopes())
    except InvalidRequest:
        return _REFUSED
    return _comparable(translation.read(ExportTraceServiceRequest.FromString(otlp.encode_request(batch))))


def _comparable(spans: Spans) -> Spans:
    found = []
    for span in spans:
        attributes = {key: value for key, value in sorted(span["attributes"].items()) if key != MARK}
        rest = {key: value for key, value in span.items() if key != "attributes"}
        if rest["start"] > (time.time_ns() - 3600 * 10**9):
            rest |= {"start": "now", "end": "now"}
        found.append({**rest, **({"attributes": attributes} if attributes else {})})
    return sorted(found, key=lambda span: (span["spanId"], span.get("kind", 0)))


def _differing(theirs: Spans | str, ours: Spans | str) -> tuple[str, str]:
    """Only what differs; an attribute that both have is left out, and null is what the other one has."""
    if isinstance(theirs, str) or isinstance(ours, str):
        return tuple(side if isinstance(side, str) else "taken" for side in (theirs, ours))  # type: ignore[return-value]
    if len(theirs) != len(ours):
        return tuple(_written([_brief(span) for span in side]) for side in (theirs, ours))  # type: ignore[return-value]
    pairs = [pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]]
    return tuple(  # type: ignore[return-value]
        _written([_only(pair[side], pair[1 - side]) for pair in pairs]) for side in (0, 1)
    )


def _brief(span: translation.Object) -> translation.Object:
    return {key: span[key] for key in ("kind", "start", "end", "resource") if key in span}


def _only(span: translation.Object, other: translation.Object) -> translation.Object:
    found: dict[str, Any] = {}
    for key in sorted(span.keys() | other.keys()):
        mine, theirs = span.get(key), other.get(key)
        if mine == theirs:
            continue
        if key in ("attributes", "resource", "status"):
            mine, theirs = mine or {}, theirs or {}
            mine = {
                name: mine.get(name)
                for name in sorted(mine.keys() | theirs.keys())
                if mine.get(name) != theirs.get(name)
            }
        found[key] = mine
    return found


def _written(spans: Spans) -> str:
    return "`" + json.dumps(spans[0] if len(spans) == 1 else spans) + "`"
