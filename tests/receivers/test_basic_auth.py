"""Names and passwords over every protocol, with the extension between our own two ends; a look takes time and stops nobody."""

import asyncio
from typing import Any, Self

import aiohttp
import bcrypt
import grpc
import grpc.aio
import pytest
from otel_tracead_exporters import otlp_grpc, otlp_http
from otel_tracead_exporters import zipkin as zipkin_exporter

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import ConfigError
from otel_tracead.extensions.basicauth import FACTORY as BASIC
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.otlp import encode_request
from tests.contract.exporter_contract import batch
from tests.exporters.certificates import make

AUTH = {"authenticator": "basicauth"}
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HASHED = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
RIGHT, WRONG = "Basic bWU6cmlnaHQ=", "Basic bWU6d3Jvbmc="
PROTOCOLS = ("grpc", "http", "zipkin")


def extension(**keys: Any) -> Any:
    return BASIC.build(BASIC.config.model_validate(keys), Settings(id="basicauth", kind=Kind.EXTENSION), None)


def server() -> Any:
    return extension(htpasswd={"inline": f"me:{HASHED}"})


class Guarded:
    """A receiver that asks for a name and a password."""

    def __init__(self, protocol: str, **changes: Any) -> None:
        self.extension = server()
        self.settings = Settings(id="in", kind=Kind.RECEIVER, extensions={"basicauth": self.extension})
        self.consumer = RecordingConsumer()
        written: dict[str, Any] = {"endpoint": "127.0.0.1:0", "auth": AUTH, **changes}
        factory: Factory[Any] = zipkin.FACTORY if protocol == "zipkin" else otlp.FACTORY
        config = factory.config.model_validate(written if protocol == "zipkin" else {"protocols": {protocol: written}})
        self.receiver: Any = factory.build(config, self.settings, self.consumer)
        self.transport = "grpc" if protocol == "grpc" else "http"

    async def __aenter__(self) -> Self:
        await self.extension.start()
        await self.receiver.start()
        (self.port,) = self.receiver.ports.values()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.receiver.shutdown()
        await self.extension.shutdown()

    def outcomes(self, outcome: str) -> float:
        return self.settings.telemetry.value(RECEIVER_REQUESTS, "in", self.transport, outcome)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("auth"), "server")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_right_password_passes(protocol: str, certificate: dict[str, str]) -> None:
    async with Guarded(protocol, tls=certificate) as guarded:
        factory, endpoint = {
            "grpc": (otlp_grpc.FACTORY, f"127.0.0.1:{guarded.port}"),
            "http": (otlp_http.FACTORY, f"https://127.0.0.1:{guarded.port}"),
            "zipkin": (zipkin_exporter.FACTORY, f"https://127.0.0.1:{guarded.port}/api/v2/spans"),
        }[protocol]
        for password, arrived in (("right", 2), ("wrong", 2), ("right", 4), ("wrong", 4), (None, 4)):
            client = extension(client_auth={"username": "me", "password": password or ""})
            await client.start()
            written = {"endpoint": endpoint, "tls": {"ca_file": certificate["cert_file"]}}
            written |= {"auth": AUTH} if password else {}
            settings = Settings(id="out", kind=Kind.EXPORTER, extensions={"basicauth": client})
            exporter: Any = factory.build(factory.config.model_validate(written), settings, None)
            await exporter.start()
            await exporter.consume(Consignment(batch("a", "b")))
            await exporter.shutdown()
            assert len(guarded.consumer.spans) == arrived
        assert guarded.outcomes("unauthenticated") == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_client_is_no_server(protocol: str) -> None:
    factory: Factory[Any] = zipkin.FACTORY if protocol == "zipkin" else otlp.FACTORY
    written = {"auth": AUTH} if protocol == "zipkin" else {"protocols": {protocol: {"auth": AUTH}}}
    extensions = {"basicauth": extension(client_auth={"username": "me"})}
    settings = Settings(id="in", kind=Kind.RECEIVER, extensions=extensions)
    with pytest.raises(ConfigError, match="not a server authenticator"):
        factory.build(factory.config.model_validate(written), settings, RecordingConsumer())


async def test_http_names_the_scheme_and_grpc_takes_a_whole_message_meanwhile() -> None:
    async with Guarded("http") as guarded, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{guarded.port}/v1/traces"
        for value in (None, WRONG, WRONG):
            headers = {} if value is None else {"Authorization": value}
            async with session.post(url, json={}, headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == 'Basic realm="otel-tracead", charset="UTF-8"'
        async with session.post(url, json={}, headers={"Authorization": RIGHT}) as response:
            assert (response.status, "WWW-Authenticate" in response.headers) == (200, False)
    async with Guarded("grpc") as guarded, grpc.aio.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        export = channel.unary_unary(EXPORT)
        body = encode_request(batch("a", "b"))

        async def code(value: str) -> str:
            try:
                await export(body, metadata=(("authorization", value),))
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            return "OK"

        assert await asyncio.gather(code(RIGHT), code(WRONG), code(RIGHT)) == ["OK", "UNAUTHENTICATED", "OK"]
        assert len(guarded.consumer.spans) == 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_too_many_guesses_at_a_time_are_told_to_come_back(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_tracead.extensions.basicauth.verification._MOST_WAITING", 0)
    async with Guarded(protocol) as guarded:
        if protocol == "grpc":
            async with grpc.aio.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError, match="too many credentials") as caught:
                    await channel.unary_unary(EXPORT)(b"", metadata=(("authorization", RIGHT),))
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        else:
            path = "/api/v2/spans" if protocol == "zipkin" else "/v1/traces"
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    f"http://127.0.0.1:{guarded.port}{path}", data=b"[]", headers={"Authorization": RIGHT}
                ) as response,
            ):
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert guarded.outcomes("refused") == 1


async def test_a_client_that_goes_away_while_it_is_looked_at_leaves_nothing_behind() -> None:
    async with Guarded("grpc") as guarded:
        for _ in range(3):
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{guarded.port}")
            call = channel.unary_unary(EXPORT)(encode_request(batch("a")), metadata=(("authorization", RIGHT),))
            await asyncio.sleep(0)
            call.cancel()
            await channel.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
            await channel.unary_unary(EXPORT)(encode_request(batch("b")), metadata=(("authorization", RIGHT),))
