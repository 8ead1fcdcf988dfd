"""Zipkin's collector endpoint, `POST /api/v2/spans` and its older `/api/v1/spans`, as Zipkin itself answers on them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import InvalidRequest, Unauthenticated
from otel_tracead.receivers.http import HttpListener, read_body, text
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.network import NetworkReceiver, Server
from otel_tracead.receivers.zipkin.config import ZipkinReceiverConfig
from otel_tracead.status import answer, retry_after_header
from otel_tracead.wire import zipkin
from otel_tracead.wire.batch import SpanBatch
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


class ZipkinServer:
    """One HTTP server that takes Zipkin's spans.

    Attributes:
        listener: what it listens with.
    """

    def __init__(self, config: ZipkinReceiverConfig, settings: Settings, consumer: Consumer) -> None:
        self._config = config
        self._intake = Intake(settings, consumer, "http")
        self._envelopes = Envelopes()
        self.listener = HttpListener(config, settings, self._handle, self._unauthenticated)

    @property
    def port(self) -> int:
        """The port that was bound; 0 before the start."""
        return self.listener.port

    async def start(self, drain_timeout: float, before: "ZipkinServer | None") -> None:
        """Listen (see `HttpListener.start`)."""
        await self.listener.start(drain_timeout, None if before is None else before.listener)

    async def retire(self) -> None:
        """Leave the address to a successor (see `HttpListener.retire`)."""
        await self.listener.retire()

    async def stop(self) -> None:
        """Stop listening; requests under way are answered first."""
        await self.listener.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        v1 = _V1_PATH in request.path
        if not v1 and _V2_PATH not in request.path:
            return self._no(404, f"404 page not found, spans go to /{_V2_PATH} or /{_V1_PATH}")
        if request.method != "POST":
            return self._no(405, "405 method not allowed, supported: [POST]", Allow="POST")
        if request.content_type == _THRIFT:
            return self._no(
                415, "415 unsupported media type: thrift is not taken, send JSON (v1 or v2) or protobuf (v2)"
            )
        protobuf = request.content_type == _PROTOBUF
        if v1 and protobuf:
            return self._no(415, f"415 unsupported media type: v1 has no protobuf form, send it to /{_V2_PATH}")
        decode = zipkin.decode_v1_spans if v1 else zipkin.decode_protobuf if protobuf else zipkin.decode_spans
        try:
            await self._receive(request, decode)
        except Exception as error:  # noqa: BLE001 (whatever it is, the sender gets a status)
            row, status = answer(error)
            headers = {} if status.retry_after is None else {"Retry-After": retry_after_header(status.retry_after)}
            return text(row.http, status.message, **headers)
        return web.Response(status=202)

    def _no(self, status: int, message: str, **headers: str) -> web.Response:
        self._intake.refuse(InvalidRequest(message))
        return text(status, message, **headers)

    def _unauthenticated(self, _request: web.Request, error: Unauthenticated) -> web.StreamResponse:
        self._intake.refuse(error)
        return text(401, str(error))

    async def _receive(self, request: web.Request, decode: Callable[..., SpanBatch]) -> None:
        try:
            body = await read_body(request, self._config)
        except InvalidRequest as error:
            self._intake.refuse(error)
            raise
        parse = self._config.parse_string_tags
        await self._intake.take(body, lambda body: decode(body, self._envelopes, parse_string_tags=parse))
