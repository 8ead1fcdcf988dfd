import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otel_tracead_exporters.otlp_grpc import FACTORY, OtlpGrpcConfig
from pydantic import ValidationError

from otel_tracead.metrics import EXPORTER_REJECTED
from tests.contract.exporter_contract import ExporterContract, Running
from tests.exporters.backends import GrpcBackend


class TestOtlpGrpc(ExporterContract):
    factory = FACTORY

    def make_backend(self):
        return GrpcBackend()

    def config(self, endpoint):
        return {"endpoint": endpoint, "tls": {"insecure": True}, "headers": {"X-Api-Key": "hunter2"}}

    async def test_headers_and_compression(self, running: Running) -> None:
        await running.put("a")
        await running.until_settled(1)
        assert running.backend.metadata[0]["x-api-key"] == "hunter2"

    async def test_partial_success_is_counted_and_not_sent_again(self, running: Running) -> None:
        response = ExportTraceServiceResponse()
        response.partial_success.rejected_spans = 2
        response.partial_success.error_message = "too old"
        running.backend.response = response.SerializeToString()
        await running.put("a", "b", "c")
        await running.until_settled(1)
        assert running.value(EXPORTER_REJECTED) == 2
        assert len(running.backend.times) == 1
        running.backend.response = b"\xff garbage"
        await running.put("d")
        await running.until_settled(2)

    async def test_what_is_larger_than_servers_take_is_cut(self, running: Running) -> None:
        names = [str(number).zfill(4) + "x" * 100_000 for number in range(100)]
        await running.put(*names)
        await running.until_settled(1)
        assert running.names == names
        assert 3 <= len(running.backend.times) <= 4


@pytest.mark.parametrize(
    ("endpoint", "insecure", "target", "plain"),
    [
        ("backend:4317", False, "backend:4317", False),
        ("backend:4317", True, "backend:4317", True),
        ("http://backend:4317", False, "backend:4317", True),
        ("https://backend:4317/", True, "backend:4317", False),
        ("dns:///backend:4317", False, "dns:///backend:4317", False),
        ("[::1]:4317", False, "[::1]:4317", False),
    ],
)
def test_the_scheme_decides_about_tls(endpoint: str, insecure: bool, target: str, plain: bool) -> None:
    config = OtlpGrpcConfig.model_validate({"endpoint": endpoint, "tls": {"insecure": insecure}})
    assert (config.target, config.insecure) == (target, plain)
    assert config.compression == "gzip"
    assert config.timeout == 5


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"endpoint": ""},
        {"endpoint": "backend"},
        {"endpoint": "http://backend"},
        {"endpoint": "a:1", "compression": "snappy"},
        {"endpoint": "a:1", "tls": {"min_version": "1.1"}},
        {"endpoint": "a:1", "tls": {"cert_file": "x"}},
        {"endpoint": "a:1", "headers": {"no spaces": "x"}},
    ],
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        OtlpGrpcConfig.model_validate(written)
