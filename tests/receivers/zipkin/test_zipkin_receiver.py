import aiohttp

from otel_tracead.receivers.zipkin import FACTORY, ZipkinReceiverConfig
from tests.contract.receiver_contract import ReceiverContract, Running
from tests.receivers import samples
from tests.receivers.http_client import post


class TestZipkinReceiver(ReceiverContract):
    factory = FACTORY
    transport = "http"
    limit = 1 << 16
    ok = 202
    invalid = 400
    too_large = 413
    unknown_encoding = 400
    backpressure = 503
    permanent = 500
    transient = 503
    body = staticmethod(samples.zipkin)

    def config(self, endpoint):
        return {"endpoint": endpoint, "max_request_body_size": self.limit}

    def default_endpoint(self):
        return ZipkinReceiverConfig().endpoint

    async def send(self, port, body, encoding="", compressed=None):
        url = f"http://127.0.0.1:{port}/api/v2/spans"
        reply, content_type, answer = await post(url, body, "application/json", encoding, compressed)
        if reply.status == 202:
            assert answer == b""
        else:
            assert content_type == "text/plain"
            assert answer
            assert b"/etc" not in answer
        return reply

    async def test_other_forms_are_named(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        reply, _, answer = await post(f"{url}/api/v1/spans", b"[]", "application/json")
        assert (reply.status, b"v1" in answer) == (404, True)
        for form in ("protobuf", "thrift"):
            reply, _, answer = await post(f"{url}/api/v2/spans", b"", f"application/x-{form}")
            assert (reply.status, form.encode() in answer) == (415, True)
        await self.assert_serves(running)

    async def test_methods_and_paths(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/api/v2/spans") as response:
                assert response.status == 405
            for path in ("/", "/zipkin/", "/api/v2/spans/1"):
                async with session.post(url + path, data=b"[]") as response:
                    assert response.status == 404
