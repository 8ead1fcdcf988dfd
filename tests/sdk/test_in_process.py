"""Scored by the real SDK in this process: every span once, the verdicts of `score`, and never a thread that waits."""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags, TraceState, set_span_in_context

from otel_tracead import metrics
from otel_tracead.detection.detector import load_detector
from otel_tracead.detection.offline import OfflineStage
from otel_tracead.errors import ArtifactError
from otel_tracead.generator import standard_faults
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.sdk import TraceadSpanExporter, TraceadSpanProcessor
from otel_tracead.sdk import stage as stage_module
from otel_tracead.sdk.stage import NAME, Stage
from otel_tracead.traces.offline import gather
from otel_tracead.wire.files import expand, read_file
from tests.contract.receiver_contract import until
from tests.sdk.replay import Application, as_batch, own
from tests.source_tree import ROOT
from tests.tiny_model import shop_traces


@pytest.fixture(scope="module")
def shop():
    return shop_traces(seed=5, duration_s=8, faults=standard_faults(8, seed=3))


def remote_context(trace_id: int = 7, span_id: int = 9):
    state = TraceState([("vendor", "value")])
    return set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(1), state)))


def span_key(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


class Hanging(InMemorySpanExporter):
    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def export(self, spans):
        self.gate.wait(20)
        return super().export(spans)


def test_every_span_once_with_the_verdicts_of_score(shop, tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), annotate="all")
    sent = Application(processor).play(shop)
    assert processor.force_flush()
    found = exporter.get_finished_spans()
    assert len(found) == sent == len({span_key(span) for span in found})

    plain = InMemorySpanExporter()  # the same spans without a verdict, in the same order
    for span in found:
        bare = {key: value for key, value in span.attributes.items() if not key.startswith("tracead.")}
        span_without = ReadableSpan(
            span.name,
            span.context,
            span.parent,
            span.resource,
            bare,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        plain.export([span_without])
    from otel_tracead.detection.annotate import Mode

    stage = OfflineStage(load_detector(tiny_artifact, execution_provider="cpu"), mode=Mode.ALL)
    scored: dict[bytes, dict[str, Any]] = {}
    for batch in stage.annotate([as_batch(plain.get_finished_spans())]):
        for _, encoded in batch:
            span = ProtoSpan.FromString(encoded)
            scored[span.span_id] = {
                pair.key: plain_value(pair.value) for pair in span.attributes if "tracead." in pair.key
            }
    ours = {span.context.span_id.to_bytes(8, "big"): own(span) for span in found}
    assert ours == scored
    verdicts = Counter(attributes.get("tracead.trace.anomalous") for attributes in ours.values())
    assert verdicts[True] > 3
    assert verdicts[False] > 3
    assert any("tracead.trace.missing" in attributes for attributes in ours.values())
    processor.shutdown()


def plain_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return tuple(v.string_value for v in value.array_value.values) if kind == "array_value" else getattr(value, kind)


def test_what_gets_no_attribute_is_the_object_that_the_sdk_made_and_the_rest_of_a_marked_one_too(
    tiny_artifact: Path,
) -> None:
    seen: list[ReadableSpan] = []

    class Watching(TraceadSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            seen.append(span)
            super().on_end(span)

    exporter = InMemorySpanExporter()
    processor = Watching(exporter, model=str(tiny_artifact))
    tracer = Application(processor).provider("mine").get_tracer("library", "1.0", "https://schema", {"scope": "yes"})
    with tracer.start_as_current_span("root", remote_context(), links=[Link(remote_context_of(5))]) as root:
        for number in range(200):
            root.set_attribute(f"key{number}", number)
            root.add_event(f"event{number}", {"a": number})
        root.set_attribute("tracead.trace.anomalous", "somebody else's")
        with tracer.start_as_current_span("child"):
            pass
    processor.shutdown()
    child, whole = sorted(exporter.get_finished_spans(), key=lambda span: span.name)
    assert child is next(span for span in seen if span.name == "child")
    before = next(span for span in seen if span.name == "root")
    assert whole is not before
    assert own(whole) == {"tracead.unscored": "unknown_traffic"}
    assert isinstance(whole._attributes, BoundedAttributes)
    with pytest.raises(TypeError):
        whole._attributes["x"] = 1
    theirs = {key: value for key, value in before.attributes.items() if not key.startswith("tracead.")}
    assert {key: value for key, value in whole.attributes.items() if not key.startswith("tracead.")} == theirs
    assert len(theirs) == 127  # the SDK's limit of 128, of which one was spoofed: ours came on top
    for name in ("context", "parent", "resource", "instrumentation_scope", "status", "kind", "start_time", "end_time"):
        assert getattr(whole, name) is getattr(before, name) or getattr(whole, name) == getattr(before, name)
    assert (whole.events, whole.links) == (before.events, before.links)
    assert (whole.dropped_attributes, whole.dropped_events) == (before.dropped_attributes, before.dropped_events)
    assert whole.dropped_events == 72
    assert processor.telemetry.value(metrics.SPANS_SPOOFED, NAME) == 1


def remote_context_of(span_id: int) -> SpanContext:
    return SpanContext(3, span_id, True, TraceFlags(1))


def test_a_remote_parent_is_no_orphan_and_each_entry_a_trace_by_itself(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), unknown_labels=1.0)
    tracer = Application(processor).provider("mine").get_tracer("library")
    for entry in range(3):
        with (
            tracer.start_as_current_span(f"entry {entry}", remote_context(7, 9 + entry)),
            tracer.start_as_current_span("work"),
        ):
            pass
    processor.shutdown()
    verdicts = [span for span in exporter.get_finished_spans() if "tracead.trace.complete" in span.attributes]
    assert [(span.name, span.attributes["tracead.trace.complete"]) for span in verdicts] == [
        (f"entry {entry}", True) for entry in range(3)
    ]
    assert {span.parent.span_id for span in verdicts} == {9, 10, 11}  # still on the span itself


def test_an_unscored_reason_where_the_local_parent_has_not_ended(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), unknown_labels=1.0)
    tracer = Application(processor).provider("mine").get_tracer("library")
    with tracer.start_as_current_span("parent"):
        with tracer.start_as_current_span("child"):
            pass
        assert processor.force_flush()
        (child,) = exporter.get_finished_spans()
        assert child.attributes["tracead.trace.complete"] is False
    assert processor.force_flush()
    late = exporter.get_finished_spans()[-1]
    decision = "anomalous" if child.attributes["tracead.trace.anomalous"] else "normal"
    assert own(late) == {"tracead.late": True, "tracead.late_verdict": decision}
    assert processor.telemetry.value(metrics.SPANS_LATE, NAME) == 1
    processor.shutdown()


