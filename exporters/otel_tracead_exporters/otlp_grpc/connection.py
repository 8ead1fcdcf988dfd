"""One connection to a gRPC server: requests go out as streams of HTTP/2, answers come back, all on the event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from otel_tracead.http2 import ConnectionFailure, Reset, Status, unpack
from otel_tracead.http2.frames import LARGEST_STREAM
from otel_tracead.http2.headers import Headers
from otel_tracead.http2_protocol import Http2Protocol
from otel_tracead.status import Code
from otel_tracead_exporters.otlp_grpc.config import KeepaliveClient

_LARGEST_ANSWER: Final = 4 << 20
# What a part of an answer takes in memory beside its bytes.
_PART: Final = 64
# What a reset means (gRPC's PROTOCOL-HTTP2.md, "Errors"); the others are INTERNAL.
_RESETS: Final[dict[int, Code]] = {
    Reset.REFUSED_STREAM: Code.UNAVAILABLE,
    Reset.CANCEL: Code.CANCELLED,
    Reset.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    Reset.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}
_NAMES: Final = {int(reset): reset.name for reset in Reset}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: how the call ended.
        message: the response; empty if there is none.
    """

    status: Status
    message: bytes = b""


class NotLookedAt(Exception):  # noqa: N818 (what became of a call)
    """The server has not looked at a call: it may be made again at once, elsewhere."""


class _Call:
    """A request that has no answer yet."""

    __slots__ = ("answer", "parts", "size")

    def __init__(self, answer: asyncio.Future[Answer]) -> None:
        self.answer = answer
        self.parts: list[bytes] = []
        self.size = 0


class ClientConnection(Http2Protocol[_Call]):
    """Speaks HTTP/2 with one server (see `Events` for what it hears).

    Args:
        keepalive: how silence is probed; None for not at all.
        changed: called when there is room for a call that there was none for, and when the connection takes no more.

    Attributes:
        ready: set when the server has said what it allows; holds the error of a connection that never came so far.
    """

    def __init__(self, keepalive: KeepaliveClient | None, changed: Callable[[], None]) -> None:
        super().__init__(client=True)
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # it may be that nobody asks
        self._keepalive = keepalive
        self._changed = changed
        self._pinged: float | None = None

    @property
    def room(self) -> bool:
        """Whether a call may be made now."""
        return self.open and len(self._calls) < self._http.most_streams

    def call(self, headers: bytes, body: bytes) -> asyncio.Future[Answer]:
        """Send a request; the caller has looked whether there is `room`.

        Args:
            headers: their block (see `header_block`).
            body: the message behind its prefix.

        Returns:
            what the answer is put into, or `NotLookedAt`; whoever cancels it cancels the call.
        """
        stream = self._http.open()
        call = self._calls[stream] = _Call(self._loop.create_future())
        if stream + 2 > LARGEST_STREAM:
            self.retire()
        self._http.send_headers(stream, headers)
        self._http.send_body(stream, body)
        if self._keepalive is not None and self._timer is None:
            self._look_after()
        self._flush_soon()
        return call.answer

    def cancel(self, answer: asyncio.Future[Answer]) -> None:
        """Tell the server that nobody waits for *answer* any longer."""
        for stream, call in self._calls.items():
            if call.answer is answer:
                self._finish(stream)
                break

    def retire(self) -> None:
        """Make no more calls; close when those under way have ended."""
        if self.open:
            self.open = False
            self._changed()
        self._flush_soon()

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(error)
        reason = f"the connection was lost ({error})" if error else "the server closed the connection"
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(reason))
        for stream in tuple(self._calls):
            self._end(stream, Status(Code.UNAVAILABLE, reason))
        self._changed()

    def _fail(self, error: ConnectionFailure) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"the server does not speak HTTP/2 as it should: {error}"))
        self.cut()

    def on_settings(self) -> None:
        """The server is there; it may allow more or fewer calls than before."""
        if not self.ready.done():
            self.ready.set_result(None)
        self._changed()

    def on_headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """Headers before a message, or what ends the call."""
        call = self._calls.get(stream)
        if call is None:
            return
        if end or dict(headers).get(b":status") != b"200":
            self._end(stream, Status.read(headers), b"".join(call.parts))

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """Keep a part of a message."""
        call = self._calls.get(stream)
        if call is None:
            return
        call.parts.append(data)
        call.size += len(data) + _PART
        if end:
            self._end(stream, Status(Code.UNKNOWN, "the answer ends without a status"))
        elif call.size > _LARGEST_ANSWER:
            self._end(stream, Status(Code.RESOURCE_EXHAUSTED, "the answer is too large"))

    def on_reset(self, stream: int, code: int) -> None:
        """A call ends without an answer."""
        if code == Reset.REFUSED_STREAM:
            self._not_looked_at(stream)
        elif stream in self._calls:
            name = _NAMES.get(code, str(code))
            self._end(stream, Status(_RESETS.get(code, Code.INTERNAL), f"the call was reset: {name}"))

    def on_goaway(self, last: int, code: int, text: str) -> None:
        """Make no more calls here; those that the server will not look at are made elsewhere."""
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"the server sends us away: {text or code}"))
        for stream in [stream for stream in self._calls if stream > last]:
            self._not_looked_at(stream)
        self.retire()

    def on_ping(self) -> None:
        """The server may ask as often as it likes."""

    def on_pong(self) -> None:
        """That something was heard is noted."""

    def _not_looked_at(self, stream: int) -> None:
        call = self._finish(stream)
        if call is not None and not call.answer.done():
            call.answer.set_exception(NotLookedAt())

    def _end(self, stream: int, status: Status, body: bytes = b"") -> None:
        call = self._finish(stream)
        if call is None or call.answer.done():
            return
        unpacked = unpack(body)
        call.answer.set_result(Answer(status, b"" if unpacked is None or unpacked[1] else unpacked[0]))

    def _finish(self, stream: int) -> _Call | None:
        full = len(self._calls) >= self._http.most_streams
        call = self._calls.pop(stream, None)
        self._http.reset(stream, Reset.CANCEL)  # unless both sides have ended it
        self._flush_soon()
        if full:
            self._changed()
        return call

    def _look_after(self) -> None:
        keepalive, now = self._keepalive, self._loop.time()
        if keepalive is None or self._transport is None:
            return
        self._timer = None
        if self._pinged is not None and self._heard >= self._pinged:
            self._pinged = None
        if self._pinged is not None and now >= self._pinged + keepalive.timeout:
            self.cut()
            return
        if not self._calls and not keepalive.permit_without_stream:
            return  # the next call begins anew
        if self._pinged is None and now >= self._heard + keepalive.time:
            self._pinged = now
            self._http.send_ping()
            self._flush()
        again = self._heard + keepalive.time if self._pinged is None else self._pinged + keepalive.timeout
        self._timer = self._loop.call_at(again, self._look_after)
