"""One client's connection to the gRPC server: its requests are read, taken in and answered, all on the event loop."""

import asyncio
import random
from typing import Any, Final

from otel_tracead.errors import Backpressure, InvalidRequest, PipelineError
from otel_tracead.http2 import ConnectionFailure, Reset, Status, unpack
from otel_tracead.http2.frames import LARGEST_WINDOW
from otel_tracead.http2.headers import Headers
from otel_tracead.http2.messages import PREFIX_SIZE, RESPONSE, SUCCESS, pack
from otel_tracead.http2_protocol import Http2Protocol
from otel_tracead.receivers.compression import decompress, too_large
from otel_tracead.receivers.otlp.grpc_hall import Hall
from otel_tracead.receivers.otlp.upkeep import PingPolice, Step, Upkeep
from otel_tracead.status import Code, answer
from otel_tracead.wire.batch import SpanBatch

_METHOD: Final = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_EMPTY: Final = pack(b"")  # an ExportTraceServiceResponse with partial_success unset
_ENCODINGS: Final = {b"": "", b"identity": "", b"gzip": "gzip", b"deflate": "deflate"}
_GOODBYE: Final = 1.0
_SPREAD: Final = 0.1
# What a request, and each part of its body, takes in memory beside its bytes: requests without a body, and bodies in parts of a
# byte, are no way around the room that there is.
_REQUEST: Final = 512
_PART: Final = 64


class Unreadable(InvalidRequest):
    """A message that is not what its headers say; gRPC has a status of its own for that."""


class _Call:
    """One request as far as it has come."""

    __slots__ = ("complete", "dropped", "encoding", "held", "parts", "proof", "since", "size", "stream", "whole")

    def __init__(self, stream: int, encoding: str, since: float) -> None:
        self.stream = stream
        self.encoding = encoding
        self.since = since
        self.dropped = False
        self.parts: list[bytes] = []
        self.size = 0
        self.held = 0
        self.proof: asyncio.Future[None] | None = None  # while it is not known whether its sender may send
        self.complete = False
        self.whole = False


