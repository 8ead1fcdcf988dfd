import aiohttp
import orjson
import pytest

from otel_tracead.receivers.otlp import FACTORY, OtlpReceiverConfig
from otel_tracead.status import Code
from otel_tracead.wire.rpc_status import RpcStatus
from tests.contract.receiver_contract import ReceiverContract, Running
from tests.receivers import samples
from tests.receivers.http_client import post


class OtlpHttpReceiverContract(ReceiverContract):
    factory = FACTORY
    transport = "http"
    limit = 1 << 16
    ok = 200
    invalid = 400
    too_large = 413
    unknown_encoding = 400
    backpressure = 503
    permanent = 500
    transient = 503
    content_type: str

    def config(self, endpoint):
        return {"protocols": {"http": {"endpoint": endpoint, "max_request_body_size": self.limit}}}

    def default_endpoint(self):
        return OtlpReceiverConfig.model_validate({"protocols": {"http": None}}).protocols.http.endpoint

    async def send(self, port, body, encoding="", compressed=None):
        url = f"http://127.0.0.1:{port}/v1/traces"
        reply, content_type, answer = await post(url, body, self.content_type, encoding, compressed)
        assert content_type == self.content_type
        if reply.status == 200:
            assert answer == self.success
        else:
            code, message = self.read_status(answer)
            assert message
            assert "/etc" not in message
            assert {400: 3, 413: 8, 500: 13, 503: 14}[reply.status] == code
        return reply

    async def test_media_types(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}/v1/traces"
        for wrong in ("text/plain", "application/grpc", "application/xml"):
            reply, content_type, _ = await post(url, self.body(1), wrong)
            assert (reply.status, content_type) == (415, "text/plain")
        reply, _, _ = await post(url, self.body(1), f"{self.content_type}; charset=utf-8")
        assert reply.status == 200

    async def test_methods_and_paths(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        async with aiohttp.ClientSession() as session:
            for method in ("GET", "PUT", "DELETE", "OPTIONS"):
                async with session.request(method, f"{url}/v1/traces") as response:
                    assert (response.status, response.content_type) == (405, "text/plain")
                    assert response.headers["Allow"] == "POST"
            for path in ("/", "/v1/metrics", "/v1/traces/", "/../etc/passwd", "/%00"):
                async with session.post(url + path, data=self.body(1)) as response:
                    assert response.status == 404
        await self.assert_serves(running)

    async def test_a_body_without_length_is_bounded_too(self, running: Running) -> None:
        async def endless():
            for _ in range(1000):
                yield b"x" * 1000

        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{running.port}/v1/traces"
            async with session.post(url, data=endless(), headers={"Content-Type": self.content_type}) as response:
                assert response.status == 413
        await self.assert_serves(running)


class TestProtobuf(OtlpHttpReceiverContract):
    content_type = "application/x-protobuf"
    success = b""
    body = staticmethod(samples.otlp)

    def read_status(self, answer):
        status = RpcStatus.decode(answer)
        return status.code, status.message


class TestJson(OtlpHttpReceiverContract):
    content_type = "application/json"
    success = b'{"partialSuccess":{}}'
    body = staticmethod(samples.otlp_json)

    def read_status(self, answer):
        status = orjson.loads(answer)
        assert set(status) <= {"code", "message", "details"}
        return status["code"], status["message"]


def test_codes_are_the_same_on_both_protocols() -> None:
    grpc = pytest.importorskip("grpc")
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}
