import gzip
import json
import struct
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
import zstandard
from click.testing import CliRunner, Result
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_tracead.cli.generate import command
from otel_tracead.errors import RetryableError
from otel_tracead.generator import Truth
from otel_tracead.generator.sinks import endpoint_sink

SHORT = ["--duration", "3s", "--start", "2026-01-31T12:00:00Z", "--seed", "5"]


def generate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [*SHORT, *map(str, arguments)])


def json_spans(text: bytes) -> list[dict]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [s for line in lines for r in line["resourceSpans"] for ss in r["scopeSpans"] for s in ss["spans"]]


def protobuf_spans(data: bytes) -> list:
    spans = []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        request = ExportTraceServiceRequest.FromString(data[4 : 4 + length])
        spans += [s for r in request.resource_spans for ss in r.scope_spans for s in ss.spans]
        data = data[4 + length :]
    return spans


def test_every_file_form_holds_the_same_spans(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.pb", "a.pb.gz", "a.pb.zst"):
        result = generate("--output", tmp_path / name)
        assert (result.exit_code, result.output) == (0, "")
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == plain
    with zstandard.open(tmp_path / "a.jsonl.zst") as file:
        assert file.read() == plain
    packed = (tmp_path / "a.pb").read_bytes()
    assert gzip.decompress((tmp_path / "a.pb.gz").read_bytes()) == packed
    with zstandard.open(tmp_path / "a.pb.zst") as file:
        assert file.read() == packed
    assert [s["spanId"] for s in json_spans(plain)] == [s.span_id.hex() for s in protobuf_spans(packed)]


def test_json_lines_are_otlp_json(tmp_path: Path) -> None:
    generate("--output", tmp_path / "a.jsonl")
    spans = json_spans((tmp_path / "a.jsonl").read_bytes())
    assert spans
    for span in spans:
        assert len(span["traceId"]) == 32
        assert span["traceId"] == span["traceId"].lower()
        assert isinstance(span["kind"], int)
        assert isinstance(span["startTimeUnixNano"], str)
        integers = (
            [a["value"]["intValue"] for a in span["attributes"] if "intValue" in a["value"]]
            if "attributes" in span
            else []
        )
        assert all(isinstance(value, str) for value in integers)


def test_faults_and_truth(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    result = generate(
        "--output", tmp_path / "a.pb", "--truth", truth, "--fault", "error:cart:1s:2s", "--standard-faults"
    )
    assert result.exit_code == 0
    found = Truth.from_json(truth.read_bytes())
    assert len(found.faults) == 10
    ids = {span.span_id for span in protobuf_spans((tmp_path / "a.pb").read_bytes())}
    assert found.traces
    assert {span_id for trace in found.traces for span_id in trace.span_ids} <= ids


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--output FILE or --endpoint URL"),
        (["--output", "a.csv"], "end in .jsonl or .pb"),
        (["--endpoint", "ftp://x"], "no OTLP gRPC endpoint"),
        (["--endpoint", "http://x/v1/traces"], "no OTLP gRPC endpoint"),
        (["--endpoint", "http://x:port"], "no OTLP gRPC endpoint"),
        (["--output", "a.pb", "--duration", "10"], "missing unit"),
        (["--output", "a.pb", "--duration", "-1s"], "longer than 0s"),
        (["--output", "a.pb", "--start", "yesterday"], "RFC 3339"),
        (["--output", "a.pb", "--start", "2026-01-31T12:00:00"], "RFC 3339"),
        (["--output", "a.pb", "--fault", "error:cart"], "has 2 parts"),
        (["--output", "a.pb", "--fault", "error:nowhere:1s:1s"], "no service 'nowhere'"),
        (["--output", "a.pb", "--rate", "-1"], "--rate"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_write(arguments: list[str], problem: str) -> None:
    result = generate(*arguments)
    assert result.exit_code == 2
    assert problem in result.output


def test_a_file_that_cannot_be_written_exits_1(tmp_path: Path) -> None:
    result = generate("--output", tmp_path / "missing" / "a.pb")
    assert result.exit_code == 1
    assert "missing" in result.output


class Backend(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.refusals: list[grpc.StatusCode] = []
        self.response = ExportTraceServiceResponse()

    def Export(self, request: ExportTraceServiceRequest, context: grpc.ServicerContext) -> ExportTraceServiceResponse:  # noqa: N802
        if self.refusals:
            context.abort(self.refusals.pop(0), "not now")
        self.requests.append(request)
        return self.response


@pytest.fixture
def backend() -> Iterator[tuple[Backend, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    servicer = Backend()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def test_an_endpoint_gets_what_a_file_gets_in_spite_of_backpressure(
    backend: tuple[Backend, str], tmp_path: Path
) -> None:
    servicer, endpoint = backend
    servicer.refusals = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    result = generate("--endpoint", endpoint, "--output", tmp_path / "a.pb", "--rate", "5000")
    assert (result.exit_code, result.output) == (0, "")
    sent = [s for q in servicer.requests for r in q.resource_spans for ss in r.scope_spans for s in ss.spans]
    assert sent == protobuf_spans((tmp_path / "a.pb").read_bytes())


def test_an_endpoint_that_refuses_for_good_exits_1(backend: tuple[Backend, str]) -> None:
    servicer, endpoint = backend
    servicer.refusals = [grpc.StatusCode.UNAUTHENTICATED]
    result = generate("--endpoint", endpoint)
    assert result.exit_code == 1
    assert "UNAUTHENTICATED: not now" in result.output


def test_rejected_spans_are_told(backend: tuple[Backend, str]) -> None:
    servicer, endpoint = backend
    servicer.response.partial_success.rejected_spans = 3
    servicer.response.partial_success.error_message = "too old"
    result = generate("--endpoint", endpoint)
    assert result.exit_code == 1
    assert "rejected 3 spans: too old" in result.output


def test_an_endpoint_where_nobody_listens_is_given_up() -> None:
    with endpoint_sink("localhost:1", give_up_s=0.0) as write, pytest.raises(RetryableError, match="--insecure"):
        write(b"")
