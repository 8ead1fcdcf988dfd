import json
from pathlib import Path

import pytest

from otel_tracead.cli import invoke
from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.wire.files import TraceFileWriter
from otel_tracead.wire.otlp import Envelopes, decode_request

START = 1_700_000_000  # 2023-11-14T22:13:20Z
FAULT = Fault(kind="slow_service", service="currency", start_s=15, duration_s=15, severity=20)


def written(path: Path, seed: int, *faults: Fault, duration_s: float = 30.0, start: int = START) -> Path:
    run = simulate(Scenario(seed=seed, start_unix_nano=start * 10**9, duration_s=duration_s, faults=faults))
    envelopes = Envelopes()
    with TraceFileWriter(path) as writer:
        for _, body in requests(run):
            writer.write(decode_request(body, envelopes))
    return path


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of traffic; in its second half one service is slow."""
    return written(tmp_path_factory.mktemp("rank") / "slow.jsonl", 3, FAULT)


@pytest.fixture(scope="module")
def normal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("rank") / "normal.pb.zst", 4, duration_s=40.0, start=START - 100)


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = invoke(["rank", *map(str, arguments)])
    output = capsys.readouterr()
    return code, output.out, output.err


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    code, out, err = ran(capsys, *arguments, "--format", "json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_text_names_the_service_and_says_why(slow, tiny_artifact, capsys):
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", slow, "--since", "-15s")
    assert (code, err) == (0, "")
    head, _, first, reason, *_ = out.splitlines()
    assert head.endswith(", against the normal state of model tiny 1")
    assert first.startswith("1. currency, score ")
    assert reason.startswith("   Own work took ")
    assert "spans: currency server oteldemo.CurrencyService/" in reason
    assert "Nothing speaks for the other " in out


def test_json_is_the_contracts(slow, tiny_artifact, capsys):
    found = answer(capsys, "--model", tiny_artifact, "--input", slow, "--since", "-15s", "--until", "-1s")
    assert list(found) == ["since", "until", "traces", "services"]
    assert found["since"] < found["until"]
    first = found["services"][0]
    assert first["service"] == "currency"
    assert first["instances"] == ["currency-0.shop"]
    scores = [one["score"] for one in found["services"]]
    assert scores == sorted(scores, reverse=True)
    evidence = first["evidence"][0]
    assert {"label", "type", "spans", "expected_ms", "observed_ms"} <= evidence.keys()
    assert evidence["type"] == "response_time"
    assert evidence["observed_ms"] > 5 * evidence["expected_ms"] > 0


def test_a_window_is_cut_by_when_traces_began(slow, tiny_artifact, capsys):
    shared = ("--model", tiny_artifact, "--input", slow)
    everything = answer(capsys, *shared)["traces"]
    at = "2023-11-14T22:13:35Z"
    before, after = (answer(capsys, *shared, bound, at) for bound in ("--until", "--since"))
    assert before["traces"] + after["traces"] == everything
    assert (before["until"], after["since"]) == (at, at)
    assert before["services"][0]["score"] < 1 < after["services"][0]["score"]


def test_nothing_stands_out_in_normal_traffic(normal, tiny_artifact, capsys):
    code, out, _ = ran(capsys, "--model", tiny_artifact, "--input", normal)
    assert code == 0
    assert "No service stands out." in out


def test_a_reference_takes_the_place_of_the_models_state(slow, normal, tiny_artifact, capsys):
    shared = ("--model", tiny_artifact, "--input", slow, "--since", "-15s")
    code, out, _ = ran(capsys, *shared, "--reference", normal)
    assert code == 0
    assert " traces of the reference" in out.splitlines()[0]
    assert "1. currency, score " in out


def test_of_a_reference_that_holds_the_window_the_rest_is_used(slow, tiny_artifact, capsys):
    shared = ("--model", tiny_artifact, "--input", slow, "--reference", slow)
    found = answer(capsys, *shared, "--since", "2023-11-14T22:13:35Z")
    assert found["services"][0]["service"] == "currency"
    assert found["services"][0]["score"] > 1
    everything = answer(capsys, *shared)  # compared with itself
    assert everything["services"][0]["score"] < 1
    code, _, err = ran(capsys, *shared, "--since", "2023-01-01T00:00:00Z")
    assert code == 1
    assert "none that lies outside the window" in err


def test_several_files_and_folders(slow, tiny_artifact, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(slow.read_bytes())
    shared = ("--model", tiny_artifact, "--input", folder)
    assert answer(capsys, *shared, "--input", slow)["traces"] == 2 * answer(capsys, *shared)["traces"]


def test_a_window_without_traces_is_said_and_fails(slow, tiny_artifact, capsys):
    shared = ("--model", tiny_artifact, "--input", slow)
    code, out, err = ran(capsys, *shared, "--since", "2030-01-01T00:00:00Z", "--until", "2031-01-01T00:00:00+01:00")
    assert (code, out) == (1, "")
    assert "no trace began from 2030-01-01T00:00:00Z and before 2030-12-31T23:00:00Z" in err
    assert str(slow) in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "neither a time"),
        (("--since", "-1s", "--until", "-10s"), "no trace can lie between"),
        (("--format", "xml"), "xml"),
    ],
)
def test_wrong_usage(arguments, said, slow, tiny_artifact, capsys):
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", slow, *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_unknown_traffic_is_warned_of(tiny_artifact, tmp_path, capsys):
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from otel_tracead.wire.batch import Envelope, SpanBatch

    span = Span(trace_id=b"1" * 16, span_id=b"1" * 8, name="strange", start_time_unix_nano=10**18)
    path = tmp_path / "strange.pb"
    with TraceFileWriter(path) as writer:
        writer.write(SpanBatch([(Envelope(b"", b"", {}), [span.SerializeToString()])]))
    code, out, err = ran(capsys, "--model", tiny_artifact, "--input", path)
    assert code == 0
    assert "No service stands out." in out
    assert err.startswith("warning: 100% of the spans have labels of which nothing is known")


def test_a_real_fault_is_traced_to_its_service(trace_data, tiny_artifact, capsys):
    """A network delay at cartservice, against three normal minutes of another time of day."""
    folder = trace_data / "online_boutique"
    fault = next(
        one for one in json.loads((folder / "faults.json").read_text())["faults"] if "0428.jsonl.gz" in one["files"]
    )
    reference = [("--reference", folder / name) for name in ("0353.jsonl.gz", "0543.jsonl.gz", "0726.jsonl.gz")]
    arguments = [part for pair in reference for part in pair]
    found = answer(capsys, "--model", tiny_artifact, "--input", folder / "0428.jsonl.gz", *arguments)
    assert found["services"][0]["service"] == fault["service"] == "cartservice"
    assert found["services"][0]["instances"] == [fault["pod"]]
