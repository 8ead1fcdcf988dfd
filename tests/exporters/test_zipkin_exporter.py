import pytest
from otel_tracead_exporters.zipkin import FACTORY, ZipkinConfig
from pydantic import ValidationError

from tests.contract.exporter_contract import ExporterContract, Refusal, Running
from tests.exporters.backends import HttpBackend


class TestZipkin(ExporterContract):
    factory = FACTORY
    hint = 1.0

    def make_backend(self):
        return HttpBackend()

    def config(self, endpoint):
        return {"endpoint": f"{endpoint}/api/v2/spans"}

    async def test_what_a_request_looks_like(self, running: Running) -> None:
        await running.put("a")
        await running.until_settled(1)
        request = running.backend.requests[0]
        assert request["path"] == "/api/v2/spans"
        assert request["Content-Type"] == "application/json"
        assert "Content-Encoding" not in request

    async def test_compressed(self, backend) -> None:
        running = await self.run(backend, compression="gzip")
        await running.put("a")
        await running.exporter.shutdown()
        assert (running.names, backend.requests[0]["Content-Encoding"]) == (["a"], "gzip")

    async def test_a_storage_that_is_away_is_waited_for(self, running: Running) -> None:
        running.backend.transient = 500
        running.backend.refusals += [Refusal("transient")]
        await running.put("a")
        await running.until_settled(1)
        assert running.names == ["a"]


class TestZipkinProtobuf(ExporterContract):
    factory = FACTORY
    hint = 1.0

    def make_backend(self):
        return HttpBackend()

    def config(self, endpoint):
        return {"endpoint": f"{endpoint}/api/v2/spans", "format": "proto"}

    async def test_what_a_request_looks_like(self, running: Running) -> None:
        await running.put("a")
        await running.until_settled(1)
        assert running.backend.requests[0]["Content-Type"] == "application/x-protobuf"


@pytest.mark.parametrize("written", [{}, {"endpoint": "localhost:9411"}, {"endpoint": "http://a", "format": "thrift"}])
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        ZipkinConfig.model_validate(written)
