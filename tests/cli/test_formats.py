"""Every format of a trace file, plain and compressed, through the commands that read traces: the same traces, the same words."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from tiny_model import learned, shop_traces, write_artifact

from otel_tracead.cli import invoke
from otel_tracead.cli.model_options import sources
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.reading import TraceFile, read_traces
from otel_tracead.traces.sequences import Order
from otel_tracead.training.reading import read
from otel_tracead.wire import otlp, otlp_json, zipkin
from otel_tracead.wire.batch import SpanBatch, concatenate, group

_KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


def _request(batch: SpanBatch) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(otlp.encode_request(batch))


def _whole_microseconds(batch: SpanBatch) -> SpanBatch:
    """Make the times ones that every format can say."""
    request = _request(batch)
    for span in (span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans):
        span.start_time_unix_nano -= span.start_time_unix_nano % 1000
        span.end_time_unix_nano -= span.end_time_unix_nano % 1000
    return otlp.decode_request(request.SerializeToString(), otlp.Envelopes())


def _tag(pair: KeyValue) -> dict[str, Any]:
    types = {"int_value": "int64", "bool_value": "bool", "double_value": "float64"}
    kind = str(pair.value.WhichOneof("value"))
    value = getattr(pair.value, kind) if kind in types else pair.value.string_value
    return {"key": pair.key, "type": types.get(kind, "string"), "value": value}


def _jaeger(batch: SpanBatch) -> dict[str, Any]:
    """A trace as Jaeger's API has it; written here, since otel-tracead reads this format only."""
    processes: dict[str, Any] = {}
    spans = []
    for number, one in enumerate(_request(batch).resource_spans):
        tags = {pair.key: pair.value.string_value for pair in one.resource.attributes}
        processes[f"p{number}"] = {
            "serviceName": tags.pop("service.name"),
            "tags": [{"key": key, "type": "string", "value": value} for key, value in tags.items()],
        }
        for span in (span for scope in one.scope_spans for span in scope.spans):
            said = [_tag(pair) for pair in span.attributes]
            said.append({"key": "span.kind", "type": "string", "value": _KINDS[span.kind]})
            if span.status.code == 2:
                said.append({"key": "error", "type": "bool", "value": True})
            parent = {"refType": "CHILD_OF", "traceID": span.trace_id.hex(), "spanID": span.parent_span_id.hex()}
            spans.append(
                {
                    "traceID": span.trace_id.hex(),
                    "spanID": span.span_id.hex(),
                    "operationName": span.name,
                    "references": [parent] if span.parent_span_id else [],
                    "startTime": span.start_time_unix_nano // 1000,
                    "duration": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
                    "tags": said,
                    "logs": [],
                    "processID": f"p{number}",
                }
            )
    return {"traceID": spans[0]["traceID"], "spans": spans, "processes": processes}


def _framed(batches: list[SpanBatch]) -> bytes:
    messages = [otlp.encode_request(batch) for batch in batches]
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def _zipkin(batches: list[SpanBatch]) -> list[Any]:
    return [orjson.loads(zipkin.encode_spans(batch)) for batch in batches]


FORMATS: dict[str, Callable[[list[SpanBatch]], bytes]] = {
    "otlp.jsonl": lambda batches: b"".join(otlp_json.encode_request(batch) + b"\n" for batch in batches),
    "otlp.json": lambda batches: orjson.dumps(
        orjson.loads(otlp_json.encode_request(concatenate(batches))), option=orjson.OPT_INDENT_2
    ),
    "framed.pb": _framed,
    "plain.pb": lambda batches: otlp.encode_request(concatenate(batches)),
    "zipkin.json": lambda batches: zipkin.encode_spans(concatenate(batches)),
    "zipkin_traces.json": lambda batches: orjson.dumps(_zipkin(batches)),
    "zipkin_lines.jsonl": lambda batches: b"".join(
        orjson.dumps(span) + b"\n" for spans in _zipkin(batches) for span in spans
    ),
    "zipkin_lists.jsonl": lambda batches: b"".join(orjson.dumps(spans) + b"\n" for spans in _zipkin(batches)),
    "jaeger.json": lambda batches: orjson.dumps({"data": list(map(_jaeger, batches)), "total": 0, "errors": None}),
    "jaeger_lines.jsonl": lambda batches: b"".join(orjson.dumps(_jaeger(batch)) + b"\n" for batch in batches),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
}


@pytest.fixture(scope="module")
def batches() -> list[SpanBatch]:
    """Traces of the shop, one a batch."""
    return [_whole_microseconds(group(trace.envelopes, trace.spans)) for trace in shop_traces(seed=31, duration_s=4.0)]


