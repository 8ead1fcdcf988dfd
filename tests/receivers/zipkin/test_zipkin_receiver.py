import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.receivers.zipkin import FACTORY, ZipkinReceiverConfig
from otel_tracead.wire.batch import TranslatedSpan
from tests.contract.receiver_contract import ReceiverContract, Running
from tests.receivers import samples
from tests.receivers.http_client import post


class ZipkinContract(ReceiverContract):
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
    path = "/api/v2/spans"
    content_type = "application/json"

    def config(self, endpoint):
        return {"endpoint": endpoint, "max_request_body_size": self.limit}

    def default_endpoint(self):
        return ZipkinReceiverConfig().endpoint

    async def send(self, port, body, encoding="", compressed=None):
        url = f"http://127.0.0.1:{port}{self.path}"
        reply, content_type, answer = await post(url, body, self.content_type, encoding, compressed)
        if reply.status == 202:
            assert answer == b""
        else:
            assert content_type == "text/plain"
            assert answer
            assert b"/etc" not in answer
        return reply


class TestZipkinProtobuf(ZipkinContract):
    content_type = "application/x-protobuf"
    body = staticmethod(samples.zipkin_protobuf)


class TestZipkinV1(ZipkinContract):
    path = "/behind/a/proxy/api/v1/spans"
    body = staticmethod(samples.zipkin_v1)

    async def test_a_call_that_both_sides_wrote_is_two_spans(self, running: Running) -> None:
        assert (await self.send(running.port, samples.zipkin_v1_call())).status == 202
        kinds = [Span.FromString(span).kind for span in running.consumer.spans]
        assert kinds == [Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER]


class TestZipkinReceiver(ZipkinContract):
    body = staticmethod(samples.zipkin)

    async def test_forms_that_are_not_taken_are_named(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        for path, content_type, what in (
            ("/api/v1/spans", "application/x-thrift", b"thrift"),
            ("/api/v2/spans", "application/x-thrift", b"thrift"),
            ("/api/v1/spans", "application/x-protobuf", b"/api/v2/spans"),
        ):
            reply, _, answer = await post(url + path, b"", content_type)
            assert (reply.status, what in answer) == (415, True)
        await self.assert_serves(running)

    async def test_a_form_on_the_path_of_the_other_is_told_where_it_belongs(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        for path, body, what in (
            ("/api/v2/spans", samples.zipkin_v1(1), b"JSON_V1; post it to /api/v1/spans"),
            ("/api/v1/spans", samples.zipkin(1), b"JSON_V2; post it to /api/v2/spans"),
        ):
            reply, _, answer = await post(url + path, body, "application/json")
            assert (reply.status, what in answer) == (400, True)

    @pytest.mark.parametrize("parse", [False, True])
    async def test_numbers_in_tags(self, parse: bool) -> None:
        running = self.make("127.0.0.1:0", parse_string_tags=parse)
        await running.receiver.start()
        for path, body, content_type in (
            ("/api/v2/spans", samples.zipkin(1), "application/json"),
            ("/api/v2/spans", samples.zipkin_protobuf(1), "application/x-protobuf"),
            ("/api/v1/spans", samples.zipkin_v1(1), "application/json"),
        ):
            reply, _, _ = await post(f"http://127.0.0.1:{running.port}{path}", body, content_type)
            assert reply.status == 202
        await running.receiver.shutdown()
        assert len(running.consumer.spans) == 3
        for span in running.consumer.spans:
            [count] = [pair for pair in Span.FromString(span).attributes if pair.key == "count"]
            assert count.value.WhichOneof("value") == ("int_value" if parse else "string_value")
            assert isinstance(span, TranslatedSpan)
            assert b'"count":"3"' in span.origin  # for Zipkin it stays text

    async def test_methods_and_paths(self, running: Running) -> None:
        url = f"http://127.0.0.1:{running.port}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/api/v2/spans") as response:
                assert response.status == 405
            for path in ("/", "/zipkin/", "/api/v2/traces"):
                async with session.post(url + path, data=b"[]") as response:
                    assert response.status == 404