@pytest.mark.parametrize("sdk_processor", [BatchSpanProcessor, SimpleSpanProcessor])
def test_as_an_exporter_under_the_sdks_own_processors(sdk_processor, shop, tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    wrapped = TraceadSpanExporter(exporter, model=str(tiny_artifact))
    processor = sdk_processor(wrapped)
    sent = Application(processor).play(shop[:30])
    processor.shutdown()
    found = exporter.get_finished_spans()
    assert len({span_key(span) for span in found}) == len(found) == sent
    assert wrapped.telemetry.value(metrics.TRACES_SCORED, NAME) == 30
    assert exporter._stopped
    assert wrapped.export([found[0]]) is SpanExportResult.FAILURE


def test_released_by_the_clock_without_anybody_asking(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), wait_after_root="50ms")
    tracer = Application(processor).provider("mine").get_tracer("library")
    for number in range(3):  # busy, idle, busy again
        with tracer.start_as_current_span("root", remote_context(number + 1)):
            pass
        deadline = time.monotonic() + 5
        while len(exporter.get_finished_spans()) <= number:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
    releases = processor.telemetry.value(metrics.TRACES_RELEASED, NAME, "root")
    assert releases == 3
    processor.shutdown()


def test_spans_that_are_not_sampled_are_nobodys(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact))
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("x").start_span("y").end()
    provider.shutdown()
    assert exporter.get_finished_spans() == ()


