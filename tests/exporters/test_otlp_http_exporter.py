import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otel_tracead_exporters.otlp_http import FACTORY, OtlpHttpConfig
from pydantic import ValidationError

from otel_tracead.metrics import EXPORTER_REJECTED
from tests.contract.exporter_contract import ExporterContract, Running
from tests.exporters.backends import HttpBackend


class OtlpHttpContract(ExporterContract):
    factory = FACTORY
    hint = 1.0
    encoding: str
    content_type: str
    partial: bytes

    def make_backend(self):
        return HttpBackend()

    def config(self, endpoint):
        return {"endpoint": endpoint, "encoding": self.encoding, "headers": {"X-Api-Key": "hunter2"}}

    async def test_what_a_request_looks_like(self, running: Running) -> None:
        await running.put("a")
        await running.until_settled(1)
        request = running.backend.requests[0]
        assert request["path"] == "/v1/traces"
        assert request["X-Api-Key"] == "hunter2"
        assert request["Content-Type"] == self.content_type
        assert request["Content-Encoding"] == "gzip"
        assert request["User-Agent"].startswith("otel-tracead/")

    async def test_partial_success_is_counted_and_not_sent_again(self, running: Running) -> None:
        running.backend.response = lambda: web.Response(body=self.partial, content_type=self.content_type)
        await running.put("a", "b", "c")
        await running.until_settled(1)
        assert running.value(EXPORTER_REJECTED) == 2
        assert len(running.backend.times) == 1

    async def test_an_endless_or_strange_answer_does_no_harm(self, running: Running) -> None:
        for body in (b"x" * 10_000_000, b"\xff\x00", b"[]", b"{}"):
            running.backend.response = lambda body=body: web.Response(body=body, content_type=self.content_type)
            await running.put("a")
        await running.until_settled(4)
        assert running.value(EXPORTER_REJECTED) == 0

    async def test_a_redirect_is_not_followed(self, running: Running) -> None:
        running.backend.response = lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"})
        await running.put("a")
        await running.until_settled(1)
        assert len(running.backend.times) == 1


class TestProtobuf(OtlpHttpContract):
    encoding = "proto"
    content_type = "application/x-protobuf"
    partial = ExportTraceServiceResponse(
        partial_success={"rejected_spans": 2, "error_message": "too old"}
    ).SerializeToString()


class TestJson(OtlpHttpContract):
    encoding = "json"
    content_type = "application/json"
    partial = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}'


def test_where_requests_go() -> None:
    def url(**written: str) -> str:
        return OtlpHttpConfig.model_validate(written).url

    assert url(endpoint="http://a:4318") == "http://a:4318/v1/traces"
    assert url(endpoint="https://a/base/") == "https://a/base/v1/traces"
    assert url(endpoint="http://a:4318", traces_endpoint="http://b/in") == "http://b/in"
    assert OtlpHttpConfig(endpoint="http://a").timeout == 30


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"endpoint": "a:4318"},
        {"endpoint": "ftp://a"},
        {"endpoint": "http://"},
        {"endpoint": "http://a:99999"},
        {"endpoint": "http://a", "encoding": "xml"},
        {"endpoint": "http://a", "headers": {"a\nb": "x"}},
    ],
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        OtlpHttpConfig.model_validate(written)
