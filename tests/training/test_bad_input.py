"""Training on traffic that is poor but real: a model that says what it cannot, and none that is useless in silence."""

from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tiny_model import shop_traces

from otel_tracead.artifact import folder
from otel_tracead.cli import invoke
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter

pytestmark = pytest.mark.train
pytest.importorskip("torch", reason="training needs the extra `train` (make test-peers)")

MILLISECOND = 1_000_000
QUICK = "training: {steps: 40, folds: 2, device: cpu}\nmodel: {label_units: 8, time_units: 8}\n"


def whole_milliseconds(span: Span) -> None:
    span.start_time_unix_nano -= span.start_time_unix_nano % MILLISECOND
    span.end_time_unix_nano -= span.end_time_unix_nano % MILLISECOND


def all_alike(span: Span) -> None:
    span.name, span.kind = "work", Span.SPAN_KIND_INTERNAL
    span.end_time_unix_nano = span.start_time_unix_nano + 5 * MILLISECOND
    span.ClearField("attributes")
    span.ClearField("status")


def trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Span], None], **scenario: float
) -> str:
    """Train on changed traffic of the shop and give what the terminal said."""
    with TraceFileWriter(tmp_path / "in.pb") as writer:
        for trace in shop_traces(seed=51, **scenario):
            spans = [Span.FromString(encoded) for encoded in trace.spans]
            for span in spans:
                change(span)
            envelopes = trace.envelopes if change is whole_milliseconds else [SHOP.envelopes[0]] * len(spans)
            writer.write(group(envelopes, [span.SerializeToString() for span in spans]))
    (tmp_path / "quick.yaml").write_text(QUICK)
    files = ["--input", str(tmp_path / "in.pb"), "--output", str(tmp_path / "model")]
    assert invoke(["train", *files, "--config", str(tmp_path / "quick.yaml")]) == 0
    output = capsys.readouterr()
    return output.out + output.err


SHOP = shop_traces(seed=1, duration_s=1.0)[0]


def test_whole_milliseconds_and_durations_of_nothing_are_normal_input(tmp_path, capsys) -> None:
    said = trained(tmp_path, capsys, whole_milliseconds, duration_s=60.0)
    card = folder.load(tmp_path / "model").manifest.report_card
    assert card.passed or card.reasons
    assert ("The report card is passed." in said) == card.passed
    # Floors that a detector which guesses fails by far: it would find 1 %, at an AUC of 0.5.
    assert card.figures["auc"] > 0.85
    # A network of forty steps hardly knows what is long, so stalls have a lower floor.
    for kind, floor in {"replaced": 0.5, "extra": 0.5, "swapped": 0.5, "stall": 0.25}.items():
        assert card.figures[f"recall_{kind}"] > floor, kind


def test_one_label_and_equal_times_are_said_in_the_terminal_and_on_the_card(tmp_path, capsys) -> None:
    said = trained(tmp_path, capsys, all_alike, duration_s=8.0)
    manifest = folder.load(tmp_path / "model").manifest
    card = manifest.report_card
    assert manifest.training["labels"] == 1
    report = (tmp_path / "model" / folder.REPORT).read_text(encoding="utf-8")
    for sentence in ("All spans have one label", "All spans take the same time, 5 ms"):
        assert f"warning: {sentence}" in said
        assert any(sentence in word for word in card.words)
        assert sentence in report
    weak = [word for word in card.words if word.startswith("It finds few of ")]
    assert weak or not card.passed, "a model that finds few anomalies says so"
    assert "recall_replaced" not in card.figures, "there is no other label to put in its place"
