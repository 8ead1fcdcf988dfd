"""OTLP over HTTP: protobuf and JSON, answered in the content type of the request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import PipelineError
from otel_tracead.receivers.http import text_of
from otel_tracead.receivers.http_server import HttpServer
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


class OtlpHttpServer(HttpServer):
    """One HTTP server that takes traces on one path."""

    def __init__(self, config: HttpServerConfig, settings: Settings, consumer: Consumer) -> None:
        super().__init__(config, settings, consumer)
        self._path = config.traces_url_path
        self._envelopes = otlp.Envelopes()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as the OTLP specification says (see `HttpServer.handle`)."""
        if request.path != self._path:
            return self.refuse(404, f"404 page not found, traces go to {self._path}")
        if request.method != "POST":
            return self.refuse(405, "405 method not allowed, supported: [POST]", Allow="POST")
        encoding = _ENCODINGS.get(request.content_type)
        if encoding is None:
            return self.refuse(415, f"415 unsupported media type, supported: [{', '.join(sorted(_ENCODINGS))}]")
        try:
            await self.receive(request, lambda body: encoding.decode(body, self._envelopes))
        except Exception as error:  # noqa: BLE001 (whatever it is, the sender gets a status)
            return _refusal(error, encoding)
        return web.Response(body=encoding.success, content_type=encoding.content_type)

    def turn_away(self, request: web.BaseRequest, error: PipelineError) -> web.StreamResponse:
        """Answer with a Status where the sender says how to encode one (see `HttpServer.turn_away`)."""
        self.intake.refuse(error)
        encoding = _ENCODINGS.get(request.content_type)
        return text_of(error) if encoding is None else _refusal(error, encoding)


def _refusal(error: Exception, encoding: _Encoding) -> web.Response:
    row, status = answer(error)
    headers = {} if status.retry_after is None else {"Retry-After": retry_after_header(status.retry_after)}
    return web.Response(
        status=row.http, body=encoding.error(status), content_type=encoding.content_type, headers=headers
    )
