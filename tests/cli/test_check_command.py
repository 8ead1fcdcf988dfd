"""`otel-tracead check`: what it says, to people and to programs, and its exit code."""

import json
from pathlib import Path

import pytest
from tiny_model import contents_of, manifest_of, shop_traces, write_artifact

from otel_tracead.artifact import folder
from otel_tracead.artifact.manifest import SCHEMA_VERSION, ReportCard
from otel_tracead.cli import check, invoke
from otel_tracead.generator import Fault
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import load
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter


def written(path: Path, **scenario: object) -> Path:
    with TraceFileWriter(path) as writer:
        for trace in shop_traces(**scenario):
            writer.write(group(trace.envelopes, trace.spans))
    return path


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("traffic") / "normal.pb.zst", seed=21, duration_s=15.0)


@pytest.fixture(autouse=True)
def few_anomalies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_EACH", 15)


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = invoke(["check", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def test_a_detector_that_works_on_this_traffic_passes(normal, tiny_artifact, capsys):
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", normal)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Model tiny 1 works on this traffic."
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("injected")) :]
    assert [line.split()[0] for line in table[1:8]] == [
        *("replaced", "missing", "extra", "aborted", "swapped", "stall", "slowdown")
    ]
    assert all("%" in line and "15" in line for line in table[1:8])


def test_json_holds_the_same_for_programs(normal, tiny_artifact, capsys):
    code, out, _ = ran(capsys, "--model", tiny_artifact, "--input", normal, "--format", "json")
    found = json.loads(out)
    assert (code, found["passed"], found["reasons"]) == (0, True, [])
    assert found["model"] == {"name": "tiny", "version": "1"}
    assert found["traces"] == found["traces_read"] == found["figures"]["clean_traces"]
    assert found["figures"]["budget"] == 0.01
    # Floors that a detector which guesses fails by far.
    assert found["figures"]["auc_lower_95"] > 0.9
    assert found["figures"]["recall"] > 0.7
    assert {kind["kind"]: kind["counts"] for kind in found["kinds"]}["slowdown"] is False
    for kind in found["kinds"]:
        assert kind["found_95"][0] <= kind["found"] == found["figures"][f"recall_{kind['kind']}"] <= kind["found_95"][1]


def test_traffic_with_a_fault_in_it_does_not_pass_for_normal(tiny_artifact, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check, "_EACH", 4)
    fault = Fault(kind="slow_service", service="currency", start_s=0, duration_s=7, severity=50)
    path = written(tmp_path / "faulty.pb", seed=22, duration_s=7.0, faults=(fault,))
    code, out, _ = ran(capsys, "--model", tiny_artifact, "--input", path)
    assert code == 1
    assert out.startswith("Model tiny 1 does NOT work on this traffic:\n  - ")
    assert "more than 3 times the budget of 1.00%" in out
    assert "response_time at currency" in out


def test_foreign_traffic_has_a_reason_of_its_own(tiny_artifact, tmp_path, capsys):
    from span_builders import batch, encoded

    with TraceFileWriter(tmp_path / "foreign.pb") as writer:
        writer.write(batch(*(encoded(number, number) for number in range(1, 200))))
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", tmp_path / "foreign.pb")
    assert (code, err) == (1, "")
    assert "does not know this traffic: 100% of the traces get no verdict" in out
    assert "injected" not in out


def test_too_few_traces_are_no_pass_and_a_budget_takes_its_number(normal, tiny_artifact, tmp_path, capsys):
    few = written(tmp_path / "few.pb", seed=23, duration_s=2.0)
    code, out, _ = ran(capsys, "--model", tiny_artifact, "--input", few)
    assert code == 1
    assert "too few traces to tell" in out
    assert "at least 99 " in out
    code, out, _ = ran(capsys, "--model", tiny_artifact, "--input", normal, "--false-positive-rate", "0.0005")
    assert code == 1
    assert "takes at least 1996 " in out


def test_of_much_traffic_a_random_part_is_looked_at_and_that_is_said(normal, tiny_artifact, capsys, monkeypatch):
    monkeypatch.setattr(check, "_MAX_SPANS", 2000)
    _, out, _ = ran(capsys, "--model", tiny_artifact, "--input", normal)
    assert "traces, a random part." in out


def test_a_model_whose_card_failed_may_be_checked(normal, tiny_model, tmp_path, capsys):
    card = ReportCard(passed=False, reasons=("no better than chance",), figures={}, words=())
    write_artifact(tmp_path / "model", tiny_model, report_card=card)
    assert ran(capsys, "--model", tmp_path / "model", "--input", normal)[0] == 0


def test_what_cannot_be_done_is_said(normal, tiny_model, tiny_artifact, tmp_path, capsys):
    older = manifest_of(tiny_model).model_copy(update={"schema_version": SCHEMA_VERSION - 1})
    folder.save(tmp_path / "older", older, contents_of(tiny_model))
    cut = tmp_path / "cut.pb.zst"
    cut.write_bytes(normal.read_bytes()[:-200])
    for model, source, message in (
        (
            tmp_path / "older",
            normal,
            f"schema version {SCHEMA_VERSION - 1}, but this otel-tracead reads {SCHEMA_VERSION}",
        ),
        (tmp_path / "none", normal, "is not there"),
        (tiny_artifact, tmp_path / "none.pb", "no such file or folder"),
        (tiny_artifact, cut, "cut.pb.zst:"),
    ):
        code, out, err = ran(capsys, "--model", model, "--input", source)
        assert (code, out) == (1, "")
        assert message in err
        assert "Traceback" not in err
    for command in ("score", "check"):
        arguments = ["--model", str(tmp_path / "older"), "--input", str(normal)]
        arguments += ["--output", str(tmp_path / "out.pb")] if command == "score" else []
        assert invoke([command, *arguments]) == 1
        assert "train the model again" in capsys.readouterr().err


def test_the_stage_refuses_a_model_whose_card_failed_unless_told_otherwise(tiny_model, tmp_path, capsys):
    card = ReportCard(passed=False, reasons=("no better than chance",), figures={}, words=())
    write_artifact(tmp_path / "model", tiny_model, report_card=card)
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "localhost:0"}}}},
        "processors": {"tracead": {"model": str(tmp_path / "model")}},
        "exporters": {"debug": None},
        "service": {
            "pipelines": {"traces": {"receivers": ["otlp"], "processors": ["tracead"], "exporters": ["debug"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    (tmp_path / "stage.yaml").write_text(json.dumps(config))
    assert invoke(["run", "--config", str(tmp_path / "stage.yaml")]) == 1
    output = capsys.readouterr()
    assert "own check did not hold (no better than chance)" in output.out + output.err
    told = TraceadConfig.model_validate({"model": str(tmp_path / "model"), "require_report_card": False})
    assert load(told, tmp_path).model.name == "tiny"
