"""One end of an HTTP/2 connection: what comes, frame by frame, and what it means for the streams. Source: RFC 9113."""

from typing import Final, Protocol

from otel_tracead.http2 import frames
from otel_tracead.http2.frames import ConnectionFailure, Reset
from otel_tracead.http2.headers import LARGEST_HEADERS, Block, HeaderReader, Headers
from otel_tracead.http2.reading import FrameReader, unpadded
from otel_tracead.http2.sending import NO_TABLE, Sending, Stream

STREAM_WINDOW: Final = 1 << 20
"""Bytes of one body that may come before we say that more may."""
_CONNECTION_WINDOW: Final = 1 << 24
_MOST_WASTED: Final = 10_000


class Events(Protocol):
    """What is heard of a connection."""

    def on_headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """Headers came that begin a message, or, with *end*, may end one (trailers); *end*: nothing follows on this stream."""

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """A part of a body came."""

    def on_reset(self, stream: int, code: int) -> None:
        """*stream* is over before its end: the other side wants no more of it, or broke its rules."""

    def on_goaway(self, last: int, code: int, text: str) -> None:
        """The other side looks at no stream after *last*."""

    def on_ping(self) -> None:
        """The other side asks whether we are there; the answer is under way."""

    def on_pong(self) -> None:
        """The other side is there."""

    def on_settings(self) -> None:
        """What the other side allows may have changed."""