def test_normal_traces_may_be_left_out(shop, tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), sampling={"normal_percentage": 0})
    sent = Application(processor).play(shop)
    processor.shutdown()
    found = exporter.get_finished_spans()
    assert 0 < len(found) < sent
    verdicts = [span for span in found if "tracead.trace.anomalous" in span.attributes]
    assert all(span.attributes["tracead.trace.anomalous"] for span in verdicts)
    assert processor.telemetry.value(metrics.SPANS_SAMPLED_OUT, NAME) == sent - len(found)


class BrokenDetector:
    def __init__(self, detector, judge) -> None:
        self.model = detector.model
        self.judge = judge


def broken_stage(tiny_artifact: Path, judge, exporter: SpanExporter, patience: float = 30.0) -> Stage:
    detector = load_detector(tiny_artifact, execution_provider="cpu")
    return Stage(exporter, TraceadConfig(), lambda: BrokenDetector(detector, judge), patience)


def a_span(number: int = 1, **changes: Any) -> ReadableSpan:
    context = SpanContext(number, number, False, TraceFlags(1))
    fields = {"name": "x", "context": context, "start_time": 1, "end_time": 2, "resource": Resource({})} | changes
    return ReadableSpan(**fields)


def test_scoring_that_fails_lets_spans_go(tiny_artifact: Path) -> None:
    def judge(traces, **_):
        raise RuntimeError("no")

    exporter = InMemorySpanExporter()
    stage = broken_stage(tiny_artifact, judge, exporter)
    assert stage.add(a_span())
    stage.shutdown()
    (found,) = exporter.get_finished_spans()
    assert own(found) == {"tracead.unscored": "error"}
    assert stage.telemetry.value(metrics.SCORING_FAILURES, NAME) == 1


def test_scoring_that_hangs_lets_spans_go_and_is_asked_again_once_it_is_back(tiny_artifact: Path) -> None:
    gate = threading.Event()
    detector = load_detector(tiny_artifact, execution_provider="cpu")

    def judge(traces, **_):
        gate.wait(20)
        return detector.judge(traces)

    exporter = InMemorySpanExporter()
    stage = broken_stage(tiny_artifact, judge, exporter, patience=0.05)
    for number in (1, 2):
        assert stage.add(a_span(number))
        assert stage.flush(10)
    assert [own(span) for span in exporter.get_finished_spans()] == [{"tracead.unscored": "timeout"}] * 2
    gate.set()
    stage._hanging.result(10)
    stage.add(a_span(3))
    stage.shutdown()
    assert own(exporter.get_finished_spans()[-1]) == {"tracead.unscored": "unknown_traffic"}
    assert stage.telemetry.value(metrics.SCORING_FAILURES, NAME) == 2


def test_a_span_that_cannot_be_read_goes_on(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    stage = broken_stage(tiny_artifact, None, exporter)
    strange = a_span(start_time="yesterday")
    stage.add(strange)
    stage.shutdown()
    assert exporter.get_finished_spans() == (strange,)


def test_spans_without_valid_ids_go_on(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    stage = broken_stage(tiny_artifact, None, exporter)
    stage.add(a_span(context=SpanContext(0, 0, False, TraceFlags(1))))
    stage.shutdown()
    (found,) = exporter.get_finished_spans()
    assert own(found) == {"tracead.unscored": "invalid_id"}


def test_an_exporter_that_hangs_makes_nobody_wait(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "_WAITING", 100)
    exporter = Hanging()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact))
    tracer = Application(processor).provider("mine").get_tracer("library")
    tracer.start_span("first").end()
    assert not processor.force_flush(100)
    started = time.monotonic()
    for _ in range(300):
        tracer.start_span("more").end()
    assert time.monotonic() - started < 2
    assert processor.telemetry.value(metrics.SPANS_DROPPED, NAME) == 200
    exporter.gate.set()
    processor.shutdown()
    assert len(exporter.get_finished_spans()) == 101


