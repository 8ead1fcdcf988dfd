"""Zipkin's collector endpoint, `POST /api/v2/spans` and its older `/api/v1/spans`, as Zipkin itself answers on them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from otel_tracead.component import Consumer, Settings, wants_originals
from otel_tracead.errors import PipelineError
from otel_tracead.receivers.http import text_of
from otel_tracead.receivers.http_server import HttpServer
from otel_tracead.receivers.network import NetworkReceiver, Server
from otel_tracead.receivers.zipkin.config import ZipkinReceiverConfig
from otel_tracead.wire import zipkin
from otel_tracead.wire.otlp import Envelopes

_V1_PATH: Final = "api/v1/spans"  # behind any prefix that a proxy left on
_V2_PATH: Final = "api/v2/spans"
_PROTOBUF, _THRIFT = "application/x-protobuf", "application/x-thrift"


class ZipkinReceiver(NetworkReceiver):
    """Takes Zipkin's spans: v2 as JSON and protobuf, v1 as JSON."""

    @staticmethod
    def servers(
        config: ZipkinReceiverConfig, settings: Settings, consumer: Consumer
    ) -> Mapping[str, tuple[BaseModel, Callable[[], Server]]]:
        """See `NetworkReceiver.servers`."""
        return {"http": (config, partial(ZipkinServer, config, settings, consumer))}


class ZipkinServer(HttpServer):
    """One HTTP server that takes Zipkin's spans."""

    def __init__(self, config: ZipkinReceiverConfig, settings: Settings, consumer: Consumer) -> None:
        super().__init__(config, settings, consumer)
        self._config = config
        self._consumer = consumer
        self._envelopes = Envelopes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as Zipkin's server does (see `HttpServer.handle`)."""
        v1 = _V1_PATH in request.path
        if not v1 and _V2_PATH not in request.path:
            return self.refuse(404, f"404 page not found, spans go to /{_V2_PATH} or /{_V1_PATH}")
        if request.method != "POST":
            return self.refuse(405, "405 method not allowed, supported: [POST]", Allow="POST")
        if request.content_type == _THRIFT:
            return self.refuse(
                415, "415 unsupported media type: thrift is not taken, send JSON (v1 or v2) or protobuf (v2)"
            )
        protobuf = request.content_type == _PROTOBUF
        if v1 and protobuf:
            return self.refuse(415, f"415 unsupported media type: v1 has no protobuf form, send it to /{_V2_PATH}")
        decode = zipkin.decode_v1_spans if v1 else zipkin.decode_protobuf if protobuf else zipkin.decode_spans
        parse, originals = self._config.parse_string_tags, wants_originals(self._consumer)
        try:
            await self.receive(
                request, lambda body: decode(body, self._envelopes, parse_string_tags=parse, originals=originals)
            )
        except Exception as error:  # noqa: BLE001 (whatever it is, the sender gets a status)
            return text_of(error)
        return web.Response(status=202)

    def turn_away(self, request: web.BaseRequest, error: PipelineError) -> web.StreamResponse:  # noqa: ARG002
        """Answer in plain text (see `HttpServer.turn_away`)."""
        self.intake.refuse(error)
        return text_of(error)
