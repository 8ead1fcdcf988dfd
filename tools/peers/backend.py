"""A backend inside this process: takes OTLP over gRPC and keeps what it was sent."""

import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import grpc

from tools.peers.process import HOST

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The method of OTLP over gRPC."""


class Backend:
    """A server on a free port, as a context manager.

    Attributes:
        bodies: requests as they came, in order.
        last: monotonic time of the last one; 0 before there was any.
        target: host:port.
    """

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.last = 0.0
        service, method = EXPORT.strip("/").split("/")
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
        self.target = f"{HOST}:{self._server.add_insecure_port(f'{HOST}:0')}"

    def _export(self, body: bytes, _context: object) -> bytes:
        self.bodies.append(body)
        self.last = time.monotonic()
        return b""

    def __enter__(self) -> Self:
        """Serve."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.stop(1).wait()
