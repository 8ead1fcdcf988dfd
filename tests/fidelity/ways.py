"""The ways into the stage and out of it, with its real components on real sockets; a row each in `INPUTS` and `OUTPUTS`."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_tracead.component import Kind
from otel_tracead.service import running
from tests.fidelity.carried_zipkin import from_protobuf
from tests.fidelity.nasty_spans import UNKNOWN
from tests.peers.independent import GrpcSink, HttpSink, from_json, post, send_grpc, to_json

_LOOPBACK = "127.0.0.1:0"


@dataclass(frozen=True)
class Ports:
    """Where the stage listens."""

    grpc: int
    http: int
    zipkin: int

    def url(self, port: int, path: str) -> str:
        return f"http://127.0.0.1:{port}{path}"


@dataclass(frozen=True)
class Input:
    """A way in.

    Attributes:
        name: of the test.
        column: of docs/formats.md, which says what this form carries.
        send: takes ports and the spans of a table, one request or text a span.
    """

    name: str
    column: str
    send: Callable[[Ports, Sequence[Any]], None]


@dataclass(frozen=True)
class Output:
    """A way out.

    Attributes:
        name: the exporter's id.
        column: of docs/formats.md.
        config: its configuration, being given where it may write (a gRPC target, a URL or a file).
        place: which of these it wants.
        read: gives what was written there as OTLP requests, as Zipkin spans or as their texts.
    """

    name: str
    column: str
    place: str
    config: Callable[[str], Mapping[str, Any]]
    read: Callable[[list[bytes]], list[Any]]


def _grpc(ports: Ports, requests: Sequence[ExportTraceServiceRequest]) -> None:
    send_grpc(f"127.0.0.1:{ports.grpc}", [request.SerializeToString() for request in requests])


def _protobuf(ports: Ports, requests: Sequence[ExportTraceServiceRequest]) -> None:
    bodies = [request.SerializeToString() for request in requests]
    post(ports.url(ports.http, "/v1/traces"), bodies, "application/x-protobuf", expect=200)


def _json(ports: Ports, requests: Sequence[ExportTraceServiceRequest]) -> None:
    post(ports.url(ports.http, "/v1/traces"), map(_with_unknown, requests), "application/json", expect=200)


def _with_unknown(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON with a field that does not exist yet in every object, if the request has any."""

    def extended(value: Any) -> Any:
        if isinstance(value, dict):
            return {**{key: extended(item) for key, item in value.items()}, "notYet": [{"later": 1}]}
        return [extended(item) for item in value] if isinstance(value, list) else value

    encoded = to_json(request)
    return json.dumps(extended(json.loads(encoded))).encode() if UNKNOWN in request.SerializeToString() else encoded


def _zipkin(ports: Ports, texts: Sequence[str]) -> None:
    bodies = [f"[{text}]".encode() for text in texts]
    bodies.append(f"[ {' ,'.join(texts)}\n]".encode())  # and all together: each comes out twice
    post(ports.url(ports.zipkin, "/api/v2/spans"), bodies, "application/json", expect=202)


def _file_requests(parts: list[bytes]) -> list[ExportTraceServiceRequest]:
    [content] = parts
    found, position = [], 0
    while position < len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        found.append(ExportTraceServiceRequest.FromString(content[position + 4 : position + 4 + length]))
        position += 4 + length
    return found


INPUTS = (
    Input("otlp gRPC", "OTLP protobuf", _grpc),
    Input("otlp HTTP protobuf", "OTLP protobuf", _protobuf),
    Input("otlp HTTP JSON", "OTLP/JSON", _json),
)
ZIPKIN_INPUTS = (Input("zipkin JSON", "Zipkin JSON", _zipkin),)

OUTPUTS = (
    Output(
        "otlp_grpc",
        "OTLP protobuf",
        "grpc",
        lambda target: {"endpoint": target, "tls": {"insecure": True}, "compression": "none"},
        lambda bodies: list(map(ExportTraceServiceRequest.FromString, bodies)),
    ),
    Output(
        "otlp_http/proto",
        "OTLP protobuf",
        "http",
        lambda url: {"endpoint": url, "compression": "none"},
        lambda bodies: list(map(ExportTraceServiceRequest.FromString, bodies)),
    ),
    Output(
        "otlp_http/json",
        "OTLP/JSON",
        "http",
        lambda url: {"endpoint": url, "encoding": "json", "compression": "none"},
        lambda bodies: list(map(from_json, bodies)),
    ),
    Output(
        "file/json",
        "OTLP/JSON",
        "file",
        lambda path: {"path": path},
        lambda parts: list(map(from_json, parts[0].splitlines())),
    ),
    Output("file/proto", "OTLP protobuf", "file", lambda path: {"path": path, "format": "proto"}, _file_requests),
    Output(
        "zipkin/json",
        "Zipkin JSON",
        "http",
        lambda url: {"endpoint": f"{url}/api/v2/spans"},
        lambda bodies: [span for body in bodies for span in json.loads(body)],
    ),
    Output(
        "zipkin/proto",
        "Zipkin protobuf",
        "http",
        lambda url: {"endpoint": f"{url}/api/v2/spans", "format": "proto"},
        lambda bodies: [span for body in bodies for span in from_protobuf(body)],
    ),
)


async def through(input_: Input, spans: Sequence[Any], model: Path, folder: Path) -> dict[str, list[bytes]]:
    """Send *spans* by one way through a scoring stage that has every way out; gives what each of them wrote."""
    with ExitStack() as sinks:
        places: dict[str, str] = {}
        written: dict[str, Callable[[], list[bytes]]] = {}
        for output in OUTPUTS:
            if output.place == "file":
                path = folder / output.name.replace("/", ".")
                places[output.name], written[output.name] = str(path), lambda path=path: [path.read_bytes()]
            else:
                sink: GrpcSink | HttpSink = sinks.enter_context(GrpcSink() if output.place == "grpc" else HttpSink())
                places[output.name] = sink.target if isinstance(sink, GrpcSink) else sink.url
                written[output.name] = lambda sink=sink: sink.bodies
        async with running(_config(places, model)) as service:
            otlp, zipkin = (service.component(Kind.RECEIVER, name).ports for name in ("otlp", "zipkin"))
            await asyncio.to_thread(input_.send, Ports(otlp["grpc"], otlp["http"], zipkin["http"]), spans)
        return {name: read() for name, read in written.items()}


def _config(places: Mapping[str, str], model: Path) -> dict[str, Any]:
    protocols = {"grpc": {"endpoint": _LOOPBACK}, "http": {"endpoint": _LOOPBACK}}
    pipeline = {"receivers": ["otlp", "zipkin"], "processors": ["tracead"], "exporters": [o.name for o in OUTPUTS]}
    return {
        "receivers": {"otlp": {"protocols": protocols}, "zipkin": {"endpoint": _LOOPBACK}},
        "processors": {
            "tracead": {"model": str(model), "wait_duration": "60s", "annotate": "all", "execution_provider": "cpu"}
        },
        "exporters": {output.name: output.config(places[output.name]) for output in OUTPUTS},
        "service": {"pipelines": {"traces": pipeline}},
    }
