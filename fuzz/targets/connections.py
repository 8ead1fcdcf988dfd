"""Whole connections to the receivers, without sockets: bytes of a client in, spans and answers out."""

import asyncio
import logging
import random
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from fuzz import mutation, samples
from fuzz.target import Finding, Target
from fuzz.targets import http2
from fuzz.targets.oracles import holds
from otel_tracead.component import Kind, Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.http2 import frames as f
from otel_tracead.http2 import pack
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers.http_server import HttpServer
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.otlp.config import HttpServerConfig, KeepaliveServer
from otel_tracead.receivers.otlp.grpc_connection import GrpcConnection
from otel_tracead.receivers.otlp.grpc_hall import Hall
from otel_tracead.receivers.otlp.http_server import OtlpHttpServer
from otel_tracead.receivers.zipkin.config import ZipkinReceiverConfig
from otel_tracead.receivers.zipkin.receiver import ZipkinServer
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.otlp import Envelopes, decode_request

_LIMIT: Final = 1 << 16
_ROOM: Final = 1 << 20
_ROUNDS: Final = 12
_STATUS: Final = re.compile(rb"HTTP/[01]\.[019] ([0-9]{3}) ")
_ANSWERS: Final = {b"200", b"202", b"400", b"404", b"405", b"413", b"415", b"100", b"417"}


class _Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class _Place:
    """An event loop, and receivers on it that listen to nobody."""

    def __init__(self) -> None:
        logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # which tells of every request that is none
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        self.consumer = RecordingConsumer()
        self.settings = Settings(id="in", kind=Kind.RECEIVER)
        self.errors: list[str] = []
        self.hall = Hall(
            Intake(self.settings, self.consumer, "grpc"),
            None,
            lambda body: decode_request(body, Envelopes()),
            limit=_LIMIT,
            streams=http2.STREAMS,
            keepalive=KeepaliveServer(),
            room=_ROOM,
        )
        here = Endpoint("127.0.0.1", 0)
        self.servers: list[HttpServer] = [
            OtlpHttpServer(HttpServerConfig(endpoint=here, max_request_body_size=_LIMIT), self.settings, self.consumer),
            ZipkinServer(
                ZipkinReceiverConfig(endpoint=here, max_request_body_size=_LIMIT), self.settings, self.consumer
            ),
        ]
        self.rooms = [server._room.left for server in self.servers]
        for server in self.servers:
            self.loop.run_until_complete(server.start(1.0, None))

    def _failed(self, _loop: object, context: dict[str, Any]) -> None:
        self.errors.append(repr(context.get("exception") or context["message"]))

    def talk(self, make: Callable[[], asyncio.Protocol], parts: list[bytes]) -> bytes:
        """Give what a connection answers to *parts*."""
        return self.loop.run_until_complete(self._talk(make, parts))

    async def _talk(self, make: Callable[[], asyncio.Protocol], parts: list[bytes]) -> bytes:
        self.errors.clear()
        self.consumer.batches.clear()
        before = asyncio.all_tasks()
        protocol, transport = make(), _Transport()
        protocol.connection_made(transport)
        for part in parts:
            if transport.closed:
                break
            protocol.data_received(part)
            await asyncio.sleep(0)
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        holds(self.errors, [], "what the event loop heard of")
        for transport_name in ("grpc", "http"):
            failures = self.settings.telemetry.value(RECEIVER_REQUESTS, "in", transport_name, "failure")
            holds(failures, 0.0, "requests that failed by themselves")
        return b"".join(transport.written)


_place: Final = cache(_Place)


def _grpc(data: bytes) -> None:
    place = _place()
    cut, stream = (data[0] + 1 if data else 1) * 8, data[1:]
    stream = f.PREFACE + f.frame(f.SETTINGS, 0, 0) + stream
    place.talk(lambda: GrpcConnection(place.hall), [stream[at : at + cut] for at in range(0, len(stream), cut)])
    holds(place.hall.room, _ROOM, "room that nobody takes")
    holds(len(place.hall.connections), 0, "connections that are over")


