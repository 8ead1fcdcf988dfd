import gzip
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.cli import invoke
from otel_tracead.detection import detector
from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.wire.attributes import strip_attributes
from otel_tracead.wire.files import TraceFileWriter, read_file
from otel_tracead.wire.otlp import Envelopes, decode_request


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traffic") / "shop.jsonl"
    fault = Fault(kind="slow_service", service="currency", start_s=3, duration_s=3, severity=50)
    run = simulate(Scenario(seed=3, start_unix_nano=1_700_000_000 * 10**9, duration_s=8, faults=(fault,)))
    envelopes = Envelopes()
    with TraceFileWriter(path) as writer:
        for _, body in requests(run):
            writer.write(decode_request(body, envelopes))
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = invoke(["score", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def spans(path: Path) -> list[bytes]:
    return [span for _, batch in read_file(path) for _, span in batch]


@pytest.mark.parametrize("name", ["out.jsonl", "out.pb.zst", "out.jsonl.gz"])
def test_every_span_comes_out_once_annotated(name, traffic, tiny_artifact, tmp_path, capsys):
    output = tmp_path / name
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", traffic, "--output", output)
    assert (code, out) == (0, "")
    came = spans(output)
    assert Counter(strip_attributes(span)[0] for span in came) == Counter(spans(traffic))
    traces = {Span.FromString(span).trace_id for span in came}
    verdicts = [span for span in came if b"tracead.trace.anomalous" in span or b"tracead.unscored" in span]
    assert len(verdicts) == len(traces)
    marked = sum(b"tracead.trace.level" in span for span in came)
    assert marked > 0
    assert err.startswith(f"{output}: {len(came)} spans, {len(traces)} traces, {marked} anomalous, ")
    assert err.count("\n") == 1


def test_options_reach_the_detector(traffic, tiny_artifact, tmp_path, capsys):
    few, many = tmp_path / "few.pb", tmp_path / "many.pb"
    shared = ("--model", tiny_artifact, "--input", traffic, "--execution-provider", "cpu")
    assert ran(capsys, *shared, "--output", few, "--false-positive-rate", "0.0001", "--annotate", "root")[0] == 0
    assert ran(capsys, *shared, "--output", many, "--false-positive-rate", "0.2", "--annotate", "all")[0] == 0
    anomalous = [sum(b"tracead.trace.level" in span for span in spans(path)) for path in (few, many)]
    assert anomalous[0] < anomalous[1]
    judged = [span for span in spans(many) if b"tracead.anomaly.detected" in span]
    assert len(judged) > 0.9 * len(spans(many))
    assert all(b"tracead.trace.anomalous" in span for span in spans(few) if b"tracead.anomaly" in span)


def test_several_files_and_a_folder(traffic, tiny_artifact, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(traffic.read_bytes()))
    code, _, _ = ran(
        capsys, "--model", tiny_artifact, "--input", folder, "--input", traffic, "--output", tmp_path / "out.pb"
    )
    assert code == 0
    assert len(spans(tmp_path / "out.pb")) == 2 * len(spans(traffic))


def test_a_failing_detector_costs_no_span_and_says_so(traffic, tiny_artifact, tmp_path, capsys, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(detector.ModelDetector, "judge", fail)
    output = tmp_path / "out.pb"
    code, _, err = ran(capsys, "--model", tiny_artifact, "--input", traffic, "--output", output)
    assert code == 1
    assert "scoring failed for" in err
    assert "boom" in err
    assert len(spans(output)) == len(spans(traffic))


def test_unknown_traffic_is_told_to_train(tiny_artifact, tmp_path, capsys):
    from span_builders import batch, encoded

    with TraceFileWriter(tmp_path / "in.pb") as writer:
        writer.write(batch(*(encoded(number, number) for number in range(1, 9))))
    code, _, err = ran(capsys, "--model", tiny_artifact, "--input", tmp_path / "in.pb", "--output", tmp_path / "out.pb")
    assert code == 0
    assert "8 unscored (8 unknown_traffic)" in err
    assert "otel-tracead train" in err


def test_what_cannot_be_done_is_said(traffic, tiny_artifact, tmp_path, capsys):
    output = tmp_path / "out.pb"
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(traffic.read_bytes()[:-100])
    for model, source, target, code, message in (
        (tmp_path, traffic, output, 1, "manifest.json: no such file"),
        (tmp_path / "none", traffic, output, 1, "is not there"),
        (tiny_artifact, tmp_path / "none.pb", output, 1, "no such file or folder"),
        (tiny_artifact, cut, output, 1, f"{cut}:"),
        (tiny_artifact, traffic, tmp_path / "out.txt", 1, "name it *.jsonl or *.pb"),
        (tiny_artifact, traffic, traffic, 2, "is one of the files to read"),
    ):
        found, out, err = ran(capsys, "--model", model, "--input", source, "--output", target)
        assert (found, out) == (code, "")
        assert message in err
        assert "Traceback" not in err
    assert not output.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.jsonl"]


def test_a_model_without_its_card_is_refused_until_told(traffic, tiny_model, tmp_path, capsys):
    from tiny_model import write_artifact

    from otel_tracead.artifact.manifest import ReportCard

    card = ReportCard(passed=False, reasons=("no better than chance",), figures={}, words=())
    write_artifact(tmp_path / "model", tiny_model, report_card=card)
    shared = ("--model", tmp_path / "model", "--input", traffic, "--output", tmp_path / "out.pb")
    code, _, err = ran(capsys, *shared)
    assert code == 1
    assert "no better than chance" in err
    assert ran(capsys, *shared, "--no-require-report-card")[0] == 0
