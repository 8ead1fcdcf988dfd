"""Who may send and to whom it is said who we are, over every protocol, with the extension between our own two ends."""

import asyncio
from typing import Any, Self

import aiohttp
import grpc
import grpc.aio
import pytest
import structlog
from otel_tracead_exporters import otlp_grpc, otlp_http
from otel_tracead_exporters import zipkin as zipkin_exporter

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import ConfigError
from otel_tracead.extensions.bearertokenauth import FACTORY as BEARER
from otel_tracead.metrics import EXPORTER_FAILED, RECEIVER_REQUESTS
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.rpc_status import RpcStatus
from tests.contract.exporter_contract import batch

AUTH = {"authenticator": "bearertokenauth"}
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def token(text: str) -> dict[str, Any]:
    extension = BEARER.build(BEARER.config.model_validate({"token": text}), Settings(id="a", kind=Kind.EXTENSION), None)
    return {"bearertokenauth": extension}


class Guarded:
    """A receiver that asks for the token `right`."""

    def __init__(self, protocol: str, **changes: Any) -> None:
        self.protocol = protocol
        self.logs = structlog.testing.LogCapture()
        logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[self.logs])
        self.settings = Settings(id="in", kind=Kind.RECEIVER, extensions=token("right"), logger=logger)
        self.consumer = RecordingConsumer()
        written: dict[str, Any] = {"endpoint": "127.0.0.1:0", "auth": AUTH, **changes}
        factory: Factory[Any] = zipkin.FACTORY if protocol == "zipkin" else otlp.FACTORY
        config = factory.config.model_validate(written if protocol == "zipkin" else {"protocols": {protocol: written}})
        self.receiver: Any = factory.build(config, self.settings, self.consumer)

    async def __aenter__(self) -> Self:
        await self.receiver.start()
        (self.port,) = self.receiver.ports.values()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.shutdown()

    def refused(self) -> float:
        transport = "grpc" if self.protocol == "grpc" else "http"
        return self.settings.telemetry.value(RECEIVER_REQUESTS, "in", transport, "unauthenticated")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from tests.exporters.certificates import make

    return make(tmp_path_factory.mktemp("auth"), "server")


@pytest.mark.parametrize("protocol", ["grpc", "http", "zipkin"])
@pytest.mark.parametrize(("sent", "arrives"), [("right", 2), ("wrong", 0), (None, 0)])
async def test_the_right_token_passes(
    protocol: str, sent: str | None, arrives: int, certificate: dict[str, str]
) -> None:
    async with Guarded(protocol, tls=certificate) as guarded:
        factory, endpoint = {
            "grpc": (otlp_grpc.FACTORY, f"127.0.0.1:{guarded.port}"),
            "http": (otlp_http.FACTORY, f"https://127.0.0.1:{guarded.port}"),
            "zipkin": (zipkin_exporter.FACTORY, f"https://127.0.0.1:{guarded.port}/api/v2/spans"),
        }[protocol]
        written = {"endpoint": endpoint, "tls": {"ca_file": certificate["cert_file"]}}
        written |= {"auth": AUTH} if sent else {}
        settings = Settings(id="out", kind=Kind.EXPORTER, extensions=token(sent) if sent else {})
        exporter: Any = factory.build(factory.config.model_validate(written), settings, None)
        await exporter.start()
        await exporter.consume(Consignment(batch("a", "b")))
        await exporter.shutdown()
        assert len(guarded.consumer.spans) == arrives
        assert guarded.refused() == (0 if arrives else 1)
        assert settings.telemetry.value(EXPORTER_FAILED, "out") == 2 - arrives, "401 is permanent: dropped and counted"
        assert "wrong" not in repr(guarded.logs.entries)


@pytest.mark.parametrize("protocol", ["http", "zipkin"])
async def test_http_says_so_before_the_body_is_read(protocol: str) -> None:
    async with Guarded(protocol) as guarded:
        path = "/api/v2/spans" if protocol == "zipkin" else "/v1/traces"
        reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n["
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_the_answer_is_in_the_words_of_the_protocol() -> None:
    async with Guarded("http") as guarded, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{guarded.port}/v1/traces"
        proto = {"Content-Type": "application/x-protobuf", "Authorization": "Bearer wrong"}
        async with session.post(url, data=b"x", headers=proto) as response:
            status = RpcStatus.decode(await response.read())
            assert (response.status, response.content_type) == (401, "application/x-protobuf")
            assert status is not None
            assert (status.code, status.message) == (16, "scheme or token does not match")
        async with session.post(url, json={}) as response:
            assert (response.status, (await response.json())["code"]) == (401, 16)
        async with session.get(url) as response:
            assert (response.status, response.content_type) == (401, "text/plain")


async def test_parameters_of_the_url_may_stand_for_headers() -> None:
    auth = {**AUTH, "request_params": ["authorization"]}
    async with Guarded("http", auth=auth) as guarded, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{guarded.port}/v1/traces"
        for value, status in (("Bearer right", 200), ("Bearer wrong", 401)):
            async with session.post(url, json={}, params={"authorization": value}) as response:
                assert response.status == status


async def test_grpc_says_so_before_the_body_is_read() -> None:
    async with Guarded("grpc") as guarded, grpc.aio.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        call = channel.stream_unary(EXPORT)(metadata=(("authorization", "Bearer wrong"),))  # no message is sent
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(call, 5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert caught.value.details() == "scheme or token does not match"
        right = channel.unary_unary(EXPORT)
        assert await right(b"", metadata=(("authorization", "Bearer right"),)) == b""
        assert guarded.refused() == 1


@pytest.mark.parametrize("protocol", ["grpc", "http", "zipkin"])
def test_an_extension_that_is_not_there_or_of_another_kind(protocol: str) -> None:
    factory: Factory[Any] = zipkin.FACTORY if protocol == "zipkin" else otlp.FACTORY
    written = {"auth": AUTH} if protocol == "zipkin" else {"protocols": {protocol: {"auth": AUTH}}}
    config = factory.config.model_validate(written)
    for extensions, word in (({}, "authenticator not found"), ({"bearertokenauth": object()}, "not a server")):
        settings = Settings(id="in", kind=Kind.RECEIVER, extensions=extensions)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=word):
            factory.build(config, settings, RecordingConsumer())


def test_an_exporter_without_tls_does_not_say_the_token() -> None:
    config = otlp_grpc.OtlpGrpcConfig.model_validate({"endpoint": "a:1", "tls": {"insecure": True}, "auth": AUTH})
    with pytest.raises(ConfigError, match="require transport level security"):
        otlp_grpc.FACTORY.build(config, Settings(id="o", kind=Kind.EXPORTER, extensions=token("x")), None)


def test_an_empty_auth_section_is_none_as_in_the_collector() -> None:
    config = otlp.OtlpReceiverConfig.model_validate({"protocols": {"http": {"auth": None, "tls": None, "cors": None}}})
    assert config.protocols.http is not None
    assert (config.protocols.http.auth, config.protocols.http.tls, config.protocols.http.cors) == (None, None, None)
