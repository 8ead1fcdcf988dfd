"""HTTP/1.1 and gRPC requests as nobody's library would send them, and what comes back."""

import http.client
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
import h2.config
import h2.connection
import h2.events

GRPC_PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_CODES = [code.name for code in grpc.StatusCode]


@dataclass(frozen=True)
class Http:
    """One HTTP request.

    Attributes:
        body: as it goes over the wire.
        headers: all but the length; a header whose value is empty is left out.
        chunked: send the body without saying how long it is.
    """

    body: bytes
    path: str = ""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False


@dataclass(frozen=True)
class Grpc:
    """One gRPC request: a message with its prefix, as it goes over the wire.

    Attributes:
        message: behind the prefix.
        compressed: what the prefix says.
        encoding: `grpc-encoding`.
    """

    message: bytes
    path: str = GRPC_PATH
    compressed: bool = False
    encoding: str = ""
    content_type: str = "application/grpc"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: the HTTP status, or the name of the gRPC status; "closed" if the connection was.
        retry_after: the header.
        content_type: of the answer.
        text: of the answer, or the gRPC message.
    """

    status: str
    retry_after: str = ""
    content_type: str = ""
    text: str = ""


def send(request: Http | Grpc, port: int, path: str = "/") -> Answer:
    """Send *request*; an HTTP request that names no path goes to *path*."""
    return _http(request, port, path) if isinstance(request, Http) else _grpc(request, port)


def _http(request: Http, port: int, path: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(request.method, request.path or path, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if value:
                connection.putheader(name, value)
        if request.chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif request.body or request.method == "POST":
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders()
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(request.body), request.body) if request.chunked else request.body
        with suppress(BrokenPipeError, ConnectionResetError):  # it has seen enough; the answer may be there
            connection.send(body)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        kind = (answer.getheader("Content-Type") or "").split(";")[0]
        return Answer(str(answer.status), answer.getheader("Retry-After") or "", kind, text.strip())
    except (OSError, http.client.HTTPException) as error:
        return Answer("closed", text=repr(error))
    finally:
        connection.close()


def _grpc(request: Grpc, port: int) -> Answer:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    headers = [
        (":method", "POST"), (":scheme", "http"), (":path", request.path), (":authority", "localhost"),
        ("te", "trailers"), ("content-type", request.content_type),
    ]  # fmt: skip
    if request.encoding:
        headers.append(("grpc-encoding", request.encoding))
    connection.initiate_connection()
    connection.send_headers(1, headers)
    unsent = struct.pack(">BI", request.compressed, len(request.message)) + request.message
    seen: dict[str, str] = {}
    with socket.create_connection(("127.0.0.1", port), timeout=20) as stream:
        while True:
            while unsent and (room := min(connection.local_flow_control_window(1), connection.max_outbound_frame_size)):
                part, unsent = unsent[:room], unsent[room:]
                connection.send_data(1, part, end_stream=not unsent)
            try:
                stream.sendall(connection.data_to_send())
                received = stream.recv(65536)
            except OSError as error:
                return Answer("closed", text=repr(error))
            for event in connection.receive_data(received):
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    seen |= dict(event.headers or ())
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return _status(seen)
            if not received:
                return Answer("closed")


def _status(headers: Mapping[str, str]) -> Answer:
    if "grpc-status" not in headers:
        return Answer(f"HTTP {headers.get(':status')}")
    status = _CODES[int(headers["grpc-status"])]
    return Answer(status, headers.get("grpc-status-details-bin", ""), "", headers.get("grpc-message", ""))
