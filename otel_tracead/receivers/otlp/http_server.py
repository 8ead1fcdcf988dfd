"""OTLP over HTTP: protobuf and JSON, answered in the content type of the request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import InvalidRequest, Unauthenticated
from otel_tracead.receivers.http import HttpListener, read_body, text
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.otlp.config import HttpServerConfig
from otel_tracead.status import answer, retry_after_header
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.rpc_status import RpcStatus


@dataclass(frozen=True, slots=True)
class _Encoding:
    """One content type of OTLP/HTTP."""

    content_type: str
    decode: Callable[[bytes, otlp.Envelopes], SpanBatch]
    success: bytes
    error: Callable[[RpcStatus], bytes]


_ENCODINGS: Final = {
    encoding.content_type: encoding
    for encoding in (
        _Encoding("application/x-protobuf", otlp.decode_request, b"", RpcStatus.encode),
        _Encoding("application/json", otlp_json.decode_request, b'{"partialSuccess":{}}', RpcStatus.encode_json),
    )
}


class OtlpHttpServer:
    """One HTTP server that takes traces on one path.

    Attributes:
        listener: what it listens with.
    """

    def __init__(self, config: HttpServerConfig, settings: Settings, consumer: Consumer) -> None:
        self._path = config.traces_url_path
        self._config = config
        self._intake = Intake(settings, consumer, "http")
        self._envelopes = otlp.Envelopes()
        self.listener = HttpListener(config, settings, self._handle, self._unauthenticated)

    @property
    def port(self) -> int:
        """The port that was bound; 0 before the start."""
        return self.listener.port

    async def start(self, drain_timeout: float, before: "OtlpHttpServer | None") -> None:
        """Listen (see `HttpListener.start`)."""
        await self.listener.start(drain_timeout, None if before is None else before.listener)

    async def retire(self) -> None:
        """Leave the address to a successor (see `HttpListener.retire`)."""
        await self.listener.retire()

    async def stop(self) -> None:
        """Stop listening; requests under way are answered first."""
        await self.listener.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path != self._path:
            return self._no(404, f"404 page not found, traces go to {self._path}")
        if request.method != "POST":
            return self._no(405, "405 method not allowed, supported: [POST]", Allow="POST")
        encoding = _ENCODINGS.get(request.content_type)
        if encoding is None:
            return self._no(415, f"415 unsupported media type, supported: [{', '.join(sorted(_ENCODINGS))}]")
        try:
            await self._receive(request, encoding)
        except Exception as error:  # noqa: BLE001 (whatever it is, the sender gets a status)
            return _refusal(error, encoding)
        return web.Response(body=encoding.success, content_type=encoding.content_type)

    def _no(self, status: int, message: str, **headers: str) -> web.Response:
        self._intake.refuse(InvalidRequest(message))
        return text(status, message, **headers)

    def _unauthenticated(self, request: web.Request, error: Unauthenticated) -> web.StreamResponse:
        self._intake.refuse(error)
        encoding = _ENCODINGS.get(request.content_type)
        return text(401, str(error)) if encoding is None else _refusal(error, encoding)

    async def _receive(self, request: web.Request, encoding: _Encoding) -> None:
        try:
            body = await read_body(request, self._config)
        except InvalidRequest as error:
            self._intake.refuse(error)
            raise
        await self._intake.take(body, lambda body: encoding.decode(body, self._envelopes))


def _refusal(error: Exception, encoding: _Encoding) -> web.Response:
    row, status = answer(error)
    headers = {} if status.retry_after is None else {"Retry-After": retry_after_header(status.retry_after)}
    return web.Response(
        status=row.http, body=encoding.error(status), content_type=encoding.content_type, headers=headers
    )