class Connection(Sending):
    """Takes bytes and tells `Events` what they mean; collects the bytes to be sent (see `Sending`).

    Args:
        events: hears what comes.
        client: which end this is.
        streams: that the other side may open at a time; its owner holds it to that.

    Attributes:
        last: the stream that the client opened last.
        most_streams: that we may open at a time, as the other side says.
    """

    def __init__(self, events: Events, *, client: bool, streams: int = 0) -> None:
        wanted = [
            (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frames.MAX_HEADER_LIST_SIZE, LARGEST_HEADERS),
            (frames.ENABLE_PUSH, 0) if client else (frames.MAX_CONCURRENT_STREAMS, streams),
        ]
        room = frames.window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        super().__init__((frames.PREFACE if client else b"") + frames.settings(wanted) + room)
        self.last = -1 if client else 0
        self.most_streams = frames.LARGEST_WINDOW
        self._events = events
        self._client = client
        self._headers = HeaderReader(client=client)
        self._taken = 0
        self._widened = False
        kinds = {
            frames.DATA: self._data,
            frames.HEADERS: self._block_came,
            frames.PRIORITY: self._priority,
            frames.WINDOW_UPDATE: self._window_update,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.PUSH_PROMISE: self._push_promise,
        }
        self._frames = FrameReader(b"" if client else frames.PREFACE, kinds, self._unknown)

    @property
    def greeted(self) -> bool:
        """Whether the other side has begun as HTTP/2 begins."""
        return self._frames.greeted

    def open(self) -> int:
        """Open a stream, as a client does, and give its number."""
        self.last += 2
        self._streams[self.last] = Stream(self.last, None, False, False)
        return self.last

    def receive(self, data: bytes) -> None:
        """Read what came.

        Raises:
            ConnectionFailure: the connection cannot go on; nothing more may be received.
        """
        self._frames.read(data)
        if self._widened:  # once for all frames that came: there may be many of them, and many bodies
            self._widened = False
            self._send_waiting()

    def give_up(self, error: ConnectionFailure) -> None:
        """Say why nothing more is received, as `receive` has raised it."""
        self.send_goaway(0 if self._client else self.last, error.code, str(error))

    def _waste(self) -> None:
        """Count what brings no request further: frames that are cheaper to send than to read."""
        self._wasted += 1
        if self._wasted > _MOST_WASTED:
            raise ConnectionFailure(Reset.ENHANCE_YOUR_CALM, "too much comes that is of no use")

    def _unknown(self, _flags: int, _number: int, _payload: bytes) -> None:
        self._waste()  # and leave it alone

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        length = len(payload)
        self._taken += length
        # Room is given again in bulk, whatever became of the bytes: how much of them is held is bounded by who holds it.
        if self._taken > _CONNECTION_WINDOW // 2:
            self._out.append(frames.window_update(0, self._taken))
            self._taken = 0
        end = bool(flags & frames.END_STREAM)
        stream = self._streams.get(number)
        if stream is None:
            self._late(number, end=end)
            return
        if flags & frames.PADDED:
            payload = unpadded(payload)
        if stream.left is not None:
            stream.left -= len(payload)
        if stream.ended:
            self._break(number, Reset.STREAM_CLOSED)
            return
        if not stream.begun or (stream.left is not None and (stream.left < 0 or (end and stream.left))):
            self._break(number, Reset.PROTOCOL_ERROR)
            return
        if end:
            self._ended(stream)
        else:
            if not payload:
                self._waste()
            stream.taken += length
            if stream.taken > STREAM_WINDOW // 2:
                self._out.append(frames.window_update(number, stream.taken))
                stream.taken = 0
        self._events.on_data(number, payload, end=end)

    def _block_came(self, flags: int, number: int, payload: bytes) -> None:
        block = self._headers.read(payload)  # in any case: it may change the table
        end = bool(flags & frames.END_STREAM)
        stream = self._streams.get(number)
        if stream is None:
            if self._client or not self._is_idle(number):
                self._late_headers(number, end=end)
                return
            if number % 2 == 0:
                raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a client's streams have odd numbers")
            self.last = number
            if block.flaw or not block.begins or (end and block.length):
                self._waste()
                self._refuse(number, Reset.PROTOCOL_ERROR, ended=end)
                return
            stream = self._streams[number] = Stream(number, block.length, True, end)
        elif stream.ended:
            self._break(number, Reset.STREAM_CLOSED)
            return
        elif not _fits(stream, block, end=end):
            self._break(number, Reset.PROTOCOL_ERROR)
            return
        elif block.interim:
            self._waste()
            return
        else:
            if not stream.begun:
                stream.begun, stream.left = True, block.length
            if end:
                self._ended(stream)
        self._events.on_headers(number, block.headers, end=end)

    def _is_idle(self, number: int) -> bool:
        """Whether nobody has used stream *number* yet; servers use none, as we take no pushes and make none."""
        return number > self.last or number % 2 == 0

    def _late(self, number: int, *, end: bool) -> None:
        """Take note of data behind the end of a stream."""
        if self._is_idle(number):
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "there is no such stream")
        if number not in self._abandoned:
            self._waste()
            self._refuse(number, Reset.STREAM_CLOSED, ended=True)  # each time: it is counted
        elif end:
            del self._abandoned[number]

    def _late_headers(self, number: int, *, end: bool) -> None:
        if number not in self._abandoned:
            code = Reset.PROTOCOL_ERROR if self._is_idle(number) else Reset.STREAM_CLOSED
            raise ConnectionFailure(code, "headers came on a stream that is over, or that nobody opened")
        self._late(number, end=end)

    def _break(self, number: int, code: Reset) -> None:
        """End a stream on which the other side broke the rules."""
        self._waste()
        self.reset(number, code)
        self._events.on_reset(number, code)

    def _ended(self, stream: Stream) -> None:
        stream.ended = True
        if stream.done:
            self._over(stream)

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        _check(number != 0, length=len(payload) == frames.PRIORITY_SIZE)
        self._waste()  # nobody heeds it any longer (RFC 9113, section 5.3)

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        _check(not self._is_idle(number), length=len(payload) == frames.NUMBER.size)
        self._waste()
        self._abandoned.pop(number, None)
        if self._streams.pop(number, None) is not None:
            self._waiting.pop(number, None)
            self._events.on_reset(number, frames.NUMBER.unpack(payload)[0])

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        _check(number == 0, length=len(payload) % frames.SETTING.size == 0 and not (flags & frames.ACK and payload))
        self._waste()
        if flags & frames.ACK:
            return
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                self._set_stream_room(value)
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_FRAME <= value <= frames.LARGEST_FRAME:
                    raise ConnectionFailure(Reset.PROTOCOL_ERROR, f"no frame has {value} bytes")
                self._largest_frame = value
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            elif name == frames.HEADER_TABLE_SIZE:
                self._before_block = NO_TABLE
            elif name == frames.ENABLE_PUSH and value > (0 if self._client else 1):
                raise ConnectionFailure(Reset.PROTOCOL_ERROR, "pushes cannot be so")
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._widened = True
        self._events.on_settings()

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        _check(number == 0, length=len(payload) == frames.PING_SIZE)
        if flags & frames.ACK:
            self._events.on_pong()
        else:
            if self._client:  # a server's owner judges pings by the clock
                self._waste()
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            self._events.on_ping()

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        _check(number == 0, length=len(payload) >= 2 * frames.NUMBER.size)
        self._waste()
        last, code = frames.NUMBER.unpack_from(payload)[0], frames.NUMBER.unpack_from(payload, 4)[0]
        self._events.on_goaway(last & frames.LARGEST_STREAM, code, payload[8:].decode("utf-8", "replace"))

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "nothing may be pushed")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        _check(number == 0 or not self._is_idle(number), length=len(payload) == frames.NUMBER.size)
        room = frames.NUMBER.unpack(payload)[0] & frames.LARGEST_WINDOW
        stream = self._streams.get(number)
        if stream is not None:
            if room == 0:
                self._break(number, Reset.PROTOCOL_ERROR)
            elif not self._widen(stream, room):
                self._break(number, Reset.FLOW_CONTROL_ERROR)
        elif room == 0:
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a window is widened by nothing")
        elif number == 0:
            self._room += room
            if self._room > frames.LARGEST_WINDOW:
                raise ConnectionFailure(Reset.FLOW_CONTROL_ERROR, "no window can be so large")
        self._widened = True


def _fits(stream: Stream, block: Block, *, end: bool) -> bool:
    """Whether *block* may come now: first what begins an answer, then, at the end of what was promised, trailers."""
    if block.flaw or block.begins == stream.begun:
        return False
    if stream.begun:
        return end and not stream.left
    return not (end and (block.interim or block.length))


def _check(stream: bool = True, *, length: bool = True) -> None:
    if not length:
        raise ConnectionFailure(Reset.FRAME_SIZE_ERROR, "a frame has the wrong size")
    if not stream:
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a frame is on the wrong stream")
