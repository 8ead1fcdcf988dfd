import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otel_tracead_exporters.debug import FACTORY, DebugConfig
from otel_tracead_exporters.debug.sender import Sampling
from pydantic import ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.wire.attributes import append_attributes, encode_attribute
from otel_tracead.wire.batch import Envelope, SpanBatch


def marked() -> SpanBatch:
    span = Span(trace_id=bytes(15) + b"\x01", span_id=b"12345678", name="a\x1b[2J", kind=2)
    span.attributes.add(key="k").value.string_value = "v\n"
    span.events.add(name="event").attributes.add(key="x").value.int_value = 3
    span.links.add(trace_id=bytes(16), span_id=bytes(8))
    verdict = encode_attribute("tracead.trace.anomalous", True) + encode_attribute("tracead.anomaly.detected", True)
    anomalous = append_attributes(span.SerializeToString(), verdict)
    span.trace_id = bytes(15) + b"\x02"
    normal = append_attributes(span.SerializeToString(), encode_attribute("tracead.trace.anomalous", False))
    return SpanBatch([(Envelope(b"", b"", {"service.name": "shop"}), [anomalous, normal])])


async def export(batches: int, **written) -> list[dict]:
    logs = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
    exporter = FACTORY.build(
        DebugConfig.model_validate(written), Settings(id="debug", kind=Kind.EXPORTER, logger=logger), None
    )
    await exporter.start()
    for _ in range(batches):
        exporter.admit(2)
        await exporter.consume(Consignment(marked()))
    await exporter.shutdown()
    return logs.entries


async def test_basic_is_a_line_a_batch_and_a_sum() -> None:
    first, second, total = await export(2)
    counts = {"spans": 2, "anomalous_spans": 1, "anomalous_traces": 1, "log_level": "info"}
    assert first == second == {"event": "traces", "traces": 2, **counts}
    assert total == {**counts, "event": "traces in all", "spans": 4, "anomalous_spans": 2, "anomalous_traces": 2}


async def test_nothing_went_by_nothing_is_said() -> None:
    assert await export(0) == []


async def test_normal_is_a_line_a_span() -> None:
    lines = (await export(1, verbosity="normal"))[1]["event"].splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("a\\x1b[2J 00000000000000000000000000000001 3132333435363738 k=v\\n tracead.")


async def test_detailed_is_everything() -> None:
    text = (await export(1, verbosity="detailed"))[1]["event"]
    for part in (
        "service.name: shop",
        "Trace ID       : 0000",
        "SPAN_KIND_SERVER",
        "k: v\\n",
        "Event #0: event",
        "Link #0",
    ):
        assert part in text
    assert "\x1b" not in text


async def test_sampling_holds_back() -> None:
    entries = await export(100, sampling_initial=1, sampling_thereafter=50)
    assert 3 <= len(entries) <= 10
    assert entries[-1]["spans"] == 200


def test_sampling_begins_anew_each_second() -> None:
    sampling = Sampling(2, 3)
    assert [sampling.passes(1.0) for _ in range(8)] == [True, True, False, False, True, False, False, True]
    assert sampling.passes(2.0)


async def test_without_the_internal_logger_it_goes_to_the_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert await export(1, use_internal_logger=False, output_paths=["stdout", "stderr"]) == []
    out, err = capsys.readouterr()
    assert out == err
    assert out.splitlines() == [
        "traces traces=2 spans=2 anomalous_spans=1 anomalous_traces=1",
        "traces in all spans=2 anomalous_spans=1 anomalous_traces=1",
    ]


@pytest.mark.parametrize("written", [{"verbosity": "loud"}, {"sampling_initial": 0}, {"output_paths": ["/etc/x"]}])
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        DebugConfig.model_validate(written)