@pytest.fixture(scope="module")
def folder(batches: list[SpanBatch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each format and compression."""
    place = tmp_path_factory.mktemp("formats")
    for name, write in FORMATS.items():
        content = write(batches)
        for ending, compress in COMPRESSIONS.items():
            (place / f"{name}{ending}").write_bytes(compress(content))
    return place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of this shop."""
    path = tmp_path_factory.mktemp("model") / "shop"
    write_artifact(path, learned(shop_traces(seed=32, duration_s=40.0)))
    return path


def _sequences(paths: list[Path]) -> list[tuple[Any, ...]]:
    """What a model sees of the traces of files, in words and in the order of the traces' ids."""
    traces = sorted(read_traces(sources(tuple(map(str, paths)))), key=lambda trace: trace.trace_id)
    events = Encoder(LabelTemplate()).encode(traces)
    columns = (events.trace, events.label, events.self_us, events.duration_us, events.start, events.parent)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [(trace, events.labels[label], *rest) for trace, label, *rest in rows]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_the_same_traces_come_out_of_every_format(name, compression, folder, batches) -> None:
    found = _sequences([folder / f"{name}{compression}"])
    assert len(found) == sum(map(len, batches))
    assert found == _sequences([folder / "framed.pb"])


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_learned_from_is_the_same(name, folder) -> None:
    def reading(path: Path) -> Any:
        settings: dict[str, Any] = {"max_spans": 10**6, "progress": lambda _share: None}
        return read([TraceFile(path)], LabelTemplate(), Order.TREE, **settings)

    one, other = reading(folder / name), reading(folder / "framed.pb")
    assert (one.traces, one.spans) == (other.traces, other.spans)
    assert one.events.labels == other.events.labels
    assert np.sort(one.events.self_us).tolist() == np.sort(other.events.self_us).tolist()


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = invoke([str(one) for one in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.mark.parametrize("name", FORMATS)
def test_commands_say_the_same_of_every_format(name, folder, model, tmp_path, capsys) -> None:
    said = []
    for path in (folder / f"{name}.gz", folder / "framed.pb"):
        code, ranked, err = ran(capsys, "rank", "--model", model, "--input", path, "--format", "json")
        assert (code, err) == (0, "")
        output = tmp_path / "out.jsonl"
        code, out, counts = ran(capsys, "score", "--model", model, "--input", path, "--output", output)
        assert (code, out) == (0, "")
        said.append((json.loads(ranked), counts))
    assert said[0] == said[1]


@pytest.fixture
def mixed(folder: Path, tmp_path: Path) -> Path:
    """A folder with three trace files, deep inside, and with other things."""
    place = tmp_path / "mixed"
    (place / "deep" / "deeper").mkdir(parents=True)
    for path, name in (("a.json", "jaeger.json"), ("deep/b.pb.zst", "framed.pb.zst"), ("deep/deeper/c", "plain.pb")):
        (place / path).write_bytes((folder / name).read_bytes())
    (place / "deep" / "d.jsonl.gz").write_bytes((folder / "zipkin_lines.jsonl.gz").read_bytes())
    (place / "faults.json").write_text('{"faults": []}')
    (place / "README.md").write_text("# Traces\n")
    (place / ".hidden.jsonl").write_text("no JSON")
    (place / "table.csv").write_text("a,b\n")
    return place


def test_of_a_folder_trace_files_are_read_and_other_things_are_not(mixed, batches) -> None:
    found = sources((str(mixed),))
    assert [str(one.path.relative_to(mixed)) for one in found] == ["a.json", "deep/b.pb.zst", "deep/d.jsonl.gz"]
    assert len(list(read_traces(found))) == 3 * len(batches)
    globbed = sources((str(mixed / "**/*.pb.zst"), str(mixed / "deep")))
    assert [one.path.name for one in globbed] == ["b.pb.zst", "d.jsonl.gz"], "each once"
    assert [one.path.name for one in sources((str(mixed / "deep/deeper/c"),))] == ["c"], "what is named is read"


COMMANDS = {
    "score": ("--model", "MODEL", "--output", "OUT"),
    "check": ("--model", "MODEL"),
    "rank": ("--model", "MODEL"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("b.jsonl", b'{"resourceSpans":[]}\n{"resourceSpans":[{]}\n', r"b.jsonl:2: not valid JSON"),
        ("b.json", b'[\n{"traceId":"1","id":"1"},\n{"traceId":"1"}\n]', r"b.json:3: not a valid Zipkin v2 span"),
        ("b.pb", b"\x00\x00\x00\x02\x0a\x00\x00\x00", r"b.pb:byte 6: ends in the middle"),
        (
            "b.jsonl.gz",
            gzip.compress(b'{"resourceSpans":[]}\n' * 9, mtime=0)[:-9],
            r"b.jsonl.gz:\d+: damaged or cut after here",
        ),
        ("b.json", b"", r"b.json:1: the file is empty"),
    ],
    ids=["JSON lines", "JSON document", "protobuf", "compressed", "empty"],
)
def test_a_broken_file_in_the_middle_of_a_folder(command, name, content, said, folder, model, tmp_path, capsys) -> None:
    place = tmp_path / "in"
    place.mkdir()
    for letter in "ac":
        (place / f"{letter}.pb").write_bytes((folder / "framed.pb").read_bytes())
    (place / name).write_bytes(content)
    rest = [{"MODEL": model, "OUT": tmp_path / "out.pb"}.get(one, one) for one in COMMANDS[command]]
    code, out, err = ran(capsys, command, "--input", place, *rest)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {place}/b")
    assert re.search(said, err)
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"], "no half output"


@pytest.mark.parametrize("command", COMMANDS)
def test_files_without_spans(command, model, tmp_path, capsys) -> None:
    """No trace is nothing to rank or to check; to score it is no work."""
    (tmp_path / "none.json").write_text("[]")
    rest = [{"MODEL": model, "OUT": tmp_path / "out.pb"}.get(one, one) for one in COMMANDS[command]]
    code, _, err = ran(capsys, command, "--input", tmp_path / "none.json", *rest)
    assert code == (0 if command == "score" else 1)
    assert ("0 spans, 0 traces" if command == "score" else "no trace") in err
