"""Backends in this process for the exporters' contract: OTLP over gRPC and HTTP, and Zipkin."""

import gzip
import json

import grpc
import grpc.aio
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.wire.rpc_status import RpcStatus
from tests.contract.exporter_contract import BackendState
from tests.peers.independent import fields

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


def names_of(request: ExportTraceServiceRequest) -> list[str]:
    return [
        span.name
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


class GrpcBackend(BackendState):
    """`transient` is UNAVAILABLE, or RESOURCE_EXHAUSTED with RetryInfo where there is a hint."""

    def __init__(self, credentials=None) -> None:
        super().__init__()
        self.credentials = credentials
        self.port = 0
        self.response = b""
        self.metadata: list[dict[str, str]] = []

    async def start(self) -> None:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.unary_unary_rpc_method_handler(self.export)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
        address = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self.server.add_insecure_port(address)
        else:
            self.port = self.server.add_secure_port(address, self.credentials)
        self.endpoint = f"127.0.0.1:{self.port}"
        await self.server.start()

    async def stop(self) -> None:
        await self.server.stop(0)

    async def export(self, body, context):
        self.metadata.append(dict(context.invocation_metadata()))
        refusal = await self.take(names_of(ExportTraceServiceRequest.FromString(body)))
        if refusal is None:
            return self.response
        if refusal.retry_after is not None:
            details = RpcStatus(8, "busy", refusal.retry_after).encode()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", (("grpc-status-details-bin", details),))
        codes = {
            "transient": grpc.StatusCode.UNAVAILABLE,
            "permanent": grpc.StatusCode.UNAUTHENTICATED,
            "data": grpc.StatusCode.INVALID_ARGUMENT,
        }
        await context.abort(codes[refusal.kind], "no")
        return b""


class HttpBackend(BackendState):
    """Takes JSON and protobuf of OTLP and Zipkin, as content type and path say."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.response = web.Response
        self.requests: list[dict[str, str]] = []
        self.transient = 503

    async def start(self) -> None:
        application = web.Application(client_max_size=1 << 26)
        application.router.add_post("/{path:.*}", self.handle)
        self.runner = web.AppRunner(application, auto_decompress=False, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self.runner.addresses[0][1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        await self.runner.cleanup()

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append({**request.headers, "path": request.path})
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        zipkin = request.path.endswith("/api/v2/spans")
        refusal = await self.take(self.names(request.content_type, body, zipkin=zipkin))
        if refusal is None:
            return self.response()
        status = {"transient": self.transient, "permanent": 403, "data": 400}[refusal.kind]
        headers = {} if refusal.retry_after is None else {"Retry-After": str(int(refusal.retry_after))}
        return web.Response(status=status, headers=headers, text="no")

    @staticmethod
    def names(content_type: str, body: bytes, *, zipkin: bool) -> list[str]:
        if content_type == "application/x-protobuf":
            if zipkin:
                spans = [content for number, content, _ in fields(body) if number == 1]
                return [content.decode() for span in spans for number, content, _ in fields(span) if number == 5]
            return names_of(ExportTraceServiceRequest.FromString(body))
        document = json.loads(body)
        if isinstance(document, list):
            return [span["name"] for span in document]
        return [
            span["name"]
            for resource_spans in document["resourceSpans"]
            for scope_spans in resource_spans["scopeSpans"]
            for span in scope_spans["spans"]
        ]
