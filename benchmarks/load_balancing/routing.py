"""Sends as the Collector does with examples/load-balancing.yaml: split by trace id, one queue a replica, tried until it is taken."""

import queue
import threading
import time
from collections.abc import Iterable
from typing import Final

import grpc

from benchmarks.load_balancing.ring import Ring
from otel_tracead.wire.batch import Envelope, group
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from tools.peers.backend import EXPORT

_TRACE_ID: Final = slice(2, 18)  # of an encoded span that begins with its trace id, as the simulation writes them
_PAUSE: Final = 0.1
_OPTIONS: Final = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


class Lane(threading.Thread):
    """The way to one replica.

    Attributes:
        accepted: (monotonic time of the answer, request) that it took.
        retries: requests that were sent again.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self.accepted: list[tuple[float, bytes]] = []
        self.retries = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue()
        self._channel = grpc.insecure_channel(endpoint, options=_OPTIONS)
        self._export = self._channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)
        self.start()

    def put(self, body: bytes) -> None:
        """Queue a request."""
        self._queue.put(body)

    def run(self) -> None:
        """Send what is queued, in order, each request until it is taken."""
        while (body := self._queue.get()) is not None:
            while True:
                try:
                    self._export(body, timeout=10)
                except grpc.RpcError:
                    self.retries += 1
                    time.sleep(_PAUSE)
                else:
                    self.accepted.append((time.monotonic(), body))
                    break
        self._channel.close()

    def close(self) -> None:
        """Deliver what is queued, then end."""
        self._queue.put(None)
        self.join()


class RoutingSender:
    """Routes requests to replicas.

    Args:
        endpoints: host:port of each.

    Attributes:
        lanes: of all endpoints there ever were.
    """

    def __init__(self, endpoints: Iterable[str]) -> None:
        self.lanes: dict[str, Lane] = {}
        self._envelopes = Envelopes()
        self.route_to(endpoints)

    def route_to(self, endpoints: Iterable[str]) -> None:
        """Use these replicas from now on; what is queued for another one still goes there."""
        names = list(endpoints)
        for name in names:
            if name not in self.lanes:
                self.lanes[name] = Lane(name)
        self._ring = Ring(names)

    def send(self, body: bytes) -> None:
        """Split a request by replica and queue the parts."""
        ring = self._ring
        parts: dict[str, list[tuple[Envelope, bytes]]] = {}
        for envelope, span in decode_request(body, self._envelopes):
            parts.setdefault(ring.endpoint(span[_TRACE_ID]), []).append((envelope, span))
        for endpoint, spans in parts.items():
            batch = group([envelope for envelope, _ in spans], [span for _, span in spans])
            self.lanes[endpoint].put(encode_request(batch))

    def close(self) -> None:
        """Deliver everything."""
        for lane in self.lanes.values():
            lane.close()
