"""`python -m benchmarks.sink --port N`: takes OTLP over gRPC and counts the spans, as cheaply as Python can."""

import asyncio

import click
import grpc

from otel_tracead.wire._shallow import Request

COUNT = "/benchmarks.Sink/Count"


class Sink:
    """Answers every export with an empty success, and `COUNT` with the number of spans so far in decimal digits."""

    def __init__(self) -> None:
        self.spans = 0

    async def export(self, body: bytes, _context: object) -> bytes:
        """Count the spans of a request."""
        self.spans += sum(
            len(scope.spans) for resource in Request.FromString(body).resource_spans for scope in resource.scope_spans
        )
        return b""

    async def count(self, _body: bytes, _context: object) -> bytes:
        """Say how many there were."""
        return str(self.spans).encode()


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    sink = Sink()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(service, {name: grpc.unary_unary_rpc_method_handler(method)})
            for service, name, method in (
                ("opentelemetry.proto.collector.trace.v1.TraceService", "Export", sink.export),
                ("benchmarks.Sink", "Count", sink.count),
            )
        ]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@click.command()
@click.option("--port", type=int, required=True)
def main(port: int) -> None:
    """Serve on 127.0.0.1:PORT."""
    asyncio.run(serve(port))


if __name__ == "__main__":
    main()