class GrpcConnection(Http2Protocol[_Call]):
    """Speaks HTTP/2 with one client (see `Events` for what it hears)."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(client=False, streams=hall.streams)
        self._hall = hall
        self._closing = False
        self._upkeep = Upkeep(
            hall.keepalive.server_parameters,
            self._heard,
            random.uniform(-_SPREAD, _SPREAD),  # noqa: S311 (spreads load)
        )
        self._police = PingPolice(hall.keepalive.enforcement_policy)

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._hall.connections.add(self)
        self._hall.left.clear()
        self._look_after()
        if self._hall.closed:
            self.drain()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(error)
        self._forget_all()
        self._hall.connections.discard(self)
        if not self._hall.connections:
            self._hall.left.set()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: who does not read our answers is not listened to either."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self._transport is not None:
            self._transport.resume_reading()

    def _fail(self, _error: ConnectionFailure) -> None:
        self._closing = True
        self._forget_all()
        self._transport.close()
        self._loop.call_later(_GOODBYE, self.cut)  # who does not read that does not stay

    def drain(self) -> None:
        """Take no new requests, answer those under way, and close.

        What the client sent before it heard of that is taken as well: the last word comes when it has answered a ping.
        """
        if self._closing or self._transport is None:
            return
        if not self._http.greeted:
            self._transport.close()
            return
        self._closing = True
        self._http.send_goaway(LARGEST_WINDOW, Reset.NO_ERROR)
        self._http.send_ping()
        self._loop.call_later(_GOODBYE, self.on_pong)
        self._flush()

    def on_headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """Begin a request, or end it by trailers."""
        call = self._calls.get(stream)
        if call is not None:
            self._complete(call)
            return
        if not self.open or len(self._calls) + self._http.waiting >= self._hall.streams:
            self._http.reset(stream, Reset.REFUSED_STREAM)
            return
        self._upkeep.idle_since = None
        fields = dict(headers)
        encoding = _ENCODINGS.get(fields.get(b"grpc-encoding", b""), "?")
        call = self._calls[stream] = _Call(stream, encoding, self._heard)
        if fields.get(b":path") != _METHOD or fields.get(b":method") != b"POST":
            path = fields.get(b":path", b"").decode("utf-8", "replace")
            self._hall.intake.refuse(InvalidRequest(f"no such method: {path}"))
            self._end(call, Status(Code.UNIMPLEMENTED, "Method not found!"))
        elif not self._may_send(call, headers):
            return
        elif call.encoding == "?":
            text = "the compression is unknown: gzip, deflate and identity are taken"
            self._hall.intake.refuse(InvalidRequest(text))
            self._end(call, Status(Code.UNIMPLEMENTED, text))
        elif end:
            self._complete(call)
        else:
            call.held = _REQUEST
            self._hall.room -= _REQUEST
            if self._hall.room < 0:
                self._find_room(call)

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """Keep a part of a message."""
        call = self._calls[stream]
        if data:
            call.parts.append(data)
            call.size += len(data)
        limit = self._hall.limit
        if call.size > limit + PREFIX_SIZE or (
            len(call.parts) == 1 and int.from_bytes(data[1:PREFIX_SIZE], "big") > limit
        ):
            self._refuse(call, too_large(limit))
        elif end:
            self._complete(call)
        elif data:
            call.held += len(data) + _PART
            self._hall.room -= len(data) + _PART
            if self._hall.room < 0:
                self._find_room(call)

    def on_reset(self, stream: int, _code: int) -> None:
        """Forget a request; one that is being taken in is finished all the same, and counts until then."""
        call = self._calls.get(stream)
        if call is not None:
            call.dropped = True
            if not call.whole:
                self._forget(call)

    def refuse_slow(self, before: float) -> None:
        """Refuse the requests that began to come *before* and have not come whole."""
        for call in tuple(self._calls.values()):
            if not call.whole and call.since < before:
                self._refuse(call, Backpressure("the request did not come whole in time, and others wait for room"))

    def on_goaway(self, _last: int, _code: int, _text: str) -> None:
        """Go on: the client closes when it has its answers."""

    def on_ping(self) -> None:
        """Cut off who pings all the time."""
        if self._police.too_many(self._loop.time(), busy=bool(self._calls)):
            raise ConnectionFailure(Reset.ENHANCE_YOUR_CALM, "too_many_pings")

    def on_pong(self) -> None:
        """When draining: whatever the client sends from now on, it sends to somebody else."""
        if self._closing and self.open and self._transport is not None:
            self.open = False
            self._http.send_goaway(self._http.last, Reset.NO_ERROR)
            self._flush()

    def on_settings(self) -> None:
        """Nothing of it concerns requests."""
        self._upkeep.greeted = True

    def _may_send(self, call: _Call, headers: Headers) -> bool:
        authenticator = self._hall.authenticator
        if authenticator is None:
            return True
        metadata: dict[str, list[str]] = {}
        for name, value in headers:
            metadata.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        try:
            waiting = authenticator.authenticate(metadata)
        except PipelineError as error:
            self._refuse(call, error)
            return False
        if waiting is not None:
            call.proof = asyncio.ensure_future(waiting)
            call.proof.add_done_callback(lambda proof: self._proven(call, proof))
        return True

    def _proven(self, call: _Call, proof: asyncio.Future[None]) -> None:
        """Hear whether the sender of *call* may send; its message may have come meanwhile."""
        call.proof = None
        error = Backpressure("try again") if proof.cancelled() else proof.exception()
        if self._calls.get(call.stream) is not call:
            return  # it has gone
        if isinstance(error, Exception):
            self._refuse(call, error)
        elif call.complete:
            self._complete(call)

    def _find_room(self, call: _Call) -> None:
        """Refuse requests that are slow where there is no room, and *call* if that does not help."""
        self._hall.make_room(self._heard)
        if self._hall.room < 0 and not call.dropped:
            self._refuse(call, Backpressure("too many requests come in at a time"))

    def _complete(self, call: _Call) -> None:
        """Take in a message that has come whole, once it is known that its sender may send."""
        if call.proof is not None:
            call.complete = True
            return
        parts, call.parts = call.parts, []
        call.whole = True
        unpacked = unpack(parts[0] if len(parts) == 1 else b"".join(parts))
        if unpacked is None:
            self._refuse(call, InvalidRequest("there is no message, or none that is whole"))
            return
        message, compressed = unpacked

        def answered(error: Exception | None) -> None:
            self._answer(call, error)

        if not compressed:
            self._hall.intake.begin(message, self._hall.decode, answered)
            return
        encoding = call.encoding

        def decode(packed: bytes) -> SpanBatch:
            return self._hall.decode(_unpack(encoding, packed, self._hall.limit))

        self._hall.intake.begin(message, decode, answered, unpacks=True)

    def _refuse(self, call: _Call, error: Exception) -> None:
        self._hall.intake.refuse(error)
        self._answer(call, error)

    def _answer(self, call: _Call, error: Exception | None) -> None:
        if self._calls.get(call.stream) is not call:
            return  # the connection is gone
        if call.dropped:
            self._forget(call)
            self._flush_soon()
            return
        if error is None:
            self._http.send_headers(call.stream, RESPONSE)
            self._http.send_body(call.stream, _EMPTY, SUCCESS)
            self._police.forgive()
            self._forget(call)
            self._flush_soon()
            return
        row, status = answer(error)
        code = Code.INTERNAL if isinstance(error, Unreadable) else row.code
        self._end(call, Status(code, status.message, status.encode()))

    def _end(self, call: _Call, status: Status) -> None:
        """Answer *status* and no message; what the client still has to send of its own is of no use."""
        self._http.send_headers(call.stream, status.trailers_only(), end=True)
        self._http.reset(call.stream, Reset.NO_ERROR)
        call.dropped = True
        self._forget(call)
        self._flush_soon()

    def _forget(self, call: _Call) -> None:
        self._give_back(call)
        del self._calls[call.stream]
        if not self._calls:
            self._upkeep.idle_since = self._loop.time()

    def _forget_all(self) -> None:
        for call in self._calls.values():
            self._give_back(call)
        self._calls.clear()

    def _give_back(self, call: _Call) -> None:
        self._hall.room += call.held
        call.held = 0

    def _look_after(self) -> None:
        self._upkeep.heard = self._heard
        step, again = self._upkeep.step(self._loop.time())
        if step is Step.CUT:
            self.cut()
            return
        if step is Step.DRAIN:
            self.drain()
        elif step is Step.PING:
            self._http.send_ping()
            self._flush()
        self._timer = self._loop.call_at(again, self._look_after)


def _unpack(encoding: str, message: bytes, limit: int) -> bytes:
    if not encoding:
        raise Unreadable("the message is compressed, and its headers do not say how")
    try:
        return decompress(encoding, message, limit)
    except InvalidRequest as error:
        if type(error) is InvalidRequest:
            raise Unreadable(str(error)) from error
        raise