def test_an_exporter_that_fails_is_counted(tiny_artifact: Path) -> None:
    class Failing(SpanExporter):
        def export(self, spans):
            if len(spans) > 1:
                raise ConnectionError("away")
            return SpanExportResult.FAILURE

    processor = TraceadSpanProcessor(Failing(), model=str(tiny_artifact))
    tracer = Application(processor).provider("mine").get_tracer("library")
    tracer.start_span("one").end()
    assert processor.force_flush()
    tracer.start_span("two").end()
    tracer.start_span("three").end()
    processor.shutdown()
    assert processor.telemetry.value(metrics.SPANS_DROPPED, NAME) == 3


def test_shutdown_keeps_its_time(tiny_artifact: Path) -> None:
    exporter = Hanging()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact), shutdown_timeout="100ms")
    Application(processor).provider("mine").get_tracer("library").start_span("x").end()
    started = time.monotonic()
    processor.shutdown()
    processor.shutdown()
    assert time.monotonic() - started < 2
    assert not processor.force_flush()
    exporter.gate.set()


def test_many_threads(shop, tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=str(tiny_artifact))
    application = Application(processor)
    sent: list[int] = []
    threads = [threading.Thread(target=lambda n=n: sent.append(application.play(shop[n::4][:10]))) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        assert processor.force_flush()
    for thread in threads:
        thread.join()
    processor.shutdown()
    found = exporter.get_finished_spans()
    assert len({span_key(span) for span in found}) == len(found) == sum(sent)


def test_a_forked_child_scores_for_itself_and_the_parent_what_it_held(tiny_artifact: Path) -> None:
    command = [sys.executable, "-m", "tests.sdk.forked", str(tiny_artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    child, parent = map(json.loads, done.stdout.splitlines())
    assert child["flushed"] is True
    assert (child["child"]["found"], child["child"]["scored"]) == (child["child"]["played"], 4)
    assert parent["code"] == 0
    assert (parent["parent"]["found"], parent["parent"]["scored"]) == (parent["parent"]["played"], 10)


def test_recorded_traffic_is_what_a_model_can_be_trained_on(tmp_path: Path, tiny_artifact: Path) -> None:
    processor = TraceadSpanProcessor(InMemorySpanExporter(), model=str(tiny_artifact), record=str(tmp_path / "traffic"))
    tracer = Application(processor).provider("mine").get_tracer("library")
    for entry in range(3):
        with tracer.start_as_current_span("entry", remote_context(7, 9 + entry)), tracer.start_as_current_span("work"):
            pass
    processor.shutdown()
    traces = list(gather(batch for path in expand([str(tmp_path / "traffic")]) for _, batch in read_file(path)))
    assert [len(trace.spans) for trace in traces] == [2, 2, 2]
    roots = [[not ProtoSpan.FromString(span).parent_span_id for span in trace.spans].count(True) for trace in traces]
    assert roots == [1, 1, 1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "nowhere"}, ArtifactError),
        ({"wait_duration": 10}, ValueError),
        ({"waits": "10s"}, ValueError),
        ({"detection": {"false_positive_rate": 2}}, ValueError),
    ],
)
def test_what_is_wrong_is_said_at_once(options: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        TraceadSpanProcessor(InMemorySpanExporter(), **options)


async def test_the_exporters_flush_is_its_own(tiny_artifact: Path) -> None:
    exporter = InMemorySpanExporter()
    wrapped = TraceadSpanExporter(exporter, model=str(tiny_artifact))
    assert wrapped.export([a_span()]) is SpanExportResult.SUCCESS
    assert wrapped.force_flush()
    await until(lambda: len(exporter.get_finished_spans()) == 1)
    wrapped.shutdown(timeout_millis=1000)