def _http(data: bytes) -> None:
    place = _place()
    server = place.servers[data[0] & 1 if data else 0]
    cut, stream = ((data[0] >> 1) + 1 if data else 1) * 16, data[1:]
    runner = server.listener._runner
    if runner is None or runner.server is None:
        raise Finding("the server has stopped")
    parts = [stream[at : at + cut] for at in range(0, len(stream), cut)]
    answers = _STATUS.findall(place.talk(runner.server, parts))
    if not set(answers) <= _ANSWERS:
        raise Finding(f"answered {answers}")
    if len(place.consumer.batches) > len(answers):
        raise Finding("requests were taken in that nobody was told of")
    holds(server._room.left, place.rooms[data[0] & 1 if data else 0], "room that nobody takes")


def _requests() -> list[bytes]:
    def post(path: str, kind: str, body: bytes, *more: str) -> bytes:
        headers = "".join(f"{one}\r\n" for one in ("Host: a", f"Content-Type: {kind}", *more))
        return f"POST {path} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body

    otlp = post("/v1/traces", "application/x-protobuf", samples.request())
    as_json = post("/v1/traces", "application/json", samples.otlp_json(), "Expect: 100-continue")
    chunked = (
        b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2;x=y\r\n{}\r\n0\r\nT: a\r\n\r\n"
    )
    zipkin = post("/api/v2/spans", "application/json", samples.zipkin()[1])
    v1 = post("/p/api/v1/spans?a=%00", "text/plain", samples.zipkin_v1(), "Content-Encoding: deflate", "Cookie: a=b")
    return [
        b"\xf0" + otlp + otlp,
        b"\x40" + as_json + chunked,
        b"\xf1" + zipkin,
        b"\xf1" + v1,
        b"\xfeGET / HTTP/1.0\r\n\r\n",
    ]


_PIECES: Final = (
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Content-Encoding: gzip\r\n", b"Host: b\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Connection: close\r\n", b"\r\n"),
    *(b"5\r\nabcde\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b" ", b"\t", b"\0", b"\n", b": ", b"%zz", b"\xff"),
    *(b"Content-Type: application/x-protobuf; charset=\xff\r\n", b"Content-Encoding: zstd, gzip\r\n", b"a" * 9000),
)  # fmt: skip


def _mutate(data: bytes, choice: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    at = choice.randrange(len(lines))
    match choice.randrange(5):
        case 0:
            return mutation.any_bytes(data, choice)
        case 1:
            lines.insert(at, choice.choice(_PIECES).removesuffix(b"\r\n"))
        case 2:
            lines.insert(choice.randrange(len(lines) + 1), lines[at])
        case 3:
            del lines[at]
        case _:
            lines[at] = mutation.any_bytes(lines[at], choice)
    return b"\r\n".join(lines)


def _calls() -> list[bytes]:
    message = pack(samples.request())
    call = f.frame(f.HEADERS, 4, 1, http2.FIELDS) + f.frame(f.DATA, 1, 1, message)
    halves = f.frame(f.DATA, 0, 3, message[:50]) + f.frame(f.DATA, 1, 3, message[50:])
    return [b"\xff" + call, b"\x0f" + call + f.frame(f.HEADERS, 4, 3, http2.FIELDS) + halves, b"\0" + f.goaway(0, 0)]


GRPC_CONNECTION: Final = Target(
    name="grpc_connection",
    what="connections of OTLP/gRPC; nothing fails by itself, and all room is given back",
    run=_grpc,
    seeds=_calls,
    mutate=http2.mutate_frames,
    instrumented=("otel_tracead.receivers", "otel_tracead.http2", "otel_tracead.http2_protocol"),
)
HTTP_CONNECTION: Final = Target(
    name="http_connection",
    what="connections of OTLP/HTTP and Zipkin; every request is answered, none by 500, and all room is given back",
    run=_http,
    seeds=_requests,
    mutate=_mutate,
    instrumented=("otel_tracead.receivers",),
)
