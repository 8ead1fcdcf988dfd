import time
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from span_builders import ENVELOPES, encoded, trace_id
from tracead_stage import Stage, until

from otel_tracead import metrics
from otel_tracead.component import Kind, Settings
from otel_tracead.processors.tracead.recording import RecordBounds, Recorder, reduced_span
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes, decode_request


def attribute(key: str, text: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=text))


SPAN = Span(
    trace_id=b"\1" * 16,
    span_id=b"\2" * 8,
    parent_span_id=b"\3" * 8,
    trace_state="secret=1",
    name="GET /cart",
    kind=Span.SPAN_KIND_SERVER,
    start_time_unix_nano=5,
    end_time_unix_nano=9,
    attributes=[attribute("http.route", "/cart"), attribute("user.email", "secret"), attribute("tracead.late", "x")],
    events=[Span.Event(name="secret")],
    links=[Span.Link(trace_id=b"\4" * 16)],
    status=Status(code=Status.STATUS_CODE_ERROR, message="secret"),
)


def settings() -> Settings:
    return Settings(id="tracead", kind=Kind.PROCESSOR)


def trace(number: int, spans: int = 3) -> Trace:
    return Trace(trace_id(number), [encoded(number, n) for n in range(1, spans + 1)], [ENVELOPES[0]] * spans)


def recorded(folder: Path) -> list[bytes]:
    return [span for path in sorted(folder.glob("*.pb.zst")) for _, b in read_file(path) for _, span in b]


def test_only_what_labels_and_times_need_is_kept():
    assert Span.FromString(reduced_span(SPAN.SerializeToString())) == Span(
        trace_id=b"\1" * 16,
        span_id=b"\2" * 8,
        parent_span_id=b"\3" * 8,
        name="GET /cart",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=5,
        end_time_unix_nano=9,
        attributes=[attribute("http.route", "/cart")],
        status=Status(code=Status.STATUS_CODE_ERROR),
    )


def test_an_attribute_of_an_unusual_layout_is_read_too():
    value_first = Span(attributes=[attribute("http.route", "/")]).SerializeToString()
    pair = (
        KeyValue(value=AnyValue(string_value="/")).SerializeToString() + KeyValue(key="http.route").SerializeToString()
    )
    span = b"\x4a" + bytes([len(pair)]) + pair
    assert Span.FromString(reduced_span(span)) == Span.FromString(value_first)


def test_resources_are_reduced_and_scopes_left_out(tmp_path):
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(attributes=[attribute("service.name", "cart"), attribute("process.owner", "secret")]),
                scope_spans=[ScopeSpans(scope=InstrumentationScope(name="secret"), spans=[SPAN])],
                schema_url="secret",
            )
        ]
    )
    ((envelope, span),) = decode_request(request.SerializeToString(), Envelopes())
    recorder = Recorder(tmp_path, settings())
    recorder.offer(Trace(b"\1" * 16, [span], [envelope]))
    recorder.close()
    (path,) = tmp_path.iterdir()
    ((found, kept),) = next(read_file(path))[1]
    assert found.attributes == {"service.name": "cart"}
    assert b"secret" not in found.resource + found.scope + kept


def test_files_rotate_and_the_oldest_are_deleted(tmp_path):
    bounds = RecordBounds(message_spans=3, file_bytes=1, total_bytes=600)
    recorder = Recorder(tmp_path, settings(), bounds)
    for number in range(30):
        recorder.offer(trace(number))
    recorder.close()
    files = list(tmp_path.iterdir())
    assert 1 <= len(files) < 10
    assert sum(path.stat().st_size for path in files) <= 600
    assert recorded(tmp_path)[-3:] == trace(29).spans


def test_a_folder_that_cannot_be_written_costs_no_span(tmp_path):
    (tmp_path / "file").touch()
    given = settings()
    recorder = Recorder(tmp_path / "file", given)
    recorder.offer(trace(1))
    recorder.close()
    assert given.telemetry.value(metrics.TRACES_NOT_RECORDED, "tracead") == 1


def test_what_comes_too_fast_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("otel_tracead.processors.tracead.recording.Reducer.__call__", lambda *_: time.sleep(0.2))
    given = settings()
    recorder = Recorder(tmp_path, given, RecordBounds(waiting_spans=6, message_spans=1))
    for number in range(5):
        recorder.offer(trace(number))
    assert given.telemetry.value(metrics.TRACES_NOT_RECORDED, "tracead") == 3
    recorder.close(timeout=0.01)


async def test_the_processor_records_what_it_releases(tmp_path):
    async with Stage(record=str(tmp_path / "traffic")) as stage:
        spans = [encoded(trace, n) for trace in range(4) for n in range(1, 4)]
        await stage.send(*spans)
        await until(lambda: len(stage.backend.got) == 12)
    assert sorted(recorded(tmp_path / "traffic")) == sorted(spans)


async def test_a_record_that_fails_does_not_hold_the_spans(tmp_path):
    (tmp_path / "file").touch()
    async with Stage(record=str(tmp_path / "file")) as stage:
        await stage.send(encoded(1, 1))
        await until(lambda: len(stage.backend.got) == 1)
