from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.demonstration import traffic
from otel_tracead.demonstration.outcome import compare
from otel_tracead.detection.detector import load_detector
from otel_tracead.detection.offline import OfflineStage
from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes, decode_request

FAULT = Fault(kind="slow_service", service="currency", start_s=3, duration_s=3, severity=50)
SCENARIO = Scenario(seed=4, start_unix_nano=1_700_000_000 * 10**9, duration_s=8, faults=(FAULT,))


def own(span: bytes) -> dict[str, bytes]:
    return {
        pair.key: pair.value.SerializeToString()
        for pair in Span.FromString(span).attributes
        if pair.key.startswith("tracead.") and pair.key != "tracead.trace.release"
    }


def by_id(spans: list[bytes]) -> dict[bytes, dict[str, bytes]]:
    return {Span.FromString(span).span_id: own(span) for span in spans}


async def test_a_real_stage_says_what_score_says(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(traffic, "WAIT_S", 1.5)
    shares: list[float] = []
    output = tmp_path / "traces.jsonl"
    output.write_text("left from an earlier demo\n")
    sent = await traffic.send(output, tiny_artifact, SCENARIO, shares.append)
    assert 0.9 < max(shares) <= 1
    online = [span for _, batch in read_file(output) for _, span in batch]
    assert len(online) == sent.spans
    stage = OfflineStage(load_detector(tiny_artifact, execution_provider="cpu"))
    envelopes = Envelopes()
    given = (decode_request(body, envelopes) for _, body in requests(simulate(SCENARIO)))
    offline = [span for batch in stage.annotate(given) for _, span in batch]
    # What other traces say of a place depends on which of them came before: live, a minute is judged while it goes on.
    live, stored = by_id(online), by_id(offline)
    assert live.keys() == stored.keys()
    assert sum(live[span].keys() == stored[span].keys() for span in live) >= 0.99 * len(live)
    outcome = compare(output, sent.truth)
    assert (outcome.spans, len(outcome.judged)) == (sent.spans, stage.tally.traces)
    assert len(outcome.marked) == pytest.approx(stage.tally.anomalous, rel=0.1)
    assert stage.tally.anomalous > 0
    (found,) = outcome.faults
    assert found.affected == len(sent.truth.traces)
    assert 0 < found.located <= found.found <= found.affected


def test_the_configuration_is_the_embedded_default_on_free_ports(tmp_path: Path):
    config = traffic.configuration(tmp_path / "t.jsonl", tmp_path)
    assert set(config) == {"receivers", "processors", "exporters", "service"}
    assert config["service"]["pipelines"]["traces"]["processors"] == ["tracead"]
    assert config["processors"]["tracead"] == {"model": str(tmp_path), "wait_duration": "3s"}
